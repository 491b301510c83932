"""The queue of one connection: frames of the client to answer, and frames of the test to push.

The frames that wait for an answer are bounded in bytes.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from esps_portal.exchanges.live_exchange import LiveExchange
from esps_portal.framings.framing import Frame
from esps_portal.mock.peer_steps import SendFrames

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
        """Bytes of memory that it takes."""
        return len(self.frame.wire) + _OVERHEAD


@attrs.frozen(eq=False)
class Push:
    """Unsolicited frames to send."""

    steps: tuple[SendFrames, ...]

    @property
    def cost(self) -> int:
        """0: it must not keep the client from being read."""
        return 0


class Incoming:
    """The queue from the task that reads, or a test that pushes, to the task that answers.

    Attributes:
        has_waited: whether what was taken last had to be waited for.
    """

    def __init__(self) -> None:
        self._waiting: deque[IncomingFrame | Push] = deque()
        self._size = 0
        self._has_ended = False
        self.has_waited: bool = False
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def has_room(self) -> bool:
        """Whether little enough waits that more may be read."""
        return self._size <= _MAX_WAITING

    def put(self, incoming: IncomingFrame | Push) -> None:
        """Add a frame of the client's, or one that is to be sent."""
        self._waiting.append(incoming)
        self._size += incoming.cost
        self._changed.unpark_all()

    def end(self) -> None:
        """No more frames come."""
        self._has_ended = True
        self._changed.unpark_all()

    async def take(self) -> IncomingFrame | Push | None:
        """Wait for the next one; ``None``: no more come."""
        self.has_waited = not self._waiting
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
