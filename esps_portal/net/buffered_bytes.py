"""Bounds the bytes that all connections of a server hold together.

Each connection has its own bound, but ten thousand of them could still hold more than the machine
has.
"""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A connection that holds bytes: not yet sent, or not yet answered."""

    def evict(self) -> None:
        """End it without what it holds."""


class BufferedBytes:
    """Counts the bytes that connections hold; while they are too many, ends those that hold most.

    Args:
        limit: bytes in all.

    Attributes:
        total: those that are held now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Holder, int] = {}
        self.total: int = 0

    def note(self, holder: Holder, size: int) -> None:
        """Note how much a connection holds now; end others, or this one, if that is too much."""
        self.total += size - self._held.get(holder, 0)
        if size:
            self._held[holder] = size
        else:
            self._held.pop(holder, None)
        while self.total > self._limit:
            # Of several that hold as much the first is the one that has held it longest.
            largest = max(self._held, key=self._held.__getitem__)
            self.total -= self._held.pop(largest)
            largest.evict()
