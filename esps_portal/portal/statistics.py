"""What a portal has counted since it started."""

from __future__ import annotations

import attrs


@attrs.define
class Statistics:
    """Plain counters. Whoever does the thing counts it."""

    connections: int = 0
    datagrams: int = 0
    requests: int = 0
    failed: int = 0

    def stats(self) -> list[str]:
        """Return each counter as ``key=value``."""
        return [f"{key}={value}" for key, value in attrs.asdict(self).items()]
