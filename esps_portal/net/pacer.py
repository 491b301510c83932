"""Times the pauses that faults put between bytes, so that a rate holds though each ends late."""

from __future__ import annotations

import math

import trio

from esps_portal.faults.actions import Pause


class Pacer:
    """Times the pauses of one stream, which come one after another.

    A pause always ends a little late. So one that keeps a rate counts from when the pause before it
    was to end, which makes up for the delay. After a longer delay the bytes come at the rate again,
    and not all at once.

    Args:
        catch_up: seconds of delay that a rate makes up for, at the most.
    """

    __slots__ = ("_catch_up", "_end", "_rate_of")

    def __init__(self, catch_up: float) -> None:
        self._catch_up = catch_up
        # When the last pause was to end, and whose rate it keeps.
        self._end = 0.0
        self._rate_of: object | None = None

    def rest_of(self, pause: Pause, arrived: float | None = None) -> float:
        """Return for how many seconds to pause from now on.

        Args:
            arrived: when the bytes after the pause were read, in seconds on trio's clock. By
                default they have come just now, and at a rate all of them with the first.
        """
        now = begins = trio.current_time()
        if pause.since_arrival and arrived is not None:
            begins = arrived
        elif pause.rate_of is not None:
            if arrived is None:
                arrived = -math.inf if pause.rate_of is self._rate_of else now
            begins = min(now, max(arrived, self._end, now - self._catch_up))
        self._rate_of, self._end = pause.rate_of, begins + pause.seconds
        return max(0.0, self._end - now)
