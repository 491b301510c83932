"""The one writer of a stream.

Whole units go into one buffer, and whoever adds one sends what is there, one task at a time. So
units never mix, and a task that is cancelled while it sends leaves the rest to the next.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from esps_portal.net.streams import Stream

#: Bytes; with more than this unsent, nothing more is read or produced.
HIGH_WATER = 65536


class Writer:
    """What waits to be sent on a stream, and whether the peer acknowledges it.

    Args:
        on_wait: called when output has to wait, when more of it does, and when none does any more.

    Attributes:
        outgoing: bytes that wait; add whole units, then `flush`.
        is_sending: a task waits for room on the stream.
        progress: when output began to wait, or the peer last acknowledged some of it; seconds on
            trio's clock.
    """

    __slots__ = ("_on_wait", "_room", "_stream", "_unacked", "is_sending", "outgoing", "progress")

    def __init__(self, stream: Stream, on_wait: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._on_wait = on_wait
        self.outgoing: bytearray = bytearray()
        self.is_sending: bool = False
        self.progress: float = trio.current_time()
        # Made when somebody has to wait; most connections never need one.
        self._room: trio.Event | None = None
        # What was not acknowledged when output began to wait, or at the last look.
        self._unacked = 0

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
        has_waited = False
        try:
            while self.outgoing:
                sent = self._stream.send_now(self.outgoing)
                if sent:
                    del self.outgoing[:sent]
                else:
                    self.progress = trio.current_time()
                    self._unacked = self._stream.unacked()
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

    def has_progressed(self) -> bool:
        """Whether the peer has acknowledged something since the last look.

        The socket's buffer may stay full for a while although the peer is reading.
        """
        unacked = self._stream.unacked()
        if unacked >= self._unacked:
            return False
        self._unacked = unacked
        self.progress = trio.current_time()
        return True

    async def _wait_for_room(self) -> None:
        if self._room is None:
            self._room = trio.Event()
        await self._room.wait()
