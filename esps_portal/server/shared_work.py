"""What all connections of a server share: the number of running calls, and turns for their work.

The loop runs every task that is ready, and clients decide how many are: by lines, calls and ends.
So the work that each of these costs is done in turns.
"""

from __future__ import annotations

import attrs

from esps_portal.net.turns import Turns

#: How many connections answer in one pass of the loop. Each may take a millisecond, so a pass has
#: time for a few only, and waking the others in vain would take as long.
INPUT_AT_ONCE = 8


@attrs.define
class SharedWork:
    """Counts the running calls of all connections, and gives turns to their work.

    Attributes:
        limit: how many calls may run (`Limits.max_calls`).
        running: how many do.
        lines: turns that a call waits for after each DATA line.
        input: turns that the task of a connection waits for before it answers what has come.
        ends: turns that a connection waits for before it ends, and before it cancels each call.
    """

    limit: int
    running: int = 0
    lines: Turns = attrs.field(factory=Turns, init=False, repr=False)
    input: Turns = attrs.field(factory=lambda: Turns(INPUT_AT_ONCE), init=False, repr=False)
    ends: Turns = attrs.field(factory=Turns, init=False, repr=False)

    @property
    def is_full(self) -> bool:
        """Whether no more may begin."""
        return self.running >= self.limit
