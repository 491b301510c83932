"""One TCP connection, put together from its parts.

A connection has a task only while it needs one. If everything that arrives can be answered at once,
it is parked in the server's `ReadySet` and takes a turn when there is something to read
(`take_turn`). When it has to wait, for room to send, for the end of a call, for a fault or for its
own end, its `ConnectionTask` runs.

In both cases a `Reader` passes on what arrives, an `Answerer` answers the lines in order, each
running call has its own task (`CallTasks`), all of them write through one `ReplyWriter`, and a
`Teardown` closes the socket. The server's watch ends a connection that is idle or whose client does
not read. An observer, if there is one, records what happens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from esps_portal.faults.lazy_plan import actions_at_once
from esps_portal.faults.target import FaultTarget
from esps_portal.log import log
from esps_portal.net.buffered_bytes import BufferedBytes
from esps_portal.net.ready_set import ReadySet, Turn
from esps_portal.net.stream import Stream
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.connection_task import ConnectionTask
from esps_portal.server.endings import ENDINGS, EndReason, reason_of
from esps_portal.server.held_bytes import HeldBytes
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.opening import Opening
from esps_portal.server.parking import Parking
from esps_portal.server.reader import Reader
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.shared_work import SharedWork
from esps_portal.server.stage_faults import StageFaults
from esps_portal.server.teardown import Teardown
from esps_portal.server.unanswered import UnansweredInput
from esps_portal.services.dispatcher import Dispatcher

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.fault_registry import FaultRegistry

# Bytes (own choice: some requests of a usual length). Whoever sends more at once asks much.
_FEW_BYTES = 512

# Looking up a member of an enumeration takes as long as a call.
_OPEN = State.OPEN
_DONE, _MORE, _NEEDS_TASK = Turn.DONE, Turn.MORE, Turn.NEEDS_TASK


class PortalConnection:
    """Serves one client. `run` is its whole life; the other methods may be called at any time.

    Args:
        remote: the client's address and port.
        observer: notes what happens; `None`: nothing is noted.
        faults: are asked about each request; `None`: there are none.
        ready: serves it while it needs no task; `None`: it always has one.
        requires_hello: whether the first line must be a HELLO.
        shared_work: what the calls of all connections share; `None`: of this one alone.
        calls: where calls run; `None`: in a nursery of its own, which waits for them.
        buffered: the bytes that all connections hold; `None`: they are not counted.
    """

    __slots__ = (
        "_answerer",
        "_calls",
        "_faults",
        "_held",
        "_is_scripted",
        "_is_shut_down",
        "_limits",
        "_observer",
        "_opened",
        "_opening",
        "_parking",
        "_protocol",
        "_reader",
        "_replies",
        "_shared",
        "_stream",
        "_task",
        "_writer",
        "asked_much",
    )

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        stream: Stream,
        remote: tuple[str, int],
        portal: Dispatcher,
        *,
        observer: ConnectionObserver | None = None,
        faults: FaultRegistry | None = None,
        ready: ReadySet | None = None,
        requires_hello: bool = False,
        shared_work: SharedWork | None = None,
        calls: trio.Nursery | None = None,
        buffered: BufferedBytes | None = None,
    ) -> None:
        self._stream = stream
        self._limits = limits = portal.limits
        self._observer = observer
        self._is_scripted = not (observer is None and faults is None)
        self._protocol = protocol = ServerConnection(limits, requires_hello=requires_hello)
        self._replies = replies = ReplyWriter(stream, self._on_end, self._note_held)
        self._writer = replies.writer
        self._held = held = HeldBytes(self, buffered, protocol, replies.writer)
        self._shared = shared = shared_work or SharedWork(limits.max_calls)
        self._calls = tasks = CallTasks(protocol, replies, shared, calls)
        self._answerer = answerer = Answerer(
            portal,
            remote,
            protocol,
            replies,
            tasks,
            turns=shared.input,
            observer=observer,
            faults=faults,
        )
        self._parking = Parking(ready, self, stream, protocol, replies, answerer)
        # Seconds on trio's clock.
        self._opened = opened = replies.writer.progress
        self._faults = stages = StageFaults(faults, protocol, observer, opened)
        self._opening = Opening(stream, replies, stages, limits, portal.product)
        self._reader = Reader(stream, protocol, replies, answerer, tasks, held, opened)
        # Made when it is needed: most connections never need one, and there may be thousands.
        self._task: ConnectionTask | None = None
        self._is_shut_down = False
        # Whether it has read more than a few requests in its last turn.
        self.asked_much: bool = False

    async def run(self) -> None:
        """Serve until the connection has ended, or can do without a task: it is then parked.

        Raises nothing but cancellation.
        """
        self._task = ConnectionTask(
            stream=self._stream,
            protocol=self._protocol,
            replies=self._replies,
            calls=self._calls,
            answerer=self._answerer,
            faults=self._faults,
            opening=self._opening,
            parking=self._parking,
            reader=self._reader,
            unanswered=UnansweredInput(self._stream, self._protocol, self._replies, self._observer),
            teardown=self._new_teardown(),
            limits=self._limits,
            turns=self._shared.ends,
            is_shut_down=self._is_shut_down,
        )
        try:
            await self._task.run()
        finally:
            self._task = None

    # -- without a task

    @property
    def stream(self) -> Stream:
        """What it reads."""
        return self._stream

    def begin(self) -> bool:
        """Greet the client; return whether the connection can do without a task from then on."""
        if self._opening.is_refused or not self._parking.is_possible:
            return False
        self._opening.greet_now()
        try:
            return self._writer.flush_now()
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
            return False

    def take_turn(self, now: float, began: float) -> Turn:
        """Read once, unless something is left to answer, and answer without waiting."""
        if self._is_scripted and self._answerer.is_watched:
            return _NEEDS_TASK
        try:
            # Read only if the turn before has left no lines.
            if not self._protocol.lines:
                data = self._stream.receive_now()
                self.asked_much = data is not None and len(data) > _FEW_BYTES
                if data is None or not self._reader.received(data, now):
                    return self._after_reading()
            turn = self._answerer.answer_now(now, began)
            if turn is _MORE and not self._answerer.sends_between_turns:
                return turn
            if not self._writer.flush_now() or self._protocol.state is not _OPEN:
                return _NEEDS_TASK
        except trio.BrokenResourceError as error:
            return self._after_break(error)
        return turn

    def _after_reading(self) -> Turn:
        """Return the rest of a turn whose read brought no line; end if the client has."""
        if not self._reader.peer_has_ended:
            return _NEEDS_TASK if self._stream.is_silent else _DONE
        if self._task is not None:
            self._reader.hang_up_if_gone()
            return _NEEDS_TASK
        if self._replies.has_work:
            return _NEEDS_TASK
        # No call runs and no output waits, so there is nothing to drain or to linger for.
        self._answerer.outcomes.end_drain()
        self._parking.leave()
        self._new_teardown().run()
        return Turn.ENDED

    def _after_break(self, error: trio.BrokenResourceError) -> Turn:
        """Return the rest of a turn in which the connection broke; end it if no task has to."""
        has_ended = self._task is None and self._observer is None
        if has_ended:
            self._parking.leave()
        self._replies.end_for(reason_of(error))
        if not has_ended:
            return _NEEDS_TASK
        self._new_teardown().run()
        return Turn.ENDED

    def abort(self) -> None:
        """End at once, with RST."""
        self._replies.end_for(EndReason.ABORTED)

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the client's next line, and no fault is under way."""
        if not self._opening.has_greeted or self._replies.end is not None or self._replies.has_work:
            return False
        return self._protocol.is_at_rest and not self._stream.has_input()

    def begin_anew(self) -> None:
        """Note the connection again, under a new number: the journal was emptied."""
        if self._observer is not None:
            self._observer.begin_anew()

    def shut_down(self) -> None:
        """Shut down gracefully: notify the client, and let running calls end."""
        self._replies.end_for(EndReason.SHUTDOWN)
        self._is_shut_down = True
        if self._task is not None:
            self._task.shut_down()

    # -- memory

    def evict(self) -> None:
        """End at once, with RST: all connections hold too much, and this one most."""
        log.warning(
            "a connection is reset: together all hold more than max_buffered, and this one most"
        )
        self._held.release()
        self._replies.end_for(EndReason.EVICTED)

    # -- age

    @property
    def opened(self) -> float:
        """When it was accepted; seconds on trio's clock."""
        return self._opened

    @property
    def is_ending(self) -> bool:
        """Whether it already ends in a way that a fault cannot change."""
        return self._replies.ending.rank > ENDINGS[EndReason.STALL].rank

    def as_aged(self, age: float) -> FaultTarget:
        """Return the `FaultTarget` for this connection at an age in seconds."""
        return self._faults.as_aged(age)

    def strike(self, fault: Fault) -> None:
        """End as a fault demands that strikes at an age."""
        self._faults.note_struck(fault)
        self._replies.release()
        self._replies.perform_now(actions_at_once(fault))

    # -- timeouts

    @property
    def deadline(self) -> float:
        """When the watch has to look again, in seconds on trio's clock."""
        waits_since = self._writer.waits_since()
        if waits_since is None:
            return self._idle_deadline
        return min(waits_since + self._limits.stall, self._idle_deadline)

    @property
    def _idle_deadline(self) -> float:
        replies, protocol = self._replies, self._protocol
        # A client that waits for a reply, or does not read one, is not idle.
        has_work = protocol.running or replies.is_delaying or self._writer.is_sending
        if has_work or protocol.state is not State.OPEN:
            return math.inf
        lines, calls = self._reader.last_line, self._calls.last_ended
        return max(lines, calls, self._writer.progress, replies.last_delayed) + self._limits.idle

    def expire(self) -> None:
        """Act on a deadline that has passed: end if idle; reset if the client does not read."""
        if self._writer.has_waited(self._limits.stall):
            self._replies.end_for(EndReason.UNREAD)
        elif self._idle_deadline > trio.current_time():
            return
        elif not self._stream.has_input():  # else a line may have come in this very moment
            self._replies.end_for(EndReason.IDLE)

    def _note_held(self) -> None:
        self._held.note()

    def _on_end(self, reason: EndReason) -> None:
        """Stop what has to stop now that an end is due."""
        self._reader.interrupt(reason)
        self._parking.resume()
        if self._task is not None:
            self._task.note_end(reason)

    def _new_teardown(self) -> Teardown:
        return Teardown(
            self._stream,
            self._protocol,
            self._replies,
            self._answerer,
            self._reader,
            self._held,
            self._parking,
            self._observer,
            self._limits.stall,
        )
