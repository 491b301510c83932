"""Limits how many errors one address gets over UDP (specification, section 7.1).

Servers of other protocols answer errors with errors, so an exchange with one would never end. A
token bucket for each address slows it down, in bounded memory. There is no clock here: the caller
passes in the time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

# Addresses with a bucket of their own (own choice: under 200 KB). Others share one.
_MAX_ADDRESSES = 1024
_OTHERS = object()


class ErrorBudget:
    """Says whether an address may get one more error.

    Args:
        rate: errors a second.
        burst: errors at once.

    Example::

        budget = ErrorBudget(rate=100, burst=200)
        budget.take("192.0.2.1", 0.0)  # True, 200 times; then False for 0.01 s
    """

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        # What is left in each bucket, and when; in the order of use.
        self._buckets: OrderedDict[Any, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: object, now: float) -> bool:
        """Take one from the bucket of an address; return whether there was one.

        Args:
            now: seconds, on any clock.
        """
        if address not in self._buckets and not self._make_room(now):
            address = _OTHERS
        left = self._left(address, now)
        has_one = left >= 1
        self._buckets[address] = (left - has_one, now)
        self._buckets.move_to_end(address)
        return has_one

    def _left(self, address: object, now: float) -> float:
        left, then = self._buckets.get(address, (self._burst, now))
        return min(self._burst, left + (now - then) * self._rate)

    def _make_room(self, now: float) -> bool:
        """Forget buckets that are full again, as far as needed; return whether one more fits.

        If a bucket that is not full were forgotten, its address would get more than its share.
        """
        while len(self._buckets) >= _MAX_ADDRESSES:
            oldest = next(iter(self._buckets))
            if self._left(oldest, now) < self._burst:
                return False
            del self._buckets[oldest]
        return True
