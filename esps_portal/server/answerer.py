"""Answers the lines of one connection, in order.

The reader's half of a connection: what is answered at once is answered here; a call that runs is
handed to `CallTasks`, and what waits for its end, a CANCEL or a QUIT, is kept. Nothing here reads a
stream or knows how a connection ends.
"""

from __future__ import annotations

import itertools

import trio

from esps_portal.clock import monotonic
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.target import FaultTarget
from esps_portal.journal.records import ABORTED, FAULTED, REPLIED
from esps_portal.net.detached import CANCELLED
from esps_portal.net.ready_set import Turn
from esps_portal.net.writer import HIGH_WATER
from esps_portal.protocol.lines import LineEvent
from esps_portal.protocol.messages import Notice, Reply, Request, readable_request
from esps_portal.protocol.received_lines import (
    PlainRequest,
    plain_to_line,
    plain_to_request,
)
from esps_portal.protocol.server_connection import Cancel, Quit, ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.call_tasks import CallTasks, ConnectionCaller
from esps_portal.server.endings import EndReason
from esps_portal.server.observer import ConnectionObserver, Exchange
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.services.call import Call
from esps_portal.services.dispatcher import Dispatcher
from esps_portal.services.replies import busy_reply
from esps_portal.services.service import CloseAfter

# What a turn may cost, so that nobody has to wait long for the next one; besides these it ends
# with `HIGH_WATER` bytes of replies (own choice: some tenths of a millisecond of plain requests).
TURN_LINES = 256
TURN_SECONDS = 0.001


class Answerer:
    """Answers lines; see the module.

    Args:
        remote: the client's address and port.
        observer: notes what happens; `None`: nobody does.
        faults: are asked about each request; `None`: there never are any.
    """

    __slots__ = (
        "_caller",
        "_calls",
        "_cancelling",
        "_faults",
        "_nursery",
        "_observer",
        "_opened",
        "_pending",
        "_portal",
        "_protocol",
        "_quit",
        "_replies",
        "_writer",
    )

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        portal: Dispatcher,
        remote: tuple[str, int],
        protocol: ServerConnection,
        replies: ReplyWriter,
        calls: CallTasks,
        *,
        observer: ConnectionObserver | None,
        faults: FaultRegistry | None,
    ) -> None:
        self._portal = portal
        self._protocol = protocol
        self._replies = replies
        self._writer = replies.writer
        self._calls = calls
        self._observer = observer
        self._faults = faults
        self._caller = ConnectionCaller(remote, calls)
        self._opened = trio.current_time()
        # What the next task has to wait for.
        self._pending: tuple[object, Exchange] | None = None
        # What is answered once other calls have ended.
        self._cancelling: tuple[Cancel, Exchange] | None = None
        self._quit: Exchange | None = None
        self._nursery: trio.Nursery | None = None

    def begin(self, nursery: trio.Nursery | None) -> None:
        """Run calls in a nursery from now on; `None`: they have to wait for one."""
        self._nursery = nursery

    @property
    def is_cancelling(self) -> bool:
        """Whether a CANCEL waits for the end of its call."""
        return self._cancelling is not None

    async def answer_lines(self) -> None:
        """Answer what was received, in order, and send the replies; wait where that is needed."""
        while not (self._replies.is_final or self._replies.is_deaf):
            if self._pending is not None:
                (outcome, exchange), self._pending = self._pending, None
                await self._carry_out(outcome, exchange)
                continue
            if self.is_watched:
                turn = await self._answer_watched_lines()
            else:
                turn = self.answer_now(trio.current_time())
            if turn is Turn.NEEDS_TASK:
                continue
            # What came in one read is answered with one write, however many turns it takes.
            if turn is Turn.DONE or len(self._writer.outgoing) > HIGH_WATER:
                await self._writer.flush()
            if turn is Turn.DONE:
                return
            # The others first: there may be much more.
            await trio.lowlevel.checkpoint()
        await self._writer.flush()

    def answer_now(self, now: float) -> Turn:
        """Answer what was received, in order, as far as nothing has to be waited for.

        The replies are in `Writer.outgoing`. A turn ends after so much work; see the limits above.

        Args:
            now: seconds on trio's clock.
        """
        protocol, outgoing = self._protocol, self._writer.outgoing
        lines, left, until = protocol.lines, TURN_LINES, monotonic() + TURN_SECONDS
        while True:
            requests = protocol.peek_plain(left)
            if requests:
                left -= self._answer_plain(requests, until, now)
            else:
                left -= 1
                self._answer_next(now)
            if self._pending is not None:
                return Turn.NEEDS_TASK
            if not lines:
                return Turn.DONE
            if left <= 0 or len(outgoing) > HIGH_WATER or monotonic() > until:
                return Turn.MORE

    def _answer_plain(self, requests: list[PlainRequest], until: float, now: float) -> int:
        """Answer the first of these requests; return how many."""
        outgoing, observer = self._writer.outgoing, self._observer
        room = HIGH_WATER - len(outgoing)
        answers = self._portal.answer_plain(requests, self._caller, room, until)
        replies, last = answers.replies, answers.last
        count = len(replies) + (last is not None)
        self._protocol.lines.skip(count)
        outgoing += replies[0] if count == 1 and replies else b"".join(replies)
        if observer is not None:
            observer.answered_plain(requests, replies, now)
        if last is not None:
            request = requests[count - 1]
            self._carry_out_soon(
                last, self._note(plain_to_line(request), plain_to_request(request))
            )
        return count

    def _answer_next(self, now: float) -> None:
        """Answer the line that comes next, if one does."""
        line = next(self._protocol.lines, None)
        if line is None:
            return
        outcome = self._read(line)
        if isinstance(outcome, Request):
            outcome = self._portal.answer(outcome, self._caller)
        if isinstance(outcome, Reply) and isinstance(line, bytes):
            reply = outcome.encode()
            self._writer.outgoing += reply
            if self._observer is not None:
                self._observer.answered(line, reply, now)
        else:
            self._carry_out_soon(outcome, self._note(line, self._protocol.parsed))

    def _read(self, line: LineEvent) -> object:
        """Have the protocol say what to do about a line."""
        outcome = self._protocol.read(line)
        request = self._protocol.parsed
        if not isinstance(outcome, Request) and request is not None and request.verb == b"CALL":
            self._portal.note_rejected(request)
        return outcome

    @property
    def has_work(self) -> bool:
        """Whether something was received that is not answered yet."""
        return self._pending is not None or bool(self._protocol.lines)

    @property
    def is_watched(self) -> bool:
        """Whether each line is looked at: a fault may strike it, or somebody is notified of it."""
        if self._observer is not None and self._observer.has_listeners:
            return True
        faults = self._faults
        return faults is not None and (bool(faults.in_force) or self._replies.is_busy)

    async def _answer_watched_lines(self) -> Turn:
        """Do what `answer_now` does while each line is looked at."""
        until = monotonic() + TURN_SECONDS
        for line in itertools.islice(self._protocol.lines, TURN_LINES):
            await self._answer_watched(line)
            if self._replies.is_final or self._replies.is_deaf or not self.is_watched:
                return Turn.MORE
            if len(self._writer.outgoing) > HIGH_WATER or monotonic() > until:
                return Turn.MORE
        return Turn.MORE if self._protocol.lines else Turn.DONE

    async def _answer_watched(self, line: LineEvent) -> None:
        """Answer a line that a fault may strike, or of which somebody is notified at once."""
        await self._take_turn_of_cancel(line)
        outcome = self._read(line)
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
                self._begin_cancel(outcome, exchange)
            await self._carry_out(outcome, exchange)
        except (trio.Cancelled, trio.BrokenResourceError):
            if not self._is_answered_later(exchange):
                exchange.end(ABORTED)
            raise

    async def _take_turn_of_cancel(self, line: LineEvent) -> None:
        """Let a partly sent line end first: CANCEL may hit the very call that it belongs to.

        That call is then answered by that line or by the CANCEL, never by both.
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

    async def _strike(self, request: Request, line: bytes, exchange: Exchange) -> None:
        """Let faults strike, if any do; what comes before the request's execution is done."""
        service = request.args[0] if request.verb == b"CALL" and request.args else None
        faults = self._faults
        if faults is None:
            return
        target = FaultTarget(
            "tcp",
            self._protocol,
            service,
            exchange.record,
            said=line,
            age=trio.current_time() - self._opened,
        )
        exchange.plan = plan = faults.plan(target)
        if plan is not None:
            assert self._nursery is not None  # noqa: S101 - a task answers what is watched
            self._replies.expect_fault(self._nursery)
            if plan.strikes_before:
                await self._replies.perform(plan.before(), must_send=True)

    def _note(self, line: LineEvent, request: Request | None) -> Exchange:
        return Exchange() if self._observer is None else self._observer.received(line, request)

    # -- outcomes

    def _carry_out_soon(self, outcome: object, exchange: Exchange) -> None:
        """Do what `_carry_out` does, or leave it to a task if something has to be waited for."""
        if isinstance(outcome, Reply | Notice):
            line = outcome.encode()
            self._writer.outgoing += line
            exchange.end(REPLIED, line)
        elif outcome is None:
            exchange.end(ABORTED)  # it came too late to be answered
        elif isinstance(outcome, Call) and self._nursery:
            self._calls.begin(outcome, exchange, self._nursery)
        else:
            if isinstance(outcome, Cancel):
                self._begin_cancel(outcome, exchange)
            self._pending = outcome, exchange

    async def _carry_out(self, outcome: object, exchange: Exchange) -> None:
        """Send the answer to a request, or begin what answers it, or wait for what has begun."""
        if isinstance(outcome, Call) and self._calls.is_full:
            # Others have begun since it was admitted.
            await self._reply(busy_reply(outcome.tag).encode(), exchange)
        elif isinstance(outcome, Call):
            assert self._nursery is not None  # noqa: S101 - a task carries it out
            self._calls.begin(outcome, exchange, self._nursery)
        elif isinstance(outcome, Cancel):
            await self._writer.flush()
            await self.await_cancelled()
        elif isinstance(outcome, Quit):
            self._quit = exchange
        elif isinstance(outcome, Reply | Notice):
            await self._reply(outcome.encode(), exchange)
        elif isinstance(outcome, CloseAfter):
            await self._reply(outcome.data, exchange)
            self._replies.end_for(EndReason.RESET if outcome.reset else EndReason.CLOSE)
        else:
            exchange.end(ABORTED)  # it came too late to be answered

    async def _reply(self, line: bytes, exchange: Exchange) -> None:
        try:
            await self._replies.write(line, exchange, final=True, must_send=True)
        finally:
            if exchange.plan is not None:
                exchange.end(FAULTED, line)
            elif line and not self._replies.is_final:
                exchange.end(REPLIED, line)
            else:
                exchange.end(ABORTED)

    def _begin_cancel(self, cancel: Cancel, exchange: Exchange) -> None:
        """Cancel a call, as soon as the CANCEL is read: it may end by itself at any moment."""
        reply = cancel.final_reply.encode()
        self._replies.append(reply)
        self._calls.cancel(cancel.call, reply)
        self._cancelling = cancel, exchange

    async def await_cancelled(self) -> None:
        """Wait until the cancelled call, if any, has ended, and answer its CANCEL."""
        if self._cancelling is None:
            return
        cancel, exchange = self._cancelling
        with trio.move_on_after(min(CANCELLED, self._portal.limits.drain)) as waiting:
            await self._calls.until_ended(cancel.call)
        if waiting.cancelled_caught and self._cancelling is not None:
            self._calls.note_ignored(cancel.call)
        if self._cancelling is not None:  # in a drain two tasks wait here
            self._cancelling = None
            reply = self._protocol.cancelled(cancel).encode()
            self._replies.append(reply)
            exchange.end(REPLIED, reply)

    def _is_answered_later(self, exchange: Exchange) -> bool:
        """Whether the drain may still answer it: QUIT, or a CANCEL that waits."""
        waits = self._cancelling is not None and exchange is self._cancelling[1]
        return waits or exchange is self._quit

    # -- the end

    def end_drain(self) -> None:
        """Refuse each call that still runs, and a CANCEL that waits for one; answer the QUIT."""
        self._replies.release()
        for refused in self._protocol.end_drain():
            reply = refused.encode()
            self._replies.append(reply)
            if self._cancelling is not None and self._cancelling[0].tag == refused.tag:
                self._cancelling[1].end(REPLIED, reply)
            else:
                self._calls.refused(refused.tag, reply)
        if self._protocol.state is not State.ENDED and (last := self._protocol.drained()):
            line = last.encode()
            self._replies.append(line)
            if self._quit is not None:
                self._quit.end(REPLIED, line)

    def close(self) -> None:
        """Note that what waits is never answered; no fault strikes any more."""
        waiting = (self._pending and self._pending[1], self._cancelling and self._cancelling[1])
        for unanswered in (*waiting, self._quit):
            if unanswered is not None:
                unanswered.end(ABORTED)
        if self._faults is not None:
            self._faults.forget(self._protocol)
