"""A connection of a scripted portal: keeps the journal, and performs faults on its answers.

A fault decides nothing here: `esps_portal.portal.wreckage` gives the steps, this takes them. While
one answer is being wrecked no other line may get between its pieces: whoever has a line waits.
"""

from __future__ import annotations

from collections import deque

import trio

from esps_portal.portal.answering import Call
from esps_portal.portal.faults import Fault
from esps_portal.portal.journal import ABORTED, FAULTED, REPLIED, RecordedCall
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.portal.services import Farewell
from esps_portal.portal.wreckage import End, Hold, Pause, Send, Step, Wreckage
from esps_portal.protocol.conversation import Cancel, RunningCall
from esps_portal.protocol.lines import Piece
from esps_portal.protocol.messages import DATA, OK, Notice, Reply, Request, readable_request
from esps_portal.server.connection import Connection
from esps_portal.server.streams import Stream

_EMPTY = (b"", b"\r")
# An over-long line is not kept; so much of it, and why it is so short, stands in the journal.
_TOO_LONG = b"(too long)"


class ScriptedConnection(Connection):
    """Serves one peer as a test has scripted it."""

    __slots__ = ("_held", "_held_replies", "_of_call", "_over", "_record", "_script", "_turn")

    def __init__(self, stream: Stream, peer: tuple[str, int], portal: ScriptedPortal) -> None:
        super().__init__(stream, peer, portal)
        self._script = portal.script
        self._record = self._script.journal.opened(peer, trio.current_time())
        # Each call that runs: its record, and what a fault makes of it.
        self._of_call: dict[Call, tuple[RecordedCall, Wreckage | None]] = {}
        self._turn = trio.Lock()
        self._held: list[bytes] = []
        self._held_replies = 0
        # half-close or stall: nothing is said any more, what comes is thrown away.
        self._over: trio.CancelScope | None = None

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        fault = self._script.faults.for_connection(self)
        try:
            if fault is None:
                await super().run()
            else:
                self._record.fault = str(fault)
                self._close()
        finally:
            for record, _ in self._of_call.values():
                self._note(record, ABORTED)
            self._script.faults.forget(self)
            self._note_end()

    def shut_down(self) -> None:
        """The server closes."""
        if self._over is not None:
            self._over.cancel()
        super().shut_down()

    # -- the reader

    async def _answer_pieces(self) -> None:
        for piece in self._conversation.pieces:
            await self._answer_piece(piece)
            if self._farewell is not None or self._over is not None:
                break
        await self._flush()

    async def _answer_piece(self, piece: Piece) -> None:
        outcome: object = self._conversation.read(piece)
        if piece in _EMPTY:
            return
        request = outcome if type(outcome) is Request else None
        script = self._script
        data = piece if isinstance(piece, bytes) else getattr(piece, "head", b"") + _TOO_LONG
        record = script.journal.received(
            "tcp",
            (self._caller.address, self._caller.port),
            self._record,
            data,
            request or readable_request(data),
            trio.current_time(),
        )
        wreckage: Wreckage | None = None
        if request is not None:
            fault = self._fault_for(request) if len(script.faults) else None
            if fault is not None:
                record.fault = str(fault)
                wreckage = Wreckage(fault)
                if fault.when == "before":
                    await self._take(wreckage.before())
                    if self._farewell is not None or self._over is not None:
                        self._note(record, FAULTED)
                        return
            outcome = self._portal.answer(request, self._caller)
        await self._settle(outcome, record, wreckage)

    async def _settle(
        self, outcome: object, record: RecordedCall, wreckage: Wreckage | None
    ) -> None:
        """Send what answers a request, or begin what will."""
        if isinstance(outcome, Call):
            self._of_call[outcome] = record, wreckage
            await self._perform(outcome)
            return
        if isinstance(outcome, Cancel):
            await self._perform(outcome)
            self._note(record, REPLIED, Reply(outcome.tag, OK).encode())
            return
        if isinstance(outcome, Farewell):
            if wreckage is not None:
                await self._take(wreckage.line(outcome.octets, final=True))
                outcome = Farewell(reset=outcome.reset)
            if self._farewell is None:
                await self._perform(outcome)
            self._note(record, REPLIED if outcome.octets else ABORTED, outcome.octets)
            return
        line = outcome.encode() if isinstance(outcome, Reply | Notice) else b""
        await self._put(line, wreckage, final=True)
        self._note(record, REPLIED if wreckage is None else FAULTED, line)

    def _fault_for(self, request: Request) -> Fault | None:
        service = request.args[0] if request.verb == b"CALL" and request.args else None
        return self._script.faults.for_request(service, "tcp", self)

    # -- running calls

    async def _run_call(self, call: Call, running: RunningCall) -> None:
        record, _ = self._of_call[call]
        try:
            await super()._run_call(call, running)
        finally:
            del self._of_call[call]
            if record.ended is None:
                self._note(record, ABORTED)

    async def _write(self, call: Call, reply: Reply) -> None:
        record, wreckage = self._of_call[call]
        line, final = reply.encode(), reply.kind != DATA
        if not final:
            record.sent += line
        await self._put(line, wreckage, final=final)
        if final:
            self._note(record, REPLIED if wreckage is None else FAULTED, line)

    # -- the one writer

    async def _put(self, line: bytes, wreckage: Wreckage | None, *, final: bool) -> None:
        """Add a line to what is sent, or take the steps that a fault has made of it."""
        if wreckage is not None:
            await self._take(wreckage.line(line, final=final))
        elif self._turn.locked():
            async with self._turn:
                self._outgoing += line
        else:
            self._outgoing += line

    async def _flush(self) -> None:
        if self._over is not None:
            self._outgoing.clear()
        await super()._flush()

    async def _take(self, steps: list[Step]) -> None:
        """Take steps; what an interruption leaves of them is sent at once, so that lines end."""
        if not steps:
            return
        async with self._turn:
            await self._flush()
            left = deque(steps)
            try:
                while left:
                    step = left[0]
                    if isinstance(step, Pause):
                        await trio.sleep(step.seconds)
                    left.popleft()
                    await self._take_one(step)
            finally:
                self._outgoing += b"".join(step.octets for step in left if isinstance(step, Send))

    async def _take_one(self, step: Step) -> None:
        if isinstance(step, Send):
            self._outgoing += step.octets
            await self._flush()
        elif isinstance(step, Hold):
            self._hold(step)
        elif isinstance(step, End):
            await self._flush()
            if step.how in ("half-close", "stall"):
                self._over = trio.CancelScope()
            self._farewell = Farewell(reset=step.how == "reset")
            if step.how == "half-close":
                self._stream.send_eof()
            self._reading.cancel()

    # -- what is held back

    def _hold(self, step: Hold) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` has opened it
        self._held.append(step.octets)
        self._held_replies += step.final
        if self._held_replies >= step.replies:
            self._release()
        elif len(self._held) == 1:
            self._nursery.start_soon(self._release_later, step.seconds, self._held)

    async def _release_later(self, seconds: float, held: list[bytes]) -> None:
        await trio.sleep(seconds)
        if held is self._held:
            self._release()
            try:
                await self._flush()
            except trio.BrokenResourceError:
                self._reading.cancel()
                self._ending = "broken"

    def _release(self) -> None:
        self._outgoing += b"".join(self._held)
        self._held = []
        self._held_replies = 0

    # -- the end

    async def _end(self) -> None:
        self._release()
        if self._over is None:
            await super()._end()
            return
        # Said nothing, heard everything: until the peer, the server or its patience has enough.
        with self._over, trio.move_on_after(self._limits.idle):
            while await self._stream.receive():
                pass

    def _note(self, record: RecordedCall, state: str, sent: bytes = b"") -> None:
        self._script.journal.ended(record, state, sent, trio.current_time())

    def _note_end(self) -> None:
        by, how = "portal", "fin"
        if self._ending == "broken":
            by, how = "client", "rst"
        elif self._ending in ("aborted", "stalled"):
            how = "rst"
        elif self._farewell is not None:
            how = "rst" if self._farewell.reset else "fin"
        elif self._peer_has_ended:
            by = "client"
        self._script.journal.closed(self._record, by, how, trio.current_time())
