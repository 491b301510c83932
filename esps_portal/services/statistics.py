"""What a portal has counted since it started."""

from __future__ import annotations

import attrs


@attrs.define
class Statistics:
    """Plain counters, incremented where each thing happens.

    Attributes:
        named: what the service ``count`` counts.
    """

    connections: int = 0
    datagrams: int = 0
    requests: int = 0
    failed: int = 0
    named: dict[bytes, int] = attrs.field(factory=dict)

    def clear(self) -> None:
        """Begin again."""
        self.connections = self.datagrams = self.requests = self.failed = 0
        self.named.clear()

    def stats(self) -> list[str]:
        """Return each counter as ``key=value``."""
        shown = ("connections", "datagrams", "requests", "failed")
        return [f"{key}={getattr(self, key)}" for key in shown]
