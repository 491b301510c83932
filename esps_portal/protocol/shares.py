"""The largest share of a server that one UDP client may hold (specification, section 7.3).

The source of a datagram can be forged, and a client can send as much as it likes. So one address
may hold at most half of what there is, and one address and port a sixteenth; the rest is left to
others.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

#: Where a datagram came from, as sockets have it: host and port, and maybe more.
Source = tuple[Any, ...]


class Shares:
    """Counts what each source holds.

    Args:
        limit: how much all sources may hold together.

    Attributes:
        total: how much all sources hold.

    Example::

        shares = Shares(64)
        shares.take(("192.0.2.1", 4000))
        shares.has_room(("192.0.2.1", 4000))  # True; after four, False
    """

    __slots__ = ("_by_host", "_by_source", "_host_limit", "_limit", "_source_limit", "total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._host_limit = max(1, limit // 2)
        self._source_limit = max(1, limit // 16)
        self._by_host: Counter[Any] = Counter()
        self._by_source: Counter[Source] = Counter()
        self.total: int = 0

    def has_room(self, source: Source) -> bool:
        """Whether a source may hold one more."""
        return (
            self.total < self._limit
            and self._by_host[source[0]] < self._host_limit
            and self._by_source[source[:2]] < self._source_limit
        )

    def take(self, source: Source) -> None:
        """Note that a source holds one more."""
        self.total += 1
        self._by_host[source[0]] += 1
        self._by_source[source[:2]] += 1

    def give_back(self, source: Source) -> None:
        """Note that a source holds one less."""
        self.total -= 1
        for counts, key in ((self._by_host, source[0]), (self._by_source, source[:2])):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]  # so that memory is bounded
