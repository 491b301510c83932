"""Timeouts and deadlines of the blocking client. Times are in seconds, of the monotonic clock."""

from __future__ import annotations

import math
import sys

from esps_portal.clock import monotonic
from esps_portal.given_numbers import shown_value
from esps_portal.protocol.errors import TimedOutError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Seconds that count as no limit (own choice: 23 days). Python lets a socket wait with poll(2): its
# milliseconds are an int, and begin again at 0 after 24 days.
_LONGEST = 2e6


def check_timeout(timeout: object) -> float:
    """Return a timeout in seconds: 0 or less is over already.

    No limit is `math.inf`, and so is an integer that no float can hold.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not a number of seconds, but nan.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout must be a number of seconds, or math.inf for no limit,"
            f" got {shown_value(timeout)}"
        )
    if abs(timeout) > sys.float_info.max:  # an integer may be larger than any float
        return math.inf if timeout > 0 else -math.inf
    if math.isnan(timeout):
        raise ValueError("timeout must be a number of seconds, got nan")
    return timeout


def socket_timeout(seconds: float) -> float | None:
    """Return what ``socket.settimeout`` takes for that long."""
    return None if seconds > _LONGEST else seconds


def now_before(deadline: float, received: bytes = b"") -> float:
    """Return the time.

    Raises:
        TimedOutError: the deadline has passed; the error carries ``received``.
    """
    now = monotonic()
    if now >= deadline:
        raise TimedOutError("no reply in time", received)
    return now
