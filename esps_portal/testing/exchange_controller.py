"""What a test does with a proxy or a peer: its exchanges, and captures of the traffic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from esps_portal.exchanges.server_state import ServerState
from esps_portal.faults.matching import Match, Matchable
from esps_portal.journal.capture_sink import CaptureSink
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import RecordedExchange
from esps_portal.mock.journal_search import exchanges_of
from esps_portal.testing import waiting
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.record_waits import RecordWait, exchange_wait
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_controller import ServerController
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame


class ExchangeController(ServerController):
    """A server of any protocol for a test: a proxy, or a peer.

    Args:
        name: ``proxy`` or ``peer``, for errors.
        state: what it has noted.
        address, server: see `ServerController`.
        captured: the address of the server, in a capture.
    """

    def __init__(
        self,
        name: str,
        state: ServerState,
        address: ServerAddress,
        server: ControlledServer,
        *,
        captured: tuple[str, int],
    ) -> None:
        super().__init__(name, address, server)
        self._noted = state
        self._captured = captured

    def exchanges(self, match: Matchable | None = None) -> list[RecordedExchange]:
        """Return what clients have sent and the server's replies, in order.

        ``proxy.exchanges(b"INCR")``. The records go on: what is sent later is in them too.

        Args:
            match: what the client sent contains this text (as UTF-8) or these bytes; or a compiled
                regular expression is found in it; or this function of bytes returns true, called
                in the server's thread. By default all, also what a server sends before its client.

        Raises:
            ValueError: it is none of these, or empty.
        """
        wanted = _match(match)
        return self._loop.run(lambda: exchanges_of(self._noted.exchanges, wanted))

    def wait_for(
        self, match: Matchable | None = None, *, count: int = 1, timeout: float = 1.0
    ) -> list[RecordedExchange]:
        """Wait until ``count`` exchanges have begun that match. Returns all that do.

        An exchange counts once what its client has sent matches; its reply may still come.

        Args:
            match: as that of `exchanges`; by default anything that a client sends.
            count: 1 to 10,000, the number of exchanges that are kept.
            timeout: seconds, 0 or more.

        Raises:
            NoExchangeError: they have not, in time.
            TypeError, ValueError: an argument is not valid.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop(self._name)
        return self._wait(match, count, timeout).block()

    async def wait_for_async(
        self,
        match: Matchable | None = None,
        *,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedExchange]:
        """Wait as `wait_for` does, in a coroutine under asyncio, anyio or trio."""
        return await self._wait(match, count, timeout).pause()

    def _wait(
        self, match: Matchable | None, count: int, timeout: float
    ) -> RecordWait[RecordedExchange]:
        view, exchanges = self._server.view, self._noted.exchanges
        return exchange_wait(view, exchanges, _match(match), count, timeout)

    # -- recordings

    @warns_without_with("with proxy.pcap(path): ...")
    @contextmanager
    def pcap(self, path: str | Path) -> Iterator[None]:
        """Add to a capture, for Wireshark, what passes from now until the ``with`` block ends.

        ``with proxy.pcap("redis.pcap"): ...``. It has what each side sent, before faults, between
        the client's own address and the server's (of a proxy, the upstream's), with headers such as
        they would be without loss. Connections that are open already begin with it.

        Raises:
            CannotRecordError: the file cannot be opened, or is not a capture of ours; at the end of
                the block: some of it could not be written.
        """
        with CaptureFile(Path(path), self._captured) as file:
            sink = self._loop.run(lambda: self._capture(file))
            try:
                yield
            finally:
                with suppress(PortalEndedError):
                    self._loop.run(sink.detach)

    def _capture(self, file: CaptureFile) -> CaptureSink:
        now = trio.current_time()
        journals = dict.fromkeys((self._noted.journal, self._noted.exchanges))
        sink = CaptureSink(file, self._noted.journal, time.time() - now, now)
        sink.attach(*journals)
        return sink


def _match(match: Matchable | None) -> Match | None:
    return None if match is None else Match.of("match", match)
