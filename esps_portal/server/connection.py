"""One TCP connection: reads, has the portal answer, writes, and ends in good order.

Three kinds of task meet here: the reader, which answers what is instant in request order; a task
for each running call; and the server's watch, which ends what is idle or stalled. How their lines
leave without mixing is the business of `esps_portal.server.sending`.
"""

from __future__ import annotations

import contextlib
import math

import attrs
import trio

from esps_portal.portal.answering import Call, Portal
from esps_portal.portal.services import Caller, CloseAfter, Service
from esps_portal.protocol.conversation import CallState, Cancel, Conversation, RunningCall, State
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Notice, Reply, Request
from esps_portal.protocol.registry import VERSION
from esps_portal.server.sending import HIGH_WATER, Sender
from esps_portal.server.streams import Stream


@attrs.define
class ConnectionCaller(Caller):
    """The peer of a connection."""

    conversation: Conversation

    def admit(self, service: Service) -> bool:
        """Whether there is room: an instant service takes none."""
        return service.instant or not self.conversation.is_full


class Connection(Sender):
    """Serves one peer. `run` is its whole life; `shut_down` and `expire` may come at any time."""

    __slots__ = (
        "_active",
        "_caller",
        "_cancelling",
        "_conversation",
        "_ending",
        "_farewell",
        "_limits",
        "_nursery",
        "_peer_has_ended",
        "_portal",
        "_reading",
        "_scopes",
        "_task_ended",
    )

    def __init__(self, stream: Stream, peer: tuple[str, int], portal: Portal) -> None:
        super().__init__(stream)
        self._portal = portal
        self._limits: Limits = portal.limits
        # When a line last came, or a call ended; seconds on trio's clock.
        self._active = self._progress
        self._conversation = Conversation(portal.limits)
        self._caller = ConnectionCaller("tcp", peer[0], peer[1], self._conversation)
        # Made when somebody has to wait; most connections never need one.
        self._task_ended: trio.Event | None = None
        self._scopes: dict[RunningCall, trio.CancelScope] = {}
        self._cancelling: Cancel | None = None
        self._farewell: CloseAfter | None = None
        self._ending = ""
        self._peer_has_ended = False
        self._reading = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        greeting = Notice(VERSION, (self._portal.product.encode(),))
        self._outgoing += greeting.encode()
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    with self._reading:
                        await self._converse()
                    while self._is_idle_no_more:
                        self._ending, self._reading = "", trio.CancelScope()
                        with self._reading:
                            await self._converse()
                    await self._end()
                except trio.BrokenResourceError:
                    self._ending = "broken"
                self._nursery.cancel_scope.cancel()
        finally:
            self._close()

    def abort(self) -> None:
        """End at once, with RST."""
        self._ending = "aborted"
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the peer's next line."""
        ends = bool(self._ending) or self._farewell is not None or self._nursery is None
        sends = self._sending or bool(self._outgoing)
        return (
            not (ends or sends) and self._conversation.is_at_rest and not self._stream.has_input()
        )

    def shut_down(self) -> None:
        """Shut down in good order: say so, let running calls end, end."""
        self._interrupt("closing")

    @property
    def deadline(self) -> float:
        """When the watch has to look again, in seconds on trio's clock."""
        if self._sending:
            return self._progress + self._limits.stall
        if self._conversation.state is State.OPEN and not self._conversation.running:
            return max(self._progress, self._active) + self._limits.idle
        return math.inf

    @property
    def _is_idle_no_more(self) -> bool:
        """Whether a line came in the very moment in which it was found idle."""
        if self._ending != "idle" or self._farewell is not None:
            return False
        return self.deadline > trio.current_time()

    def expire(self) -> None:
        """Act on a deadline that has passed: tell an idle peer, cut off one that takes nothing."""
        if self._sending:
            if self._is_taken_from():
                return
            self._ending = "stalled"
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
        else:
            self._interrupt("idle")

    # -- the reader

    async def _converse(self) -> None:
        conversation = self._conversation
        await self._answer_pieces()  # what is left of an interrupted turn; and the greeting leaves
        while conversation.state is State.OPEN or conversation.state is State.CLOSING:
            data = await self._stream.receive()
            if not data:
                self._peer_has_ended = True
                conversation.end_of_input()
                return
            if b"\n" in data:
                self._active = trio.current_time()
            if conversation.receive(data):
                await self._answer_pieces()
                if self._farewell is not None:
                    return

    async def _answer_pieces(self) -> None:
        conversation, outgoing = self._conversation, self._outgoing
        read, answer, caller = conversation.read, self._portal.answer, self._caller
        for piece in conversation.pieces:
            outcome: object = read(piece)
            if type(outcome) is Request:
                outcome = answer(outcome, caller)
            if type(outcome) is Reply:
                outgoing += outcome.encode()
                if len(outgoing) > HIGH_WATER:
                    await self._flush()
            elif outcome is not None:
                await self._perform(outcome)
                if self._farewell is not None:
                    break
        await self._flush()

    async def _perform(self, outcome: object) -> None:
        """Carry out an outcome that is more than a reply."""
        if isinstance(outcome, Notice):
            self._outgoing += outcome.encode()
        elif isinstance(outcome, Call):
            running = self._conversation.begin(outcome.tag)
            self._scopes[running] = trio.CancelScope()
            assert self._nursery is not None  # noqa: S101 - `run` has opened it
            self._nursery.start_soon(self._run_call, outcome, running)
        elif isinstance(outcome, CloseAfter):
            self._farewell = outcome
            self._outgoing += outcome.octets
        elif isinstance(outcome, Cancel):
            self._outgoing += outcome.farewell.encode()
            self._scopes[outcome.call].cancel()
            self._cancelling = outcome
            await self._flush()
            await self._await_cancelled()

    async def _await_cancelled(self) -> None:
        """Wait until the cancelled call, if any, has ended, and answer its CANCEL."""
        cancel = self._cancelling
        if cancel is None:
            return
        while cancel.call.state is not CallState.ENDED:
            await self._wait_for_a_task()
        if self._cancelling is not None:  # in a drain two tasks wait here
            self._answer_cancel(self._conversation.cancelled(cancel))
            self._cancelling = None

    def _answer_cancel(self, reply: Reply) -> None:
        self._outgoing += reply.encode()

    # -- running calls

    async def _run_call(self, call: Call, running: RunningCall) -> None:
        async def send(reply: Reply) -> None:
            try:
                if running.state is CallState.RUNNING:
                    await self._write(call, reply)
                await trio.lowlevel.checkpoint()
                await self._flush()
            except trio.BrokenResourceError:
                # The peer's doing, not the service's: it is cancelled, as by CANCEL.
                self._break_off()
                await trio.lowlevel.checkpoint_if_cancelled()

        call.send = send
        try:
            with self._scopes[running]:
                reply = await call.run()
                if running.state is CallState.RUNNING:
                    await self._write(call, reply)
            answered = self._conversation.finish(running)
            if answered and call.closes and self._farewell is None:
                self._farewell = CloseAfter()
                self._reading.cancel()
            await self._flush()
        except trio.BrokenResourceError:
            self._break_off()
        finally:
            del self._scopes[running]
            self._active = trio.current_time()
            if self._task_ended is not None:
                self._task_ended.set()
                self._task_ended = None

    async def _write(self, _call: Call, reply: Reply) -> None:
        """Add a line of a running call to what is sent, unless all has been said."""
        if self._farewell is None:
            self._outgoing += reply.encode()

    async def _wait_for_a_task(self) -> None:
        if self._task_ended is None:
            self._task_ended = trio.Event()
        await self._task_ended.wait()

    # -- the end

    def _interrupt(self, why: str) -> None:
        if not self._ending:
            self._ending = why
            self._reading.cancel()

    async def _end(self) -> None:
        """Say the last line, shut down writing, discard until EOF, close (spec, Ends)."""
        conversation = self._conversation
        if self._ending in ("broken", "stalled", "aborted"):
            return
        if self._farewell is None:
            if self._ending == "idle" and conversation.state is State.OPEN:
                self._outgoing += conversation.idle().encode()
            elif self._ending == "closing":
                notice = conversation.shut_down()
                self._outgoing += notice.encode() if notice else b""
            if conversation.state is not State.ENDED:
                await self._drain()
        self._cancel_calls()  # nothing of theirs would be sent
        if self._farewell is not None and self._farewell.reset:
            await self._flush()
            return
        await self._send_everything()
        self._send_eof()
        with trio.move_on_after(self._limits.linger):
            while await self._stream.receive():
                pass

    def _send_eof(self) -> None:
        """Send FIN: nothing more comes."""
        self._stream.send_eof()

    async def _drain(self) -> None:
        """Let running calls end, within the limit; go on reading, so that none is blocked."""
        conversation = self._conversation
        await self._flush()
        if conversation.running or self._cancelling is not None:
            with trio.move_on_after(self._limits.drain):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_on)
                    while conversation.running:
                        await self._wait_for_a_task()
                    await self._await_cancelled()
                    nursery.cancel_scope.cancel()
        self._refuse_what_runs()
        if conversation.state is not State.ENDED:
            last = conversation.drained()
            self._outgoing += last.encode() if last else b""

    def _refuse_what_runs(self) -> None:
        """End the drain: refuse what still runs."""
        for refused in self._conversation.expire():
            self._refuse(refused)

    def _refuse(self, reply: Reply) -> None:
        """Answer a call that has not ended in time, or the CANCEL of one."""
        self._outgoing += reply.encode()

    async def _read_on(self) -> None:
        """Read during the drain: after QUIT to throw away, after BYE to refuse."""
        conversation = self._conversation
        try:
            await self._await_cancelled()  # what came after that CANCEL is answered after it
            await self._answer_pieces()
            while data := await self._stream.receive():
                if conversation.receive(data):
                    await self._answer_pieces()
                if conversation.state is State.ENDED:
                    break
            conversation.end_of_input()
            if conversation.state is State.ENDED:
                self._cancel_calls()  # nothing of theirs would be sent
        except trio.BrokenResourceError:
            self._break_off()

    def _break_off(self) -> None:
        """Stop everything: the peer has gone."""
        self._ending = "broken"
        self._reading.cancel()
        self._cancel_calls()

    def _cancel_calls(self) -> None:
        for scope in self._scopes.values():
            scope.cancel()

    def _close(self) -> None:
        if self._ending in ("stalled", "aborted") or (
            self._farewell is not None and self._farewell.reset
        ):
            self._stream.abort()
            return
        if self._conversation.state is State.OPEN and not (self._outgoing or self._ending):
            # Cancelled from outside: no time to wait, but time for one last line.
            with contextlib.suppress(trio.BrokenResourceError):
                self._stream.send_now(Notice(b"BYE", (b"closing",)).encode())
        self._stream.close(self._limits.stall)
