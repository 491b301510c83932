"""How many calls run on all connections of a server, and whether there is room for one more."""

from __future__ import annotations

import attrs


@attrs.define
class CallCount:
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
