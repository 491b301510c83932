"""The one writer of a connection.

Lines go into one buffer, in whole, and whoever adds to it sends it, one task at a time: so lines
never mix, and a task that is cancelled while it sends leaves the rest to the next.
"""

from __future__ import annotations

import trio

from esps_portal.server.streams import Stream

# Bytes; with more than this unsent, nothing more is read or produced.
HIGH_WATER = 65536


class Sender:
    """What waits to be sent on a stream, and whether the peer takes it."""

    __slots__ = ("_outgoing", "_progress", "_room", "_sending", "_stream", "_untaken")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._outgoing = bytearray()
        self._sending = False
        # Made when somebody has to wait; most connections never need one.
        self._room: trio.Event | None = None
        # When output began to wait, or the peer last took some of it; seconds on trio's clock.
        self._progress = trio.current_time()
        # What the peer had not yet taken when output began to wait, or when last looked at.
        self._untaken = 0

    async def _flush(self) -> None:
        """Send what is waiting, or wait until the task that sends has made room."""
        while self._sending:
            if len(self._outgoing) <= HIGH_WATER:
                return
            await self._wait_for_room()
        self._sending = True
        try:
            while self._outgoing:
                sent = self._stream.send_now(self._outgoing)
                if sent:
                    del self._outgoing[:sent]
                else:
                    self._progress = trio.current_time()
                    self._untaken = self._stream.untaken()
                    await self._stream.wait_writable()
        finally:
            self._sending = False
            if self._room is not None:
                self._room.set()
                self._room = None

    async def _wait_for_room(self) -> None:
        if self._room is None:
            self._room = trio.Event()
        await self._room.wait()

    async def _send_everything(self) -> None:
        while self._outgoing or self._sending:
            if self._sending:
                await self._wait_for_room()
            await self._flush()

    def _is_taken_from(self) -> bool:
        """Whether the peer has taken something since last asked.

        The socket's buffer may stay full for a while although the peer is reading.
        """
        untaken = self._stream.untaken()
        if untaken >= self._untaken:
            return False
        self._untaken = untaken
        self._progress = trio.current_time()
        return True
