"""One TCP connection: reads, has the portal answer, writes, and ends as `ENDINGS` says.

Three kinds of task meet here: the reader, whose lines an `Answerer` answers in order; a task for
each running call (`CallTasks`); and the server's watch, which ends what is idle or unread. Their
lines leave through one `ReplyWriter`, faults or not. What happens is noted by an observer, if there
is one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

from esps_portal.faults.fault import FaultRegistry, Unit
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.accept import AcceptPolicy
from esps_portal.net.streams import Stream
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Notice
from esps_portal.protocol.registry import VERSION
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.endings import EndReason, How
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.services.dispatch import Call, Dispatcher

# Of the drain: what is out in part then is completed, so that its call has ended when the drain
# is over and no call is refused that has been answered.
_HURRY_AFTER = 0.5


class PortalConnection:
    """Serves one client. `run` is its whole life; `shut_down` and `expire` may come at any time.

    Args:
        observer: notes what happens; `None`: nobody does.
        faults: are asked about each request; `None`: there never are any.
        in_order: whether what follows a call of a service waits until that call has ended.
    """

    __slots__ = (
        "_active",
        "_answerer",
        "_calls",
        "_faults",
        "_limits",
        "_nursery",
        "_observer",
        "_peer_has_ended",
        "_portal",
        "_protocol",
        "_reading",
        "_replies",
        "_stream",
        "_writer",
    )

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        stream: Stream,
        remote: tuple[str, int],
        portal: Dispatcher,
        *,
        observer: ConnectionObserver | None = None,
        faults: FaultRegistry | None = None,
        in_order: Callable[[Call], bool] = lambda _: False,
    ) -> None:
        self._stream = stream
        self._portal = portal
        self._limits = portal.limits
        self._observer = observer
        self._faults = faults
        self._protocol = ServerConnection(portal.limits)
        self._replies = ReplyWriter(stream, self._on_end)
        self._writer = self._replies.writer
        self._calls = CallTasks(self._protocol, self._replies)
        self._answerer = Answerer(
            portal,
            remote,
            self._protocol,
            self._replies,
            self._calls,
            observer=observer,
            faults=faults,
            in_order=in_order,
        )
        # When a line last came; seconds on trio's clock.
        self._active = self._writer.progress
        self._peer_has_ended = False
        self._reading = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._answerer.begin(self._nursery)
                try:
                    await self._serve()
                except trio.BrokenResourceError:
                    self._replies.end_for(EndReason.BROKEN)
                self._tasks.cancel_scope.cancel()
        finally:
            self._close()

    def abort(self) -> None:
        """End at once, with RST."""
        self._replies.end_for(EndReason.ABORTED)

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the client's next line, and no fault has work left."""
        if self._nursery is None or self._replies.end is not None or self._replies.has_work:
            return False
        return self._protocol.is_at_rest and not self._stream.has_input()

    def begin_anew(self) -> None:
        """The journal was emptied: this connection stays, and is noted and numbered anew."""
        if self._observer is not None:
            self._observer.begin_anew()

    def shut_down(self) -> None:
        """Shut down gracefully: say so, let running calls end, end."""
        self._replies.end_for(EndReason.SHUTDOWN)

    @property
    def deadline(self) -> float:
        """When the watch has to look again, in seconds on trio's clock."""
        writer, replies, protocol = self._writer, self._replies, self._protocol
        if writer.is_sending:
            return writer.progress + self._limits.stall
        # Who waits for an answer is not idle.
        if protocol.state is not State.OPEN or protocol.running or replies.is_delaying:
            return math.inf
        active = max(writer.progress, self._active, self._calls.last_ended, replies.last_delayed)
        return active + self._limits.idle

    def expire(self) -> None:
        """Act on a deadline that has passed: tell an idle client, cut off one that never reads."""
        if not self._writer.is_sending:
            self._replies.end_for(EndReason.IDLE)
        elif not self._writer.has_progressed():
            self._replies.end_for(EndReason.UNREAD)

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None  # noqa: S101 - `run` has opened it
        return self._nursery

    # -- the reader

    async def _serve(self) -> None:
        if self._is_refused_by_fault():
            self._replies.end_for(EndReason.CLOSE)
        else:
            self._replies.say(Notice(VERSION, (self._portal.product.encode(),)).encode())
            with self._reading:
                await self._converse()
            # A line may come in the very moment in which the client is found idle.
            while self._replies.end is EndReason.IDLE and self.deadline > trio.current_time():
                self._replies.end, self._reading = None, trio.CancelScope()
                with self._reading:
                    await self._converse()
        await self._finish()

    def _is_refused_by_fault(self) -> bool:
        if self._faults is None or self._observer is None:
            return False
        record = self._observer.record
        accepted = Unit("tcp", self._protocol, record=record, is_connection=True)
        fault = self._faults.for_unit(accepted)
        if fault is not None:
            record.fault = str(fault)
        return fault is not None

    async def _converse(self) -> None:
        protocol = self._protocol
        # What is left of an interrupted turn; and the greeting leaves.
        await self._answerer.answer_lines()
        while protocol.state is State.OPEN or protocol.state is State.CLOSING:
            data = await self._stream.receive()
            if not data:
                self._peer_has_ended = True
                protocol.end_of_input()
                return
            if b"\n" in data:
                self._active = trio.current_time()
            if protocol.receive(data):
                await self._answerer.answer_lines()
                if self._replies.is_final:
                    return
        if protocol.state is State.ENDED:
            self._replies.end_for(EndReason.FATAL)

    # -- the end

    def _on_end(self, reason: EndReason) -> None:
        """Stop what the end of the connection stops."""
        self._reading.cancel()
        if reason is EndReason.BROKEN:
            self._calls.cancel_all()
        elif reason in (EndReason.ABORTED, EndReason.UNREAD):
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
        elif reason is EndReason.HALF_CLOSE:
            self._send_eof()

    async def _finish(self) -> None:
        """End as the table says (specification, section Ends)."""
        protocol, replies = self._protocol, self._replies
        if replies.ending.how is How.MUTE:
            await self._stay_mute()
            return
        replies.release()
        if replies.end is EndReason.IDLE:
            replies.say(protocol.idle().encode())
        elif replies.end is EndReason.SHUTDOWN and (notice := protocol.shut_down()):
            replies.say(notice.encode())
        if replies.ending.drains and protocol.state is not State.ENDED:
            await self._drain()
        self._calls.cancel_all()  # nothing of theirs would be sent
        if replies.ending.how is How.RST:
            await self._writer.flush()
        elif replies.ending.how is How.FIN:
            await self._writer.send_everything()
            self._send_eof()
            with trio.move_on_after(self._limits.linger):
                while await self._stream.receive():
                    pass

    async def _stay_mute(self) -> None:
        """Hear everything, until the client, the server or its patience has enough."""
        self._calls.cancel_all()
        self._reading = trio.CancelScope()
        with self._reading, trio.move_on_after(self._limits.idle):
            while await self._stream.receive():
                pass
            self._peer_has_ended = True

    async def _drain(self) -> None:
        """Let running calls end, within the limit; go on reading, so that none is blocked."""
        protocol, replies = self._protocol, self._replies
        self._tasks.start_soon(replies.hurry_after, self._limits.drain * _HURRY_AFTER)
        await self._writer.flush()
        if protocol.running or self._answerer.is_cancelling:
            with trio.move_on_after(self._limits.drain):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_on)
                    await self._calls.until_all_ended()
                    await self._answerer.await_cancelled()
                    nursery.cancel_scope.cancel()
        self._answerer.refuse_what_runs()
        if protocol.state is not State.ENDED and (last := protocol.drained()):
            self._answerer.answer_quit(last)

    async def _read_on(self) -> None:
        """Read during the drain: after QUIT to throw away, after BYE to refuse."""
        protocol = self._protocol
        try:
            # What came after a CANCEL is answered after it.
            await self._answerer.await_cancelled()
            await self._answerer.answer_lines()
            while data := await self._stream.receive():
                if protocol.receive(data):
                    await self._answerer.answer_lines()
                if protocol.state is State.ENDED:
                    break
            protocol.end_of_input()
            if protocol.state is State.ENDED:
                self._calls.cancel_all()  # nothing of theirs would be sent
        except trio.BrokenResourceError:
            self._replies.end_for(EndReason.BROKEN)

    def _send_eof(self) -> None:
        """Send FIN: nothing more comes."""
        self._stream.send_eof()
        if self._observer is not None:
            self._observer.closing(*self._first_to_close())

    def _close(self) -> None:
        if self._replies.ending.how in (How.RST, How.RST_AT_ONCE):
            self._stream.abort()
        else:
            if self._is_interrupted:
                # No time to wait, but time for one last line.
                with contextlib.suppress(trio.BrokenResourceError):
                    self._stream.send_now(Notice(b"BYE", (b"closing",)).encode())
            self._stream.close(self._limits.stall)
        self._answerer.abort()
        if self._faults is not None:
            self._faults.forget(self._protocol)
        if self._observer is not None:
            self._observer.closed(*self._first_to_close())

    @property
    def _is_interrupted(self) -> bool:
        """Whether it was cancelled from outside, between two lines."""
        is_open = self._protocol.state is State.OPEN and self._replies.end is None
        return is_open and not self._writer.outgoing

    def _first_to_close(self) -> tuple[str, str]:
        if self._replies.end is not None and (first := self._replies.ending.first) is not None:
            return first
        if self._peer_has_ended:
            return "client", "fin"
        # If everything was sent, FIN was or was about to be: what broke then came second.
        said = self._protocol.state is State.ENDED and not self._writer.outgoing
        if self._replies.end is EndReason.BROKEN and not said:
            return "client", "rst"
        return "portal", "fin"


def portal_connection(
    portal: Dispatcher, stream: Stream, remote: tuple[str, int]
) -> PortalConnection:
    """Return what serves one client of a portal; a scripted one is observed, and has faults."""
    portal.statistics.connections += 1
    if not isinstance(portal, ScriptedPortal):
        return PortalConnection(stream, remote, portal)
    script = portal.script
    observer = ConnectionObserver(script.journal, remote)
    return PortalConnection(stream, remote, portal, observer=observer, faults=script.faults)


def accept_policy(limits: Limits) -> AcceptPolicy:
    """Return what the limits of a portal say about its connections."""
    return AcceptPolicy(
        max_connections=limits.max_connections,
        refusal=Notice(b"BYE", (b"busy",)).encode(),
        linger=limits.linger,
        watch=min(limits.idle, limits.stall),
    )
