"""What the running calls of all connections of a server share: how many there may be."""

from __future__ import annotations

import attrs


@attrs.define
class SharedCalls:
    """Counts the running calls of all connections that share it.

    Attributes:
        limit: so many may run (`Limits.max_calls`).
        running: so many do.
    """

    limit: int
    running: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no more may begin."""
        return self.running >= self.limit
