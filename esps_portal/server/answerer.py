"""Answers the lines of one connection, in order.

The protocol parses each line, faults are asked about each request, and the portal answers it.
`Outcomes` then carries out the answer. Nothing here reads a stream or knows how a connection ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from esps_portal.clock import monotonic
from esps_portal.faults.target import FaultTarget
from esps_portal.journal.records import ABORTED, FAULTED
from esps_portal.net.detached import CANCELLED
from esps_portal.net.ready_set import Turn
from esps_portal.net.turns import Turns
from esps_portal.net.writer import HIGH_WATER
from esps_portal.protocol.lines import LineEvent
from esps_portal.protocol.messages import Reply, Request, readable_request
from esps_portal.protocol.received_lines import (
    PlainRequest,
    plain_to_line,
    plain_to_request,
)
from esps_portal.protocol.server_connection import Cancel, ReadOutcome, ServerConnection
from esps_portal.server.call_tasks import CallTasks, ConnectionCaller
from esps_portal.server.observer import ConnectionObserver, PortalExchange
from esps_portal.server.outcomes import LineOutcome, Outcomes
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.services.dispatcher import Dispatcher

if TYPE_CHECKING:
    from esps_portal.faults.fault_registry import FaultRegistry

# What a turn may cost, so that nobody has to wait long for the next one; besides these it ends
# with `HIGH_WATER` bytes of replies (own choice: some tenths of a millisecond of plain requests).
TURN_LINES = 256
TURN_SECONDS = 0.001

# Looking up a member of an enumeration takes as long as a call.
_DONE, _MORE, _NEEDS_TASK = Turn.DONE, Turn.MORE, Turn.NEEDS_TASK


class Answerer:
    """Answers lines; see the module.

    Args:
        remote: the client's address and port.
        turns: what its task waits for before it answers.
        observer: notes what happens; `None`: nothing is noted.
        faults: are asked about each request; `None`: there are none.

    Attributes:
        outcomes: carries out what is to be done about each.
    """

    __slots__ = (
        "_caller",
        "_faults",
        "_observer",
        "_opened",
        "_portal",
        "_protocol",
        "_replies",
        "_watchers",
        "_writer",
        "outcomes",
        "turns",
    )

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        portal: Dispatcher,
        remote: tuple[str, int],
        protocol: ServerConnection,
        replies: ReplyWriter,
        calls: CallTasks,
        *,
        turns: Turns,
        observer: ConnectionObserver | None,
        faults: FaultRegistry | None,
    ) -> None:
        self._portal = portal
        self._protocol = protocol
        self._replies = replies
        self._writer = replies.writer
        self.turns: Turns = turns
        self._observer = observer
        self._faults = faults
        # While all of these are empty, no fault can strike a request, and nobody listens.
        self._watchers: tuple[Sequence[object], ...] = (
            *(() if observer is None else observer.journal.listeners),
            *(() if faults is None else (faults.in_force,)),
        )
        self._caller = ConnectionCaller(remote, calls)
        self._opened = trio.current_time()
        self.outcomes: Outcomes = Outcomes(
            protocol, replies, calls, max_wait=min(CANCELLED, portal.limits.drain)
        )

    async def answer_lines(self) -> None:
        """Answer what was received, in order, and send the replies; wait where that is needed."""
        while not (self._replies.is_final or self._replies.is_deaf):
            if self.outcomes.pending is not None:
                await self.outcomes.carry_out_pending()
                continue
            if self.is_watched:
                turn = await self._answer_watched_lines()
            else:
                turn = self.answer_now(trio.current_time(), monotonic())
            if turn is _NEEDS_TASK:
                continue
            if turn is _DONE or self.sends_between_turns:
                await self._writer.flush()
            if turn is _DONE:
                return
            with trio.CancelScope(shield=True):  # what came before an end is answered all the same
                await self.turns.next()  # there may be much more
        await self._writer.flush()

    @property
    def sends_between_turns(self) -> bool:
        """Whether replies are sent before all that was read is answered.

        The send shows whether the client is gone, and then nobody wants the other answers. If a
        journal records them, all lines are answered first, and the replies sent with one write.
        """
        return self._observer is None or len(self._writer.outgoing) > HIGH_WATER

    def answer_now(self, now: float, began: float) -> Turn:
        """Answer what was received, in order, until something has to be waited for.

        The replies are in `Writer.outgoing`. A turn ends after a bounded amount of work (see the
        limits above).

        Args:
            now: seconds on trio's clock.
            began: when the turn began, in seconds on `clock.monotonic`.
        """
        protocol, outgoing = self._protocol, self._writer.outgoing
        lines, left, until = protocol.lines, TURN_LINES, began + TURN_SECONDS
        outcomes = self.outcomes
        while True:
            requests = protocol.peek_plain(left)
            if requests:
                left -= self._answer_plain(requests, until, now)
            else:
                left -= 1
                self._answer_next(now)
            if outcomes.pending is not None:
                return _NEEDS_TASK
            if not lines:
                return _DONE
            if left <= 0 or len(outgoing) > HIGH_WATER or monotonic() > until:
                return _MORE

    def _answer_plain(self, requests: list[PlainRequest], until: float, now: float) -> int:
        """Answer the first of these requests; return how many."""
        outgoing, observer = self._writer.outgoing, self._observer
        room = HIGH_WATER - len(outgoing)
        replies, last = self._portal.answer_plain(requests, self._caller, room, until)
        count = len(replies) + (last is not None)
        lines = self._protocol.lines
        sent = b"".join(replies)
        outgoing += sent
        if observer is not None and replies:
            observer.answered(lines.text_of(len(replies)), sent, len(replies), now)
        lines.skip(count)
        if last is not None:
            request = requests[count - 1]
            self.outcomes.carry_out_soon(
                last, self._note(plain_to_line(request), plain_to_request(request))
            )
        return count

    def _answer_next(self, now: float) -> None:
        """Answer the line that comes next, if one does."""
        line = next(self._protocol.lines, None)
        if line is None:
            return
        outcome: ReadOutcome | LineOutcome = self._read(line)
        if isinstance(outcome, Request):
            outcome = self._portal.answer(outcome, self._caller)
        if isinstance(outcome, Reply) and isinstance(line, bytes):
            reply = outcome.encode()
            self._writer.outgoing += reply
            if self._observer is not None:
                self._observer.answered(line + b"\n", reply, 1, now)
        else:
            self.outcomes.carry_out_soon(outcome, self._note(line, self._protocol.parsed))

    def _read(self, line: LineEvent) -> ReadOutcome:
        """Ask the protocol what to do about a line."""
        outcome = self._protocol.read(line)
        request = self._protocol.parsed
        if not isinstance(outcome, Request) and request is not None and request.verb == b"CALL":
            self._portal.note_rejected(request)
        return outcome

    @property
    def has_work(self) -> bool:
        """Whether something was received that is not answered yet."""
        return self.outcomes.pending is not None or bool(self._protocol.lines)

    @property
    def is_watched(self) -> bool:
        """Whether lines are answered one by one: a fault may strike one, or there are listeners."""
        return any(self._watchers) or self._replies.is_busy

    async def _answer_watched_lines(self) -> Turn:
        """Do what `answer_now` does, line by line; see `is_watched`."""
        until = monotonic() + TURN_SECONDS
        for line in itertools.islice(self._protocol.lines, TURN_LINES):
            await self._answer_watched(line)
            if self._replies.is_final or self._replies.is_deaf or not self.is_watched:
                return _MORE
            if len(self._writer.outgoing) > HIGH_WATER or monotonic() > until:
                return _MORE
        return _MORE if self._protocol.lines else _DONE

    async def _answer_watched(self, line: LineEvent) -> None:
        """Answer a line that a fault may strike, or that listeners are notified of at once."""
        await self._wait_before_cancel(line)
        outcome: ReadOutcome | LineOutcome = self._read(line)
        exchange = self._note(line, self._protocol.parsed)
        try:
            if isinstance(outcome, Request):
                await self._strike(outcome, line if isinstance(line, bytes) else b"", exchange)
                is_unread = self._replies.is_deaf and exchange.strikes_before
                if self._replies.is_final or is_unread:
                    exchange.end(FAULTED)
                    return
                outcome = self._portal.answer(outcome, self._caller)
            if isinstance(outcome, Cancel):
                self.outcomes.begin_cancel(outcome, exchange)
            await self.outcomes.carry_out(outcome, exchange)
        except (trio.Cancelled, trio.BrokenResourceError):
            if not self.outcomes.is_answered_later(exchange):
                exchange.end(ABORTED)
            raise

    async def _wait_before_cancel(self, line: LineEvent) -> None:
        """Before a CANCEL, wait until the line that is sent in part is complete.

        It may belong to the call that is to be cancelled. That call is then answered by its own
        line or because of the CANCEL, never twice.
        """
        if not self._replies.is_busy or not isinstance(line, bytes):
            return
        request = readable_request(line)
        if request is None or request.verb != b"CANCEL":
            return
        try:
            await self._replies.until_idle()
        except trio.Cancelled:
            self._protocol.lines.unread(line)
            raise

    async def _strike(self, request: Request, line: bytes, exchange: PortalExchange) -> None:
        """Let faults strike a request, and perform what comes before its execution."""
        if self._faults is None:
            return
        target = FaultTarget(
            "tcp",
            self._protocol,
            request.service,
            exchange.record,
            request_data=line,
            age=trio.current_time() - self._opened,
        )
        exchange.plan = plan = self._faults.plan(target)
        if plan is not None:
            nursery = self.outcomes.nursery
            assert nursery is not None  # noqa: S101 - a task answers what is watched
            self._replies.expect_fault(nursery)
            if plan.strikes_before:
                await self._replies.perform(plan.before(), must_send=True)

    def _note(self, line: LineEvent, request: Request | None) -> PortalExchange:
        return (
            PortalExchange() if self._observer is None else self._observer.received(line, request)
        )

    def close(self) -> None:
        """Note that what still waits will not be answered; forget the connection in faults."""
        self.outcomes.close()
        if self._faults is not None:
            self._faults.forget(self._protocol)
