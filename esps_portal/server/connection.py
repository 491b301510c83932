"""One TCP connection: reads, has the portal answer, writes, and ends as `ENDINGS` says.

Three kinds of task meet here: the reader, whose lines an `Answerer` answers in order; a task for
each running call (`CallTasks`); and the server's watch, which ends what is idle or unread. They
all write through one `ReplyWriter`. `PortalConnection` reads top down: it reads lines until an end
is due, then ends. An observer, if there is one, notes what happens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.net.streams import Stream
from esps_portal.protocol.messages import BYE_CLOSING, Notice
from esps_portal.protocol.registry import VERSION
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.drain import Drain
from esps_portal.server.endings import EndReason, How
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.services.call import Call
from esps_portal.services.dispatch import Dispatcher


class PortalConnection:
    """Serves one client. `run` is its whole life; the other methods may be called at any time.

    Args:
        remote: the client's address and port.
        observer: notes what happens; `None`: nobody does.
        faults: are asked about each request; `None`: there never are any.
        in_order: whether what follows a call waits until that call has ended.
    """

    __slots__ = (
        "_active",
        "_answerer",
        "_calls",
        "_drain",
        "_limits",
        "_mute",
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
        # The three things that a connection waits in: an end interrupts the first, a final one the
        # second too, and a shutdown the third.
        self._reading = trio.CancelScope()
        self._drain = Drain(
            stream,
            self._protocol,
            self._replies,
            calls=self._calls,
            answerer=self._answerer,
            seconds=portal.limits.drain,
        )
        self._mute = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._answerer.begin(self._nursery)
                try:
                    await self._read_until_end()
                    await self._end()
                except trio.BrokenResourceError:
                    self._replies.end_for(EndReason.BROKEN)
                if self._replies.end is EndReason.BROKEN:
                    await self._note_unread()
                self._nursery.cancel_scope.cancel()
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
        """Whether it only waits for the client's next line, and no fault is under way."""
        if self._nursery is None or self._replies.end is not None or self._replies.has_work:
            return False
        return self._protocol.is_at_rest and not self._stream.has_input()

    def begin_anew(self) -> None:
        """Note the connection again, under a new number: the journal was emptied."""
        if self._observer is not None:
            self._observer.begin_anew()

    def shut_down(self) -> None:
        """Shut down gracefully: notify the client, and let running calls end."""
        self._replies.end_for(EndReason.SHUTDOWN)
        self._mute.cancel()

    @property
    def deadline(self) -> float:
        """When the watch has to look again, in seconds on trio's clock."""
        writer, replies, protocol = self._writer, self._replies, self._protocol
        if writer.is_sending:
            return writer.progress + self._limits.stall
        # A client that waits for a reply is not idle.
        if protocol.state is not State.OPEN or protocol.running or replies.is_delaying:
            return math.inf
        active = max(writer.progress, self._active, self._calls.last_ended, replies.last_delayed)
        return active + self._limits.idle

    def expire(self) -> None:
        """Act on a deadline that has passed: end an idle connection, reset an unread one."""
        if not self._writer.is_sending:
            self._replies.end_for(EndReason.IDLE)
        elif not self._writer.has_progressed():
            self._replies.end_for(EndReason.UNREAD)

    # -- the reader

    async def _read_until_end(self) -> None:
        if self._answerer.is_refused_by_fault():
            self._replies.end_for(EndReason.CLOSE)
            return
        self._replies.append(Notice(VERSION, (self._portal.product.encode(),)).encode())
        with self._reading:
            await self._read_lines()
        # A line may come in the very moment in which the connection is found idle.
        while self._replies.end is EndReason.IDLE and self.deadline > trio.current_time():
            self._replies.end, self._reading = None, trio.CancelScope()
            with self._reading:
                await self._read_lines()

    async def _read_lines(self) -> None:
        protocol = self._protocol
        # Sends the greeting, or answers what was left when reading was interrupted.
        await self._answerer.answer_lines(trio.current_time())
        while protocol.state is State.OPEN or protocol.state is State.CLOSING:
            data = await self._stream.receive()
            if not data:
                self._peer_has_ended = True
                protocol.end_of_input()
                return
            now = trio.current_time()
            if b"\n" in data:
                self._active = now
            if protocol.receive(data):
                await self._answerer.answer_lines(now)
        if protocol.state is State.ENDED:
            self._replies.end_for(EndReason.FATAL)

    # -- the end

    def _on_end(self, reason: EndReason) -> None:
        """Stop what the end of the connection stops."""
        self._reading.cancel()
        if self._replies.is_final:
            self._drain.cancel()
        if reason is EndReason.BROKEN:
            self._calls.cancel_all()
        elif reason in (EndReason.ABORTED, EndReason.UNREAD) and self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _end(self) -> None:
        """End as the table says (specification, section Ends)."""
        if not self._replies.is_final:
            await self._say_last_lines()
        self._calls.cancel_all()  # nothing of theirs would be sent
        how = self._replies.ending.how  # a fault may have ended the drain
        if how in (How.FIN, How.RST):
            self._replies.release()
        if how is not How.GONE:
            await self._writer.send_everything()
        if how in (How.FIN, How.MUTE_AFTER_FIN):
            self._send_eof()
        if how is How.FIN:
            with trio.move_on_after(self._limits.linger):
                await self._discard_input()
        elif how in (How.MUTE, How.MUTE_AFTER_FIN):
            with self._mute, trio.move_on_after(self._limits.idle):
                await self._discard_input()
                self._peer_has_ended = True

    async def _say_last_lines(self) -> None:
        protocol, replies = self._protocol, self._replies
        replies.release()
        if replies.end is EndReason.IDLE:
            replies.append(protocol.idle_timeout().encode())
        elif replies.end is EndReason.SHUTDOWN and (notice := protocol.shut_down()):
            replies.append(notice.encode())
        if replies.ending.drains and protocol.state is not State.ENDED:
            assert self._nursery is not None  # noqa: S101 - `run` has opened it
            await self._drain.run(self._nursery)

    async def _discard_input(self) -> None:
        while await self._stream.receive():
            pass

    async def _note_unread(self) -> None:
        """Note what the client had sent before it reset the connection; none of it is executed."""
        if self._observer is None or self._protocol.state is State.ENDED:
            return
        self._answerer.note_unanswered()
        with contextlib.suppress(trio.BrokenResourceError):
            while self._stream.has_input() and (data := await self._stream.receive()):
                self._protocol.receive(data)
                self._answerer.note_unanswered()

    def _send_eof(self) -> None:
        """Send FIN: nothing more comes."""
        self._stream.send_eof()
        if self._observer is not None:
            self._observer.sent_fin(*self._first_to_close())

    def _close(self) -> None:
        if self._replies.ending.how in (How.RST, How.RST_AT_ONCE):
            self._stream.abort()
        else:
            if self._is_interrupted:
                # There is no time to wait, but to send one last line.
                with contextlib.suppress(trio.BrokenResourceError):
                    self._stream.send_now(BYE_CLOSING.encode())
            self._stream.close(timeout=self._limits.stall)
        self._answerer.close()
        if self._observer is not None:
            self._observer.closed(*self._first_to_close())

    @property
    def _is_interrupted(self) -> bool:
        """Whether it was cancelled from outside, and not within a line."""
        is_open = self._protocol.state is State.OPEN and self._replies.end is None
        return is_open and not self._writer.outgoing

    def _first_to_close(self) -> tuple[str, str]:
        if self._replies.end is not None and (first := self._replies.ending.first) is not None:
            return first
        if self._peer_has_ended:
            return "client", "fin"
        # If everything was sent, FIN was or was about to be: the reset came second.
        was_last_sent = self._protocol.state is State.ENDED and not self._writer.outgoing
        if self._replies.end is EndReason.BROKEN and not was_last_sent:
            return "client", "rst"
        return "portal", "fin"
