"""The exchanges that a journal keeps, bounded in number and in bytes."""

from __future__ import annotations

from collections import deque

from esps_portal.journal.records import RecordedExchange


class KeptExchanges:
    """The latest exchanges; the oldest are forgotten.

    Args:
        max_count: how many are kept.
        max_bytes: of all of them together; the last one is kept in any case.

    Attributes:
        exchanges: those that are kept.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.exchanges: deque[RecordedExchange] = deque(maxlen=max_count)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._begun = 0

    @property
    def forgotten(self) -> int:
        """How many are no longer kept."""
        return self._begun - len(self.exchanges)

    def clear(self) -> None:
        """Forget all of them, and how many there were."""
        while self.exchanges:
            self._forget_oldest()
        self._begun = 0

    def add(self, exchange: RecordedExchange) -> None:
        """Keep an exchange that has just begun."""
        if len(self.exchanges) == self.exchanges.maxlen:
            self._forget_oldest()
        self.exchanges.append(exchange)
        self._begun += 1

    def grown(self, exchange: RecordedExchange, size: int) -> None:
        """An exchange keeps ``size`` bytes more."""
        if not size or exchange.is_forgotten:
            return
        self._bytes += size
        while self._bytes > self._max_bytes and len(self.exchanges) > 1:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self.exchanges.popleft()
        oldest.is_forgotten = True
        self._bytes -= oldest.kept
