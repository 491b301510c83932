"""The frames that a client has sent and that are not answered yet: bounded in bytes."""

from __future__ import annotations

from collections import deque

import attrs
import trio

from esps_portal.exchanges.conversation import LiveExchange
from esps_portal.framings.framing import Frame

# Bytes that may wait for their answers; then the client is not read (design: 64 KiB each).
_MAX_WAITING = 65536
# What a frame costs besides its bytes: empty lines must not fill the memory.
_OVERHEAD = 256


@attrs.frozen(eq=False)
class IncomingFrame:
    """A frame that waits for its answer.

    Attributes:
        exchange: the journal has it already.
        came: when it was whole; seconds on trio's clock.
    """

    frame: Frame
    exchange: LiveExchange
    came: float

    @property
    def cost(self) -> int:
        """How much of the memory it takes."""
        return len(self.frame.wire) + _OVERHEAD


class Incoming:
    """The frames of one connection, in order, from who reads them to who answers them."""

    def __init__(self) -> None:
        self._waiting: deque[IncomingFrame] = deque()
        self._size = 0
        self._has_ended = False
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def has_room(self) -> bool:
        """Whether what waits is little enough to read on."""
        return self._size <= _MAX_WAITING

    def put(self, incoming: IncomingFrame) -> None:
        """Add a frame."""
        self._waiting.append(incoming)
        self._size += incoming.cost
        self._changed.unpark_all()

    def end(self) -> None:
        """No more frames come."""
        self._has_ended = True
        self._changed.unpark_all()

    async def take(self) -> IncomingFrame | None:
        """Wait for the next frame; ``None``: no more come."""
        while not self._waiting:
            if self._has_ended:
                return None
            await self._changed.park()
        incoming = self._waiting.popleft()
        self._size -= incoming.cost
        self._changed.unpark_all()
        return incoming

    async def until_room(self) -> None:
        """Wait until there is room to read on."""
        while not self.has_room:
            await self._changed.park()

    def left(self) -> list[IncomingFrame]:
        """Return the frames that nobody answers any more."""
        return list(self._waiting)
