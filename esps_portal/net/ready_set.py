"""Serves all connections that need no task of their own, in one task.

With a task for each connection, every request costs a switch of tasks and a re-armed poll. So a
connection that only answers what arrives is *parked* here. One task waits for all parked
connections with one `Poller`, and lets each readable one take a turn: the connection reads and
answers a bounded amount, without waiting. When it has to wait for something (for room to send, or
for the end of a call), it leaves the set and goes on in its own task until it can be parked again.

Waiting means arming trio's own poll and a pass through its scheduler. A client that sends its next
request as soon as it is answered has sent it before the wait begins to sleep. As long as that
happens, the poller is asked again after a bare pass, which costs half as much.

No connection can hold the loop. The connection bounds its own turn; one that has more to do goes to
the back of the queue; and a batch of turns ends after `BATCH_SECONDS`, even if some turns are left,
so that accepting, UDP, control and signals get their time. Within `POLLING_SECONDS` a batch goes on
with what has become readable since it began, because a pass through trio's scheduler costs as much
as two turns.

Nothing here knows which protocol is spoken, or how a connection reads and writes.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

import attrs
import trio

from esps_portal.clock import monotonic
from esps_portal.log import log
from esps_portal.net.poller import Poller, Readable

#: Seconds after which other tasks get a turn.
BATCH_SECONDS = 0.005
#: Seconds. A turn that took longer because much was asked, or that left more to do, puts a
#: connection behind the others: own choice, several times what one request takes.
SHORT_TURN = 0.0002
#: Seconds in which a batch looks for more that is readable (own choice: one pass for fifty turns
#: costs next to nothing, and other ready tasks hardly wait longer).
POLLING_SECONDS = 0.001
#: Seconds. A wait that ended sooner was not worth its cost: own choice, what a pass takes.
PROMPT_SECONDS = 0.00005


class Turn(enum.Enum):
    """What a turn leaves."""

    DONE = "nothing, until more comes"
    MORE = "more to do, after the others"
    NEEDS_TASK = "something to wait for"
    ENDED = "nothing: the connection has left the set, and is closed"


_DONE, _MORE, _NEEDS_TASK = Turn.DONE, Turn.MORE, Turn.NEEDS_TASK

# The classes of connections. Each has a queue of its own, and they are served in this order:
# - light: all others, which nearly all are;
# - new: it came while others had to wait for turns, and has had no turn yet. Thousands may come,
#   each with as much as a turn takes;
# - heavy: its last turn left more to do, or was long because it asked much. A client that asks one
#   question at a time must not wait a second for a thousand of these.
_LIGHT, _NEW, _HEAVY = 0, 1, 2


class Parkable(Protocol):
    """A connection that can do without a task."""

    @property
    def stream(self) -> Readable:
        """What it reads."""

    def begin(self) -> bool:
        """Begin, before the first turn; return whether it can do without a task."""

    def take_turn(self, now: float, began: float) -> Turn:
        """Read and answer a bounded amount, without waiting.

        Args:
            now: seconds on trio's clock.
            began: when the turn begins, in seconds on `clock.monotonic`.
        """

    @property
    def asked_much(self) -> bool:
        """Whether it has read more than a few requests in its last turn.

        Asked after a turn that took long: on a busy machine any may, also the answer to one PING,
        since the kernel does its work for others while it sends.
        """

    def abort(self) -> None:
        """End at once, with RST."""


@attrs.define(eq=False)
class _Place:
    """One parked connection."""

    connection: Parkable
    number: int
    resume: Callable[[], None]
    # The context of its task. Its turns run in it too, so that context variables which a
    # service sets stay set, for this connection only.
    context: Context
    # Its class, which is the number of its queue.
    queue: int = _LIGHT
    # Else it waits in its queue for a turn.
    is_polled: bool = True


class ReadySet:
    """Parked connections; `run` serves them.

    Args:
        poller: waits for what they read; it is closed at the end.

    Attributes:
        start: starts the task of a connection that needs one again.
        on_end: called with a connection that has ended in its turn, or whose task goes on without
            it.

    Example::

        ready = ReadySet(EpollPoller())
        ready.start = lambda connection: nursery.start_soon(connection.run)
        nursery.start_soon(ready.run)
        ready.park(connection)
    """

    def __init__(self, poller: Poller) -> None:
        self.start: Callable[[Any], None] = lambda _: None
        self.on_end: Callable[[Any], None] = lambda _: None
        self._poller = poller
        self._places: dict[object, _Place] = {}
        self._by_number: dict[int, _Place] = {}
        # By class, the numbers of connections that wait for their turns, and are not polled
        # meanwhile.
        self._queues: tuple[deque[int], deque[int], deque[int]] = deque(), deque(), deque()
        # How many parked connections are new or heavy: nearly always none.
        self._not_light = 0
        # Whether the last wait was over at once, so that polling again may be cheaper than waiting.
        self._is_prompt = False

    def __contains__(self, connection: object) -> bool:
        return connection in self._places

    @property
    def is_open(self) -> bool:
        """Whether connections can be parked."""
        return self._poller.is_open

    @property
    def has_input(self) -> bool:
        """Whether something has come on any of them that was not read."""
        return self._poller.is_open and (any(self._queues) or bool(self._poller.ready()))

    def admit(self, connection: Any) -> bool:  # noqa: ANN401 - a handler, which is `Parkable`
        """Park a new connection, if it can do without a task from the start; return that."""
        if not connection.begin():
            return False
        self.park(connection)
        if any(self._queues):
            self._set_queue(self._places[connection], _NEW)
        return True

    def park(self, connection: Parkable) -> None:
        """Serve a connection from now on, until it needs a task again: one is then started."""
        context = copy_context()
        # A task starts with a copy of the current context, which may be that of another
        # connection's turn. This connection's own may be in use: entering it again is an error.
        self._park(connection, lambda: context.copy().run(self.start, connection), context)

    def _park(self, connection: Parkable, resume: Callable[[], None], context: Context) -> None:
        number = self._poller.add(connection.stream)
        place = _Place(connection, number, resume, context)
        # An entry that is still there under that number was closed by another thread.
        self._places[connection] = self._by_number[number] = place

    def resume(self, connection: Parkable) -> None:
        """Let a connection go on in its task, if it is parked."""
        if connection in self._places:
            self._unpark(connection).resume()

    def leave(self, connection: Parkable) -> None:
        """Remove a connection, which ends."""
        if connection in self._places:
            self._unpark(connection)

    async def wait(self, connection: Parkable) -> None:
        """Park a connection whose task has other work, until it needs the task.

        Cancellation takes it out of the set.
        """
        needed = trio.Event()
        self._park(connection, needed.set, trio.lowlevel.current_task().context)
        try:
            await needed.wait()
        finally:
            self.leave(connection)

    async def run(self) -> None:
        """Serve what is parked, until cancelled. Then everything goes on in its own task."""
        now = trio.lowlevel.current_clock().current_time
        try:
            while True:
                await self._until_ready()
                self._take_turns(now)
        finally:
            for place in list(self._places.values()):
                self.resume(place.connection)
            self._poller.close()

    async def _until_ready(self) -> None:
        """Let other tasks run, until a connection has something to do, or may have."""
        if self._is_prompt or any(self._queues):
            await trio.lowlevel.checkpoint()
            return
        began = monotonic()
        await self._poller.wait()
        self._is_prompt = monotonic() - began < PROMPT_SECONDS

    def _take_turns(self, now: Callable[[], float]) -> None:
        """Give turns to those that are ready, as far as there is time."""
        began = monotonic()
        count = self._take_round(began + BATCH_SECONDS, now())
        if not count:
            self._is_prompt = False
        # A single client sends its next request only after it has read the answer: not yet.
        while count > 1 and not any(self._queues) and monotonic() < began + POLLING_SECONDS:
            count = self._take_round(began + BATCH_SECONDS, now())

    def _take_round(self, until: float, now: float) -> int:
        """Give one turn to each that is ready; return how many were ready.

        Args:
            until: no turn begins after that.
            now: seconds on trio's clock.
        """
        numbers = self._poller.ready()
        light, new, heavy = self._queues
        if not (self._not_light or any(self._queues)):  # nearly always
            light.extend(numbers)
            self._take_turns_of(light, until, now)
        else:
            self._enqueue(numbers)
            # No kind waits for another longer than half a batch, nor for both of them longer than
            # three quarters.
            self._take_turns_of(light, until - BATCH_SECONDS / 2 if new or heavy else until, now)
            self._take_turns_of(new, until - BATCH_SECONDS / 4 if heavy else until, now)
            self._take_turns_of(heavy, until, now)
        if any(self._queues):
            self._pause_those_that_wait()
        return len(numbers)

    def _enqueue(self, numbers: list[int]) -> None:
        places, queues = self._by_number, self._queues
        for number in numbers:
            if number in places:
                queues[places[number].queue].append(number)

    def _pause_those_that_wait(self) -> None:
        """Have the poller not report them again: it is known that they are ready."""
        for queue in self._queues:
            for number in reversed(queue):
                place = self._by_number.get(number)
                if place is None:
                    continue  # it has left
                if not place.is_polled:
                    break  # nor are those before it
                place.is_polled = False
                self._poller.pause(number)

    def _take_turns_of(self, queue: deque[int], until: float, now: float) -> None:
        """Give turns to the first of a queue until then, but to each only one, and at least one."""
        places, began = self._by_number, monotonic()
        for _ in range(len(queue)):
            number = queue.popleft()
            place = places.get(number)
            if place is None:
                continue  # it has left
            try:
                turn = place.context.run(place.connection.take_turn, now, began)
            except Exception:  # noqa: BLE001 - what one has must not end the others; it is logged
                log.exception("a connection has failed, and is reset")
                place.connection.abort()
                turn = _NEEDS_TASK
            ended = monotonic()
            if turn is _MORE or ended - began > SHORT_TURN or self._not_light:
                self._classify(place, turn, is_long=ended - began > SHORT_TURN)
            if turn is not _DONE or not place.is_polled:
                self._note_turn(place, turn)
            if ended >= until:
                break
            began = ended

    def _classify(self, place: _Place, turn: Turn, *, is_long: bool) -> None:
        """Note after a turn how it is served from now on."""
        is_heavy = turn is _MORE or (is_long and place.connection.asked_much)
        queue = _HEAVY if is_heavy else _LIGHT
        if queue != place.queue and self._by_number.get(place.number) is place:  # it has not left
            self._set_queue(place, queue)

    def _set_queue(self, place: _Place, queue: int) -> None:
        """Change the class of a connection."""
        self._not_light += (queue != _LIGHT) - (place.queue != _LIGHT)
        place.queue = queue

    def _note_turn(self, place: _Place, turn: Turn) -> None:
        """Act on what a turn has left."""
        if turn is _MORE:
            self._queues[_HEAVY].append(place.number)
        elif turn is _NEEDS_TASK:
            self.resume(place.connection)
        elif turn is not _DONE:
            self._is_prompt = False  # it sends no next request
            self.on_end(place.connection)
        elif self._by_number.get(place.number) is place:  # it has not left
            place.is_polled = True
            self._poller.resume(place.number)

    def _unpark(self, connection: Parkable) -> _Place:
        place = self._places.pop(connection)
        self._set_queue(place, _LIGHT)
        if self._by_number.get(place.number) is place:
            del self._by_number[place.number]
            self._poller.remove(place.number)
        return place
