"""What the running calls of all connections of a server share: their number, and their turns."""

from __future__ import annotations

import attrs
import trio

#: The DATA lines that are sent in one pass of the loop: a millisecond's, so that the others, whom
#: nobody else keeps waiting, have their turn after that.
LINES_AT_ONCE = 64


@attrs.define
class SharedCalls:
    """Counts the running calls of all connections that share it, and lets them send in turn.

    Attributes:
        limit: so many may run (`Limits.max_calls`).
        running: so many do.
        turns: what a call acquires after each DATA line. It is a checkpoint, and first come first
            served: of thousands of calls that have much to say few do so in one pass of the loop.
    """

    limit: int
    running: int = 0
    turns: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(LINES_AT_ONCE), init=False, repr=False
    )

    @property
    def is_full(self) -> bool:
        """Whether no more may begin."""
        return self.running >= self.limit
