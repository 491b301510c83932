"""What a portal has counted since it started, or was reset."""

from __future__ import annotations

import attrs


@attrs.define
class Statistics:
    """Plain counters, incremented where each thing happens.

    Attributes:
        counts: what the service ``count`` counts, by name.
    """

    connections: int = 0
    datagrams: int = 0
    requests: int = 0
    failed: int = 0
    counts: dict[bytes, int] = attrs.field(factory=dict)

    def clear(self) -> None:
        """Set every counter to 0."""
        self.connections = self.datagrams = self.requests = self.failed = 0
        self.counts.clear()

    def stats(self) -> list[str]:
        """Return each counter as ``key=value``."""
        keys = ("connections", "datagrams", "requests", "failed")
        return [f"{key}={getattr(self, key)}" for key in keys]
