"""One TCP connection: reads, has the portal answer, writes, and ends as `ENDINGS` says.

It has two ways of life. Where all that comes is answered at once it needs no task: it is parked in
the server's `ReadySet`, and takes a turn when there is something to read (`take_turn`). Whatever
has to be waited for is the work of its task (`run`): room to send, the end of a call, a fault, its
own end. That reads top down: it reads lines until an end is due, unless it can be parked again,
then ends. An `Answerer` answers the lines either way, in order; each running call has a task of its
own (`CallTasks`); and the server's watch ends what is idle or unread. They all write through one
`ReplyWriter`. An observer, if there is one, notes what happens.
"""

from __future__ import annotations

import contextlib
import math

import trio

from esps_portal.faults.effects import Piece, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.target import FaultTarget
from esps_portal.log import log
from esps_portal.net.buffered_bytes import BufferedBytes
from esps_portal.net.opening import opened
from esps_portal.net.ready_set import ReadySet, Turn
from esps_portal.net.streams import Stream
from esps_portal.net.writer import HIGH_WATER
from esps_portal.protocol.messages import BYE_CLOSING, Notice
from esps_portal.protocol.registry import VERSION
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.closing import Closing
from esps_portal.server.endings import ENDINGS, EndReason, How, reason_of
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.shared_calls import SharedCalls
from esps_portal.server.stage_faults import StageFaults
from esps_portal.services.dispatcher import Dispatcher

# Looking up a member of an enumeration takes as long as a call.
_OPEN = State.OPEN
_AT_ONCE = (EndReason.ABORTED, EndReason.EVICTED, EndReason.UNREAD)
_DONE, _MORE, _NEEDS_TASK = Turn.DONE, Turn.MORE, Turn.NEEDS_TASK


class PortalConnection:
    """Serves one client. `run` is its whole life; the other methods may be called at any time.

    Args:
        remote: the client's address and port.
        observer: notes what happens; `None`: nobody does.
        faults: are asked about each request; `None`: there never are any.
        ready: serves it while it needs no task; `None`: it always has one.
        requires_hello: whether the first line must be a HELLO.
        shared_calls: what the calls of all connections share; `None`: of this one alone.
        calls: where calls run; `None`: in a nursery of its own, which waits for them.
        buffered: the bytes that all connections hold; `None`: nobody counts them.
    """

    __slots__ = (
        "_active",
        "_answerer",
        "_buffered",
        "_calls",
        "_closing",
        "_faults",
        "_has_greeted",
        "_is_closed",
        "_is_receiving",
        "_is_refused",
        "_is_scripted",
        "_is_shut_down",
        "_limits",
        "_noted",
        "_nursery",
        "_observer",
        "_opened",
        "_peer_has_ended",
        "_portal",
        "_protocol",
        "_reading",
        "_ready",
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
        ready: ReadySet | None = None,
        requires_hello: bool = False,
        shared_calls: SharedCalls | None = None,
        calls: trio.Nursery | None = None,
        buffered: BufferedBytes | None = None,
    ) -> None:
        self._stream = stream
        self._buffered = buffered
        # What is noted there.
        self._noted = 0
        self._portal = portal
        self._limits = portal.limits
        self._observer = observer
        self._is_scripted = not (observer is None and faults is None)
        self._ready = ready
        self._protocol = ServerConnection(portal.limits, requires_hello=requires_hello)
        self._replies = ReplyWriter(stream, self._on_end, self._note_buffered)
        self._writer = self._replies.writer
        shared_calls = shared_calls or SharedCalls(portal.limits.max_calls)
        self._calls = CallTasks(self._protocol, self._replies, shared_calls, calls)
        self._answerer = Answerer(
            portal,
            remote,
            self._protocol,
            self._replies,
            self._calls,
            observer=observer,
            faults=faults,
        )
        # When a line last came; seconds on trio's clock.
        self._active = self._writer.progress
        self._opened = self._active
        self._faults = StageFaults(faults, self._protocol, observer, self._opened)
        # Asked as it is accepted: numbers of connections are counted in that order.
        self._is_refused = self._faults.is_refused()
        self._peer_has_ended = False
        self._is_receiving = False
        self._has_greeted = False
        # What it waits in while it reads; an end interrupts it.
        self._reading: trio.CancelScope | None = None
        # Made once it ends.
        self._closing: Closing | None = None
        self._is_shut_down = False
        self._is_closed = False
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve until the connection has ended, or can do without a task: it is then parked.

        Raises nothing but cancellation.
        """
        is_parked = False
        try:
            has_ended = not await self._shake_hands()
            while not (is_parked or has_ended) and not await self._run_in_nursery():
                is_parked = self._may_park  # still, since its nursery was left
        finally:
            self._nursery, self._reading = None, None
            self._answerer.begin(None)
            if is_parked and self._ready is not None:
                self._ready.park(self)
            elif not self._is_closed:
                self._close()

    async def _shake_hands(self) -> bool:
        """Do the handshake of TLS, if one is due, within a bound; return whether to go on."""
        if self._is_refused or not self._stream.needs_handshake:
            return True
        limits, is_open = self._limits, False
        with trio.CancelScope() as self._reading:  # an end interrupts it
            if self._replies.end is None:
                is_open = await opened(
                    self._stream,
                    self._faults.certificate_problem,
                    seconds=limits.stall,
                    linger=limits.linger,
                )
        if not is_open:
            self._replies.end_for(EndReason.BROKEN)
        return is_open

    async def _run_in_nursery(self) -> bool:
        """Serve with tasks; return whether the connection has ended."""
        async with trio.open_nursery() as self._nursery:
            self._answerer.begin(self._nursery)
            of_all_sent = self._faults.of_all_sent()
            if of_all_sent is not None:
                self._replies.begin(self._nursery, of_all_sent)
            try:
                if not await self._read_and_end(self._nursery):
                    return False
                self._nursery.cancel_scope.cancel()
            finally:
                await self._end_calls()
        return True

    async def _read_and_end(self, nursery: trio.Nursery) -> bool:
        """Read until an end is due, and end; return whether it has ended."""
        try:
            if not await self._read_until_end():
                return False
            await self._end(nursery)
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
        if self._replies.end is EndReason.BROKEN:
            await self._note_unread()
        return True

    async def _end_calls(self) -> None:
        """Wait for the end of cancelled calls; close without those that do not end.

        The nursery of the connection has to wait for them, but neither its client nor the others
        do: it no longer counts as open.
        """
        if self._calls.are_running and not await self._calls.end():
            self._is_closed = True
            self._close()
            if self._ready is not None:
                self._ready.on_end(self)

    # -- without a task

    @property
    def stream(self) -> Stream:
        """What it reads."""
        return self._stream

    def begin(self) -> bool:
        """Greet the client; return whether the connection can do without a task from then on."""
        if self._is_refused or not self._may_park:
            return False
        self._has_greeted = True
        self._replies.append(self._greeting)
        try:
            return self._writer.flush_now()
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
            return False

    def take_turn(self, now: float) -> Turn:
        """Read once, unless something is left to answer, and answer what needs no waiting."""
        if self._is_scripted and self._answerer.is_watched:
            return _NEEDS_TASK
        try:
            # Unless something was left by the turn before.
            if not self._protocol.lines:
                data = self._stream.receive_now()
                if data is None or not self._received(data, now):
                    return self._after_reading()
            turn = self._answerer.answer_now(now)
            # What came in one read is answered with one write, however many turns it takes.
            if turn is _MORE and len(self._writer.outgoing) <= HIGH_WATER:
                return turn
            if not self._writer.flush_now() or self._protocol.state is not _OPEN:
                return _NEEDS_TASK
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
            return _NEEDS_TASK
        return turn

    def _after_reading(self) -> Turn:
        """Return what is left by a read that brought no line; end if that was all."""
        if not self._peer_has_ended:
            return _NEEDS_TASK if self._stream.is_silent else _DONE
        if self._nursery is not None or self._replies.has_work:
            return _NEEDS_TASK
        # Nothing runs and nothing waits: there is nothing to drain, and nobody to linger for.
        self._answerer.end_drain()
        if self._ready is not None:
            self._ready.leave(self)
        self._close()
        return Turn.ENDED

    @property
    def _may_park(self) -> bool:
        """Whether all that comes can be answered without waiting, for the time being."""
        if self._ready is None or not self._ready.is_open:
            return False
        if self._stream.is_silent or self._stream.needs_handshake:
            return False
        if self._replies.has_work or self._answerer.has_work or self._answerer.is_watched:
            return False
        return self._protocol.state is State.OPEN and self._replies.end is None

    def abort(self) -> None:
        """End at once, with RST."""
        self._replies.end_for(EndReason.ABORTED)

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the client's next line, and no fault is under way."""
        if not self._has_greeted or self._replies.end is not None or self._replies.has_work:
            return False
        return self._protocol.is_at_rest and not self._stream.has_input()

    def begin_anew(self) -> None:
        """Note the connection again, under a new number: the journal was emptied."""
        if self._observer is not None:
            self._observer.begin_anew()

    # -- memory

    def _note_buffered(self) -> None:
        """Note how many bytes it holds, unless its end has let go of them."""
        if self._buffered is None or self._is_closed or self._replies.end is EndReason.EVICTED:
            return
        size = len(self._writer.outgoing) + self._protocol.buffered
        if size != self._noted:
            self._noted = size
            self._buffered.note(self, size)

    def evict(self) -> None:
        """End at once, with RST: all connections hold too much, and this one most."""
        log.warning("a connection is reset: all hold more than max_buffered, and it the most")
        self._replies.end_for(EndReason.EVICTED)

    # -- age

    @property
    def opened(self) -> float:
        """When it was accepted; seconds on trio's clock."""
        return self._opened

    @property
    def is_ending(self) -> bool:
        """Whether it ends in a way that no fault changes any more."""
        return self._replies.ending.rank > ENDINGS[EndReason.STALL].rank

    def as_aged(self, age: float) -> FaultTarget:
        """Return it as faults select it that strike at an age."""
        return self._faults.as_aged(age)

    def strike(self, fault: Fault) -> None:
        """End as a fault says that strikes at an age."""
        self._faults.note_struck(fault)
        self._replies.release()
        self._replies.perform_now(effect_of(fault).feed(Piece(b"")))

    def shut_down(self) -> None:
        """Shut down gracefully: notify the client, and let running calls end."""
        self._replies.end_for(EndReason.SHUTDOWN)
        self._is_shut_down = True
        if self._closing is not None:
            self._closing.shut_down()

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
        if self._writer.is_sending:
            if not self._writer.has_progressed():
                self._replies.end_for(EndReason.UNREAD)
        elif not self._stream.has_input():  # else a line may have come in this very moment
            self._replies.end_for(EndReason.IDLE)

    # -- the reader

    async def _read_until_end(self) -> bool:
        """Read and answer; return whether the connection ends, else it can do without a task."""
        if self._is_refused:
            self._replies.end_for(EndReason.CLOSE)
            return True
        with trio.CancelScope() as self._reading:
            if self._replies.end is not None:  # since before this task began
                self._reading.cancel()
            if self._replies.end is EndReason.SHUTDOWN and self._has_greeted:
                # What has come until then is answered.
                data = self._stream.receive_now()
                if data is not None:
                    self._received(data, trio.current_time())
            await self._greet()
            if await self._read_lines():
                return False
        return True

    async def _greet(self) -> None:
        """Send the greeting, or what faults make of it, once."""
        if self._has_greeted:
            return
        self._has_greeted = True
        exchange = self._faults.greeting()
        if exchange is None:
            self._replies.append(self._greeting)
            return
        assert self._nursery is not None  # noqa: S101 - `run` has opened it
        self._replies.expect_fault(self._nursery)
        await self._replies.write(self._greeting, exchange, final=True, must_send=True)

    @property
    def _greeting(self) -> bytes:
        return Notice(VERSION, (self._portal.product.encode(),)).encode()

    async def _read_lines(self) -> bool:
        """Read and answer until an end is due; return whether it can go on without a task."""
        protocol = self._protocol
        # Sends the greeting, or answers what was left when reading was interrupted.
        await self._answerer.answer_lines()
        while protocol.state is State.OPEN or protocol.state is State.CLOSING:
            if self._replies.is_deaf:
                return False
            if self._may_park and self._ready is not None:
                assert self._nursery is not None  # noqa: S101 - `run` has opened it
                if not (self._nursery.child_tasks or self._calls.are_running):
                    return True
                await self._ready.wait(self)
            else:
                self._received(await self._receive(), trio.current_time())
            await self._answerer.answer_lines()
        if protocol.state is State.ENDED and not self._peer_has_ended:
            self._replies.end_for(EndReason.FATAL)
        return False

    async def _receive(self) -> bytes:
        self._is_receiving = True
        try:
            return await self._stream.receive()
        finally:
            self._is_receiving = False

    def _received(self, data: bytes, now: float) -> bool:
        """Pass on what has come, or FIN; return whether there are lines to answer."""
        if not data:
            self._peer_has_ended = True
            self._protocol.end_of_input()
            # Parked without a task nothing runs that could go on.
            if self._nursery is not None and not self._stream.half_closes:
                self._replies.end_for(EndReason.HANGUP)
            return False
        if b"\n" in data:
            self._active = now
        has_lines = self._protocol.receive(data)
        if self._noted or self._protocol.buffered:
            self._note_buffered()
        return has_lines

    # -- the end

    def _on_end(self, reason: EndReason) -> None:
        """Stop what the end of the connection stops."""
        # The answer to what was read before a deaf fault is sent in its own time.
        is_reading = reason is not EndReason.DEAF or self._is_receiving
        if is_reading and self._reading is not None:
            self._reading.cancel()
        if self._ready is not None:
            self._ready.resume(self)
        if self._replies.is_final and self._closing is not None:
            self._closing.cancel()
        if reason is EndReason.BROKEN:
            self._calls.cancel_all()
        elif reason in _AT_ONCE and self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _end(self, nursery: trio.Nursery) -> None:
        self._closing = Closing(
            self._stream,
            self._protocol,
            self._replies,
            calls=self._calls,
            answerer=self._answerer,
            limits=self._limits,
            on_fin=self._note_fin,
            on_discarded=self._note_ignored,
            is_shut_down=self._is_shut_down,
        )
        if await self._closing.run(nursery):
            self._peer_has_ended = True
        self._note_ignored()

    async def _note_unread(self) -> None:
        """Note what the client had sent before it reset the connection; none of it is executed."""
        if self._observer is None or self._protocol.state is State.ENDED or self._replies.is_deaf:
            return
        self._answerer.note_unanswered()
        with contextlib.suppress(trio.BrokenResourceError):
            while (
                self._answerer.may_note_unanswered
                and self._stream.has_input()
                and (data := await self._stream.receive())
            ):
                self._protocol.receive(data)
                self._answerer.note_unanswered()

    def _note_ignored(self, data: bytes = b"") -> None:
        """Note what follows a QUIT or a fatal line, whether it came with that or later."""
        if self._observer is None or self._replies.end not in (None, EndReason.FATAL):
            return
        if not self._answerer.may_note_unanswered:
            return
        if data:
            self._protocol.receive(data)
        self._answerer.note_unanswered()

    def _note_fin(self) -> None:
        if self._observer is not None:
            self._observer.sent_fin(*self._first_to_close())

    def _close(self) -> None:
        if self._protocol.state in (State.CLOSING, State.QUITTING) and not self._replies.is_final:
            # It was cancelled in its drain: no FIN passes what is missing off as all there was.
            self._protocol.abort()
            self._replies.end_for(EndReason.ABORTED)
        if self._noted and self._buffered is not None:
            self._noted = 0
            self._buffered.note(self, 0)
        self._is_closed = True
        if self._replies.ending.how in (How.RST, How.RST_AT_ONCE, How.DEAF):
            self._stream.abort()
        else:
            if self._is_interrupted:
                # There is no time to wait, but to send one last line.
                with contextlib.suppress(trio.BrokenResourceError):
                    self._stream.send_now(BYE_CLOSING.encode())
            self._stream.close(timeout=self._limits.stall)
        self._answerer.close()
        self._replies.finish_faults()
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
