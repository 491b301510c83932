"""What a portal counts, since it started or was reset."""

from __future__ import annotations

import os
from collections import OrderedDict

import attrs


@attrs.define
class Statistics:
    """Plain counters, incremented where each thing happens.

    Attributes:
        counts: what the service ``count`` counts, by name; what was counted last comes last.
    """

    connections: int = 0
    datagrams: int = 0
    requests: int = 0
    failed: int = 0
    counts: OrderedDict[bytes, int] = attrs.field(factory=OrderedDict)

    def clear(self) -> None:
        """Set every counter to 0."""
        self.connections = self.datagrams = self.requests = self.failed = 0
        self.counts.clear()

    def stats(self) -> list[str]:
        """Return the process that counts, and each counter, as ``key=value``."""
        keys = ("connections", "datagrams", "requests", "failed")
        # Looked up each time: after a fork it is another process.
        return [f"pid={os.getpid()}", *(f"{key}={getattr(self, key)}" for key in keys)]
