"""trio's clock for a portal in a thread of its own: a test that freezes time does not stop it."""

from __future__ import annotations

import math

import attrs
import trio

from esps_portal.clock import monotonic


@attrs.frozen
class SteadyClock(trio.abc.Clock):
    """The system's monotonic clock, in seconds; trio's own would be frozen with the test's."""

    def start_clock(self) -> None:
        """Do nothing: it always runs."""

    def current_time(self) -> float:
        """Return the time."""
        return monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how many seconds are left; none are if it has passed."""
        return deadline if math.isinf(deadline) else deadline - monotonic()
