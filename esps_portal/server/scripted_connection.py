"""A connection of a scripted portal: it keeps the journal and applies faults to requests."""

from __future__ import annotations

import itertools

import trio

from esps_portal.portal.answering import Call
from esps_portal.portal.faults import Fault, Unit
from esps_portal.portal.journal import Answered
from esps_portal.portal.records import ABORTED, FAULTED, REPLIED, RecordedCall
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.portal.services import CloseAfter
from esps_portal.portal.wreckage import Wreckage
from esps_portal.protocol.conversation import Cancel, RunningCall, State
from esps_portal.protocol.lines import Piece, Skipped, Unterminated
from esps_portal.protocol.messages import DATA, OK, Notice, Reply, Request, readable_request
from esps_portal.server.sending import HIGH_WATER
from esps_portal.server.streams import Stream
from esps_portal.server.wrecking import WreckingConnection

_EMPTY = (b"", b"\r")
# An over-long line is not kept: the journal has this much of it, and says why it is cut.
_TOO_LONG = b"(too long)"


class ScriptedConnection(WreckingConnection):
    """Serves one peer as a test has scripted it."""

    __slots__ = ("_cancel", "_of_call", "_opened", "_peer", "_quit", "_record", "_script")

    def __init__(self, stream: Stream, peer: tuple[str, int], portal: ScriptedPortal) -> None:
        super().__init__(stream, peer, portal)
        self._script = portal.script
        self._peer = peer
        self._opened = trio.current_time()
        self._record = self._script.journal.opened(peer, self._opened)
        # Each call that runs: its record, and what a fault makes of it.
        self._of_call: dict[Call, tuple[RecordedCall, Wreckage | None]] = {}
        # What waits for its answer behind the end of other calls.
        self._cancel: RecordedCall | None = None
        self._quit: RecordedCall | None = None

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        accepted = Unit("tcp", self, record=self._record, is_connection=True)
        fault = self._script.faults.for_unit(accepted)
        try:
            if fault is None:
                await super().run()
            else:
                self._record.fault = str(fault)
                await self._run_unheard()
        finally:
            for unanswered in (self._cancel, self._quit):
                if unanswered is not None:
                    self._note(unanswered, ABORTED)
            self._script.faults.forget(self)
            self._note_end()

    @property
    def number(self) -> int:
        """Its number in the journal."""
        return self._record.number

    def begin_anew(self) -> None:
        """The journal was emptied: this connection stays, and is noted and numbered anew."""
        journal = self._script.journal
        self._record = journal.opened(self._peer, self._opened, is_kept=True)

    # -- the reader

    async def _answer_pieces(self) -> None:
        read, answer, caller = self._conversation.read, self._portal.answer, self._caller
        journal, faults, outgoing = self._script.journal, self._script.faults, self._outgoing
        # Whatever may change while this task waits is looked up again after each wait.
        turn_is_taken, is_heard = self._turn.locked(), journal.is_heard
        now, peer, record = trio.current_time(), self._peer, self._record
        number = record.number
        run: list[Answered] | None = None
        for piece in self._conversation.pieces:
            if turn_is_taken:
                await self._await_turn_of_cancel(piece)
            outcome: object = read(piece)
            request = outcome if type(outcome) is Request else None
            if request is None or faults.in_force or turn_is_taken or is_heard:
                await self._answer_with_care(piece, outcome)
            else:
                outcome = answer(request, caller)
                if type(outcome) is Reply:
                    # Nearly every request takes this path, where the journal must cost little.
                    line = outcome.encode()
                    outgoing += line
                    if run is None or journal.run is not run:
                        run = journal.begin_run()
                    run.append((now, peer, number, piece, line))  # type: ignore[arg-type]  # a line
                    record.requests += 1
                    if len(outgoing) <= HIGH_WATER:
                        continue
                    await self._flush()
                else:
                    await self._settle(outcome, self._received(piece, request), None)
            if self._farewell is not None:
                break
            turn_is_taken, is_heard = self._turn.locked(), journal.is_heard
            now = trio.current_time()
        await self._flush()

    async def _await_turn_of_cancel(self, piece: Piece) -> None:
        """Let a partly sent line end first: CANCEL may hit the very call that it belongs to.

        That call is then answered by that line or by the CANCEL, never by both.
        """
        request = readable_request(_line_of(piece))
        if request is None or request.verb != b"CANCEL":
            return
        try:
            async with self._turn:
                pass
        except trio.Cancelled:
            conversation = self._conversation
            conversation.pieces = itertools.chain((piece,), conversation.pieces)
            raise

    async def _answer_with_care(self, piece: Piece, outcome: object) -> None:
        """Answer what is not a plain request, or one that a fault may hit."""
        if piece in _EMPTY or isinstance(piece, Skipped | Unterminated):
            return  # the one is ignored, the others are about a line that is noted already
        request = outcome if isinstance(outcome, Request) else None
        record = self._received(piece, request or readable_request(_line_of(piece)))
        fault = self._fault_for(request, record) if request is not None else None
        wreckage = None if fault is None else Wreckage(fault)
        try:
            if fault is not None and wreckage is not None:
                record.fault = str(fault)
                if fault.when == "before":
                    await self._take(wreckage.before(), owed=True)
                    if self._farewell is not None:
                        self._note(record, FAULTED)
                        return
            if request is not None:
                outcome = self._portal.answer(request, self._caller)
            await self._settle(outcome, record, wreckage)
        except (trio.Cancelled, trio.BrokenResourceError):
            # QUIT and CANCEL may still be answered: by the drain.
            if record.ended is None and record not in (self._quit, self._cancel):
                self._note(record, ABORTED)
            raise

    def _received(self, piece: Piece, request: Request | None) -> RecordedCall:
        now = trio.current_time()
        journal = self._script.journal
        return journal.received("tcp", self._peer, self._record, _line_of(piece), request, now)

    async def _settle(
        self, outcome: object, record: RecordedCall, wreckage: Wreckage | None
    ) -> None:
        """Send the answer to a request, or begin the call that will answer it."""
        if isinstance(outcome, Call):
            self._of_call[outcome] = record, wreckage
            await self._perform(outcome)
        elif isinstance(outcome, Cancel):
            self._release()  # what is held back of the call comes before its end
            self._note_cut_short(outcome.farewell)
            self._cancel = record
            await self._perform(outcome)
        elif outcome is None:
            self._note_unanswered(record)
        else:
            await self._reply(outcome, record, wreckage)

    async def _reply(
        self, outcome: object, record: RecordedCall, wreckage: Wreckage | None
    ) -> None:
        octets = outcome.octets if isinstance(outcome, CloseAfter) else b""
        line = outcome.encode() if isinstance(outcome, Reply | Notice) else octets
        answered = REPLIED if line else ABORTED
        try:
            await self._put(line, wreckage, final=True, owed=True)
        finally:
            self._note(record, answered if wreckage is None else FAULTED, line)
        if isinstance(outcome, CloseAfter) and self._farewell is None:
            await self._perform(CloseAfter(reset=outcome.reset))

    def _note_unanswered(self, record: RecordedCall) -> None:
        """Note QUIT, which is answered at the end, or what comes too late to be answered."""
        if record.verb == "QUIT" and self._quit is None and not self._peer_has_ended:
            self._quit = record
        else:
            self._note(record, ABORTED)

    def _fault_for(self, request: Request, record: RecordedCall) -> Fault | None:
        service = request.args[0] if request.verb == b"CALL" and request.args else None
        return self._script.faults.for_unit(Unit("tcp", self, service, record))

    # -- running calls

    async def _run_call(self, call: Call, running: RunningCall) -> None:
        record, wreckage = self._of_call[call]
        try:
            await super()._run_call(call, running)
        finally:
            del self._of_call[call]
            if record.ended is None:
                self._note(record, FAULTED if wreckage and wreckage.begun else ABORTED)

    async def _write(self, call: Call, reply: Reply) -> None:
        record, wreckage = self._of_call[call]
        line, final = reply.encode(), reply.kind != DATA
        if not final:
            record.add(line)
        # A cancelled call's line need not be sent, unless it is partly sent already.
        await self._put(line, wreckage, final=final, owed=False)
        unsaid = wreckage is None and self._farewell is not None
        if final and record.ended is None and not unsaid:
            self._note(record, REPLIED if wreckage is None else FAULTED, line)

    # -- the end

    def _answer_cancel(self, reply: Reply) -> None:
        super()._answer_cancel(reply)
        if self._cancel is not None:
            self._note(self._cancel, REPLIED, reply.encode())
            self._cancel = None

    def _refuse(self, reply: Reply) -> None:
        super()._refuse(reply)
        if self._cancel is not None and self._cancel.tag.encode() == reply.tag:
            self._note(self._cancel, REPLIED, reply.encode())
            self._cancel = None
        self._note_cut_short(reply)

    async def _drain(self) -> None:
        await super()._drain()
        if self._quit is not None:
            self._note(self._quit, REPLIED, Reply(self._quit.tag.encode(), OK).encode())
            self._quit = None

    def _note(self, record: RecordedCall, state: str, sent: bytes = b"") -> None:
        self._script.journal.ended(record, state, sent, trio.current_time())

    def _note_cut_short(self, farewell: Reply) -> None:
        """Note what a running call was answered with in place of its own answer."""
        for call, (record, _) in self._of_call.items():
            if call.tag == farewell.tag and record.ended is None:
                self._note(record, ABORTED, farewell.encode())

    def _send_eof(self) -> None:
        super()._send_eof()
        # That is known now, though the client may keep its side open for long.
        self._record.closed_by, self._record.how = self._first_to_close()

    def _note_end(self) -> None:
        record = self._record
        by, how = (record.closed_by, record.how) if record.closed_by else self._first_to_close()
        self._script.journal.closed(self._record, by, how, trio.current_time())

    def _first_to_close(self) -> tuple[str, str]:
        if self._ending in ("aborted", "stalled"):
            return "portal", "rst"
        if self._farewell is not None and self._fate != "stall":
            return "portal", "rst" if self._farewell.reset else "fin"
        if self._peer_has_ended:
            return "client", "fin"
        # If everything was sent, FIN was or was about to be: what broke then came second.
        said = self._conversation.state is State.ENDED and not self._outgoing
        if self._ending == "broken" and not said:
            return "client", "rst"
        return "portal", "fin"


def _line_of(piece: Piece) -> bytes:
    """Return the line as the journal has it."""
    return piece if isinstance(piece, bytes) else getattr(piece, "head", b"") + _TOO_LONG
