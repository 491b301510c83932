"""Carries out the answer to each request of a connection: a reply, a running call, or an end.

Whatever needs no waiting is done at once. `CallTasks` runs the calls. A CANCEL or a QUIT has to
wait for the end of other calls, and is kept here until then.
"""

from __future__ import annotations

import attrs
import trio

from esps_portal.journal.records import ABORTED, FAULTED, REPLIED
from esps_portal.protocol.messages import Notice, Reply
from esps_portal.protocol.server_connection import Cancel, Quit, ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.endings import EndReason
from esps_portal.server.observer import PortalExchange
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.services.call import Call
from esps_portal.services.dispatcher import Outcome
from esps_portal.services.replies import busy_reply
from esps_portal.services.service import CloseAfter

#: What is to be done about a line: what the portal answers to a request, or what the protocol
#: demands without asking it; `None`: nothing.
LineOutcome = Outcome | Notice | Cancel | Quit | None


@attrs.define(eq=False)
class Outcomes:
    """Carries out the outcomes of one connection's requests.

    Args:
        max_wait: seconds that a cancelled call may take to end.

    Attributes:
        pending: an outcome that only a task can carry out, since it has to wait.
        nursery: where calls run; `None`: there is no task, so nothing can wait.
    """

    _protocol: ServerConnection
    _replies: ReplyWriter
    _calls: CallTasks
    _max_wait: float = attrs.field(kw_only=True)
    pending: tuple[LineOutcome, PortalExchange] | None = attrs.field(default=None, init=False)
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    # A CANCEL and a QUIT, which are answered once other calls have ended.
    _cancelling: tuple[Cancel, PortalExchange] | None = attrs.field(default=None, init=False)
    _quit: PortalExchange | None = attrs.field(default=None, init=False)

    @property
    def is_cancelling(self) -> bool:
        """Whether a CANCEL waits for the end of its call."""
        return self._cancelling is not None

    async def carry_out_pending(self) -> None:
        """Carry out what is pending, if anything is."""
        if self.pending is not None:
            (outcome, exchange), self.pending = self.pending, None
            await self.carry_out(outcome, exchange)

    def carry_out_soon(self, outcome: LineOutcome, exchange: PortalExchange) -> None:
        """Do what `carry_out` does, or leave it to a task if something has to be waited for."""
        if isinstance(outcome, Reply | Notice):
            line = outcome.encode()
            self._replies.writer.outgoing += line
            exchange.end(REPLIED, line)
        elif outcome is None:
            exchange.end(ABORTED)  # it came too late to be answered
        elif isinstance(outcome, Call) and self.nursery:
            self._calls.begin(outcome, exchange, self.nursery)
        else:
            if isinstance(outcome, Cancel):
                self.begin_cancel(outcome, exchange)
            self.pending = outcome, exchange

    async def carry_out(self, outcome: LineOutcome, exchange: PortalExchange) -> None:
        """Send a reply, start a call, or wait for the end of other calls."""
        if isinstance(outcome, Call) and self._calls.is_full:
            # Others have begun since there was room for it.
            await self._reply(busy_reply(outcome.tag).encode(), exchange)
        elif isinstance(outcome, Call):
            assert self.nursery is not None  # noqa: S101 - a task carries it out
            self._calls.begin(outcome, exchange, self.nursery)
        elif isinstance(outcome, Cancel):
            await self._replies.writer.flush()
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

    async def _reply(self, line: bytes, exchange: PortalExchange) -> None:
        try:
            await self._replies.write(line, exchange, final=True, must_send=True)
        finally:
            if exchange.plan is not None:
                exchange.end(FAULTED, line)
            elif line and not self._replies.is_final:
                exchange.end(REPLIED, line)
            else:
                exchange.end(ABORTED)

    def begin_cancel(self, cancel: Cancel, exchange: PortalExchange) -> None:
        """Cancel a call at once, before anything is waited for: it may end by itself meanwhile."""
        reply = cancel.final_reply.encode()
        self._replies.append(reply)
        self._calls.cancel(cancel.call, reply)
        self._cancelling = cancel, exchange

    async def await_cancelled(self) -> None:
        """Wait until the cancelled call, if any, has ended, and answer its CANCEL."""
        if self._cancelling is None:
            return
        cancel, exchange = self._cancelling
        with trio.move_on_after(self._max_wait) as waiting:
            await self._calls.until_ended(cancel.call)
        if waiting.cancelled_caught and self._cancelling is not None:
            self._calls.note_ignored(cancel.call)
        if self._cancelling is not None:  # in a drain two tasks wait here
            self._cancelling = None
            reply = self._protocol.cancelled(cancel).encode()
            self._replies.append(reply)
            exchange.end(REPLIED, reply)

    def is_answered_later(self, exchange: PortalExchange) -> bool:
        """Whether the drain may still answer it: QUIT, or a CANCEL that waits."""
        waits = self._cancelling is not None and exchange is self._cancelling[1]
        return waits or exchange is self._quit

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
        """Note that what still waits will not be answered."""
        waiting = (self.pending and self.pending[1], self._cancelling and self._cancelling[1])
        for unanswered in (*waiting, self._quit):
            if unanswered is not None:
                unanswered.end(ABORTED)
