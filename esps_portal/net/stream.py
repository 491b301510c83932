"""What a connection needs of its transport: a narrow interface.

`SocketStream` implements it over TCP, with or without TLS; `esps_portal.testing.pipes` in memory.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Protocol

import trio

from esps_portal.net.turns import Turns


def no_problem() -> str:
    """Return the problem of a certificate that has none."""
    return ""


class Stream(Protocol):
    """What a connection needs of its transport; see `SocketStream` for what each means."""

    @property
    def needs_handshake(self) -> bool:
        """Whether `shake_hands` has to come before anything is received or sent."""

    async def shake_hands(
        self, problem: Callable[[], str] = no_problem, seconds: float = math.inf
    ) -> None:
        """Do the TLS handshake."""

    @property
    def half_closes(self) -> bool:
        """Whether a peer that has sent FIN may go on reading; over TLS it may not."""

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is the peer's FIN."""

    def receive_now(self) -> bytes | None:
        """Return what has come, ``b""`` for the peer's FIN; `None`: nothing has."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing passes now, whatever comes."""

    def fileno(self) -> int:
        """Return its descriptor; -1: it has none (any more)."""

    def send_now(self, data: bytes | bytearray) -> int:
        """Send the beginning of ``data``, as much as there is room for; return how much."""

    async def wait_writable(self) -> None:
        """Wait for room."""

    async def wait_sent(self) -> None:
        """Wait until everything was sent, so that a RST does not overtake it."""

    async def wait_reset(self) -> None:
        """Wait until the peer has reset the connection; nothing is read."""

    def send_eof(self) -> None:
        """Send FIN."""

    def has_input(self) -> bool:
        """Whether something has come that was not received: bytes, FIN or RST."""

    def abort(self) -> None:
        """Send RST."""

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""

    def unacked(self) -> int:
        """Return how many bytes were sent that the peer's system has not acknowledged."""

    def acked(self) -> int:
        """Return a number that changes when the peer's system has acknowledged more bytes."""

    def close(self, timeout: float = 0.0) -> None:
        """Close it. What is not acknowledged after ``timeout`` seconds is dropped."""


async def end_with_fin(stream: Stream, linger: float, turns: Turns | None = None) -> None:
    """Send FIN, and discard what still comes: input that is not read would make the end a RST.

    Args:
        linger, turns: see `discard_input`.
    """
    with contextlib.suppress(trio.BrokenResourceError):
        stream.send_eof()
        await discard_input(stream, linger, turns)


async def discard_input(stream: Stream, linger: float, turns: Turns | None = None) -> None:
    """Discard what still comes, until the peer ends the connection with FIN or RST.

    Args:
        linger: seconds after which it stops in any case.
        turns: what it waits for between two reads, so that many peers which send without a pause
            do not hold up others; `None`: nothing, where they are few or each read waits for a
            turn.
    """
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(linger):
        while await stream.receive():
            if turns is not None:
                await turns.next()
