"""The writer of a stream; a stream has only one.

Whole units go into one buffer, and each caller that adds one sends what is there, one task at a
time. So units never mix, and a task that is cancelled while it sends leaves the rest to the next
one.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from esps_portal.clock import monotonic
from esps_portal.net.stream import Stream

#: Bytes; with more than this unsent, nothing more is read or produced.
HIGH_WATER = 65536

# Seconds that an acknowledgement may take: a receiver delays it by 0.5 at most (RFC 9293 section
# 3.8.6.3), and the way there and back is left as much again.
_ACK_DELAY = 1.0


def nothing(*_: object) -> None:
    """Stand in for a callback that is not, or no longer, to be called."""


class Writer:
    """What waits to be sent on a stream, and whether the peer acknowledges it.

    Args:
        on_wait: called when output has to wait, when more of it does, and when none does any more.

    Attributes:
        outgoing: bytes that wait; add whole units, then `flush`.
        is_sending: a task waits for room on the stream.
        progress: when output began to wait here, or the peer last acknowledged some of that;
            seconds on trio's clock.
    """

    __slots__ = (
        "_acked",
        "_held_since",
        "_is_settled",
        "_looked",
        "_on_wait",
        "_room",
        "_stream",
        "is_sending",
        "outgoing",
        "progress",
    )

    def __init__(self, stream: Stream, on_wait: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._on_wait = on_wait
        self.outgoing: bytearray = bytearray()
        self.is_sending: bool = False
        self.progress: float = trio.current_time()
        # Made when somebody has to wait; most connections never need one.
        self._room: trio.Event | None = None
        # How much was acknowledged when output began to wait, or at the last check.
        self._acked = 0
        # Whether a check has found everything acknowledged.
        self._is_settled = True
        # Since when the kernel holds output of which nothing was acknowledged, and when that was
        # seen by a clock that no test moves; `None`: nobody has seen it hold any.
        self._held_since: float | None = None
        self._looked = 0.0

    async def flush(self) -> None:
        """Send what waits, or wait until the task that sends it has made room.

        Raises:
            trio.BrokenResourceError: the peer has reset the connection.
        """
        while self.is_sending:
            self._on_wait()
            if len(self.outgoing) <= HIGH_WATER:
                return
            await self._wait_for_room()
        self.is_sending = True
        self._is_settled = has_waited = False
        try:
            while self.outgoing:
                sent = self._stream.send_now(self.outgoing)
                if sent:
                    del self.outgoing[:sent]
                else:
                    self._acked = self._stream.acked()
                    self.progress = self._note_progress()
                    has_waited = True
                    self._on_wait()
                    await self._stream.wait_writable()
        finally:
            self.is_sending = False
            if has_waited:
                self._on_wait()
            if self._room is not None:
                self._room.set()
                self._room = None

    def flush_now(self) -> bool:
        """Send what waits, as far as there is room; return whether nothing waits any more.

        Raises:
            trio.BrokenResourceError: the peer has reset the connection.
        """
        if self.is_sending:
            return False
        outgoing = self.outgoing
        if outgoing:
            self._is_settled = False
            del outgoing[: self._stream.send_now(outgoing)]
        return not outgoing

    async def send_everything(self) -> None:
        """Return once nothing waits any more.

        Raises:
            trio.BrokenResourceError: the peer has reset the connection.
        """
        while self.outgoing or self.is_sending:
            if self.is_sending:
                await self._wait_for_room()
            await self.flush()

    def close(self) -> None:
        """Drop all callbacks: the connection has ended."""
        self._on_wait = nothing

    def waits_since(self) -> float | None:
        """Return since when the peer has acknowledged nothing of what waits; `None`: nothing does.

        What the kernel holds waits too. When it was acknowledged is known only as far as somebody
        looks, so ask this a few times within the time that matters.

        (The kernel has a limit of its own, TCP_USER_TIMEOUT. Linux counts that from when the peer's
        window was last wide enough for a whole segment, which on loopback is 64 KiB: it breaks the
        connection of a client that reads slowly into a smaller buffer.)
        """
        if self.is_sending:
            if self._has_progressed():
                self.progress = self._note_progress()
            return self.progress
        if self._is_settled:
            return None
        if not self._stream.unacked():
            self._is_settled, self._held_since = True, None
        elif self._has_progressed() or self._held_since is None:
            self._note_progress()
        return self._held_since

    def has_waited(self, seconds: float) -> bool:
        """Whether output has waited for ``seconds``, and the peer has acknowledged none of it."""
        since = self.waits_since()
        if since is None or trio.current_time() < since + seconds:
            return False
        if not self.is_sending and monotonic() < self._looked + min(seconds, _ACK_DELAY):
            # The loop's clock has jumped, and the kernels have had no time for it.
            self._held_since = trio.current_time()
            return False
        return True

    def _note_progress(self) -> float:
        """Count from now since when nothing is acknowledged; return that."""
        self._held_since, self._looked = trio.current_time(), monotonic()
        return self._held_since

    def _has_progressed(self) -> bool:
        """Whether the peer has acknowledged something since the last look."""
        acked = self._stream.acked()
        if acked == self._acked:
            return False
        self._acked = acked
        return True

    async def _wait_for_room(self) -> None:
        if self._room is None:
            self._room = trio.Event()
        await self._room.wait()
