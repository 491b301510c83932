"""A silent network: while it lasts nothing passes in either direction, and nothing ends.

The streams and UDP sockets of a server share one `Silence`. A stream reads and writes nothing, and
sends its FIN or RST when the silence is over; a datagram is discarded. What the kernel already had
to send still arrives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


class Silence:
    """Whether the network is silent; at first it is not.

    Attributes:
        is_on: whether nothing passes now.
        ended: when the last one has ended, in seconds on trio's clock.
    """

    __slots__ = ("_over", "_postponed", "ended", "is_on")

    def __init__(self) -> None:
        self.is_on: bool = False
        self.ended: float = -math.inf
        self._over = trio.lowlevel.ParkingLot()
        self._postponed: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Let nothing pass from now on."""
        self.is_on = True

    def end(self) -> None:
        """End the silence, and call everything that was postponed."""
        if not self.is_on:
            return
        self.is_on = False
        self.ended = trio.current_time()
        self._over.unpark_all()
        postponed, self._postponed = self._postponed, []
        for callback in postponed:
            callback()

    async def until_over(self) -> None:
        """Wait until it is off."""
        while self.is_on:
            await self._over.park()

    def call_when_over(self, callback: Callable[[], None]) -> None:
        """Call a function now, or, in this order, after the silence. It must not raise then."""
        if self.is_on:
            self._postponed.append(callback)
        else:
            callback()


#: For what nobody silences.
NEVER_SILENT = Silence()
