"""How the two sides of a relayed connection end: which was first, and what the other still gets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import attrs
import trio

from esps_portal.net.stream import end_with_fin
from esps_portal.net.watched_stream import WatchedStream

#: Seconds for which a side's input is discarded after FIN, so that no RST overtakes the last bytes:
#: the default of `Limits.linger`.
LINGER = 1.0
#: Seconds that a client's TLS handshake may take: the default of `AcceptPolicy.handshake`.
HANDSHAKE = 10.0
#: Seconds for which the kernel goes on sending what an end has not acknowledged: the default of
#: `Limits.stall`.
CLOSE_TIMEOUT = 30.0
#: Seconds for which a side that a fault has stalled is kept open once nothing else happens:
#: the default of `Limits.idle`. A stalled side has to wait for what never comes, also after its own
#: FIN; if it has closed its socket, its kernel reports that within about a minute (tcp(7),
#: tcp_fin_timeout), see `WatchedStream.keep_alive`.
IDLE = 300.0


@attrs.define
class FirstEnd:
    """Which side has closed first, and how, as the journal has it.

    Attributes:
        found: client, server or proxy, and ``fin`` or ``rst``; ``None``: nobody so far.
    """

    found: tuple[str, str] | None = None

    def note(self, who: str, how: str) -> None:
        """Note an end, unless there was one before."""
        self.found = self.found or (who, how)


@attrs.frozen
class FaultEnd:
    """A fault, or a script, ends a connection: ``close`` (FIN) or ``reset`` (RST).

    Attributes:
        side: the one that it names, which is ended first.
    """

    how: str
    side: WatchedStream

    async def perform(self, sides: Iterable[WatchedStream]) -> bool:
        """End both sides; return whether that was with FIN, otherwise it is to be with RST."""
        if self.how == "reset":
            await self.side.until_sent(CLOSE_TIMEOUT)
            return False
        async with trio.open_nursery() as nursery:
            for side in sides:
                nursery.start_soon(end_with_fin, side, LINGER)
        return True


async def wait_while_stalled(stalled: WatchedStream, on_fin: Callable[[], None]) -> None:
    """Keep a stalled side open though the other has ended: until it ends too, within a bound.

    Args:
        on_fin: called at its FIN; after that only its RST is waited for.
    """
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(IDLE):
        while await stalled.receive():
            pass
        on_fin()
        await stalled.until_broken()


async def until_both_ended(deaf: WatchedStream, other: WatchedStream) -> None:
    """Wait for a RST of a side that is not read, or until both have sent FIN, within a bound.

    Then no more replies come, and nobody reads what the side may still send.
    """
    with trio.move_on_after(IDLE):
        await deaf.until_fin()
        # Seen where the other one sends FIN after this.
        deaf.has_ended = not deaf.is_broken
        if not other.has_ended:
            await deaf.until_broken()
            deaf.has_ended = False


async def until_reset(side: WatchedStream) -> None:
    """Wait for a RST of a side that sees nothing more, within a bound."""
    with trio.move_on_after(IDLE):
        await side.until_broken()
