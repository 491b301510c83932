"""How many connections each address has."""

from __future__ import annotations

from collections import Counter


class AddressCounts:
    """Counts connections by the address of the client; its port does not matter.

    Args:
        limit: of connections from one address; 0: there is none, and nothing is counted.
    """

    __slots__ = ("_addresses", "_counts", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._addresses: dict[object, str] = {}

    def is_full(self, address: str) -> bool:
        """Whether an address has as many connections as it may."""
        return 0 < self._limit <= self._counts[address]

    def add(self, connection: object, address: str) -> None:
        """Count a connection."""
        if self._limit:
            self._addresses[connection] = address
            self._counts[address] += 1

    def remove(self, connection: object) -> None:
        """No longer count a connection."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]  # so that memory is bounded
