"""Lets tasks that have work at the same time take turns: some in each pass of the loop.

A pass of trio's loop runs every task that is ready. There may be thousands, each with a millisecond
of work, and everybody else waits for all of it. So a task waits for its turn before work that any
stranger can cause as often as they like.

No task hands out the turns: the first one of a pass that gets its turn releases the next ones, for
the next pass. So one thing is only guessed: which tasks run in the same pass. The guess is wrong
only about a task that comes while the loop is not busy, and that one waits for one pass more.

Work that is short and due because something has come, such as a read, begins at once as long as the
pass has time (`Turns.begin`). Work that goes on after some was done waits for a later pass in any
case (`Turns.next`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs
import trio

from esps_portal.clock import monotonic

#: Seconds of a pass after which the other turns are left to the next one: own choice. With some of
#: these, the ready set's batch, and a turn more of each that may be too long, a pass takes 20 ms.
TURNS_SECONDS = 0.002
#: Turns in a pass, at the most.
TURNS_AT_ONCE = 64
#: The same two limits for reading what has come: it gets most of a pass, since a client that asks
#: little waits for nothing else.
INPUT_SECONDS = 0.01
INPUT_AT_ONCE = 256


@attrs.define
class _Place:
    """The place of a task that waits; it has the number of its pass once it is scheduled."""

    number: int = 0


class Turns:
    """Lets so many tasks work in a pass of the loop; first come, first served.

    Args:
        at_once: turns in a pass, at the most.
        seconds: once those of a pass have taken so long, the others wait for the next one.
        clock: seconds, from any beginning.

    Example::

        turns = Turns()
        await turns.next()
        work()
    """

    def __init__(
        self,
        at_once: int = TURNS_AT_ONCE,
        *,
        seconds: float = TURNS_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._clock = clock
        self._waiting: OrderedDict[trio.lowlevel.Task, _Place] = OrderedDict()
        # The number of this pass, and how many tasks are scheduled for the next one.
        self._pass = 0
        self._scheduled = 0
        # How many turns this pass has had, and until when it has time for more.
        self._begun = 0
        self._until = 0.0

    async def next(self) -> None:
        """Wait for a turn, in a later pass of the loop. This is a checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        is_late = False
        while not self._has_turn(await self._wait(is_late=is_late)):
            is_late = True

    async def begin(self) -> None:
        """Wait for a turn, which may be now: then this is no checkpoint.

        Nobody knows when a pass begins, so one that has no time left is taken for the same one
        until somebody has waited for the next: each 2 ms one has to, at the most.
        """
        if self._waiting or self._begun >= self._at_once or self._clock() >= self._until:
            await self.next()
        else:
            self._begun += 1

    async def _wait(self, *, is_late: bool) -> int:
        """Wait until it is scheduled; return in which pass."""
        if self._scheduled < self._at_once and (is_late or not self._waiting):
            self._scheduled += 1
            number = self._pass + 1
            # It has its turn, cancelled or not: the others count on it.
            await trio.lowlevel.cancel_shielded_checkpoint()
            return number
        task = trio.lowlevel.current_task()
        self._waiting[task] = place = _Place()
        if is_late:
            self._waiting.move_to_end(task, last=False)

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return place.number

    def _has_turn(self, number: int) -> bool:
        """Whether there is time for a turn in that pass, which is this one."""
        if number <= self._pass:
            return self._clock() < self._until
        self._pass, self._begun, self._scheduled = number, self._scheduled, 0
        self._until = self._clock() + self._seconds
        while self._waiting and self._scheduled < self._at_once:
            task, place = self._waiting.popitem(last=False)
            place.number = number + 1
            self._scheduled += 1
            trio.lowlevel.reschedule(task)
        return True


@attrs.frozen(kw_only=True)
class ConnectionTurns:
    """What the connections of a server wait for; each kind of work has its own time of a pass.

    So a new client does not wait for all those that send much, and a client that asks little does
    not wait for all new ones.

    Attributes:
        opening: waited for before a connection begins, and before more are accepted.
        input: before a connection is read, or its end is acted on.
        work: before a connection that has read or answered for long goes on.
    """

    opening: Turns = attrs.field(factory=Turns)
    input: Turns = attrs.field(factory=lambda: Turns(INPUT_AT_ONCE, seconds=INPUT_SECONDS))
    work: Turns = attrs.field(factory=Turns)
