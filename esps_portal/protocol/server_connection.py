"""The server's side of one TCP connection: whose turn it is, and what ends it.

The legal moves are two tables, `CONNECTION_MOVES` and `CALL_MOVES`; a pair that is absent is a
bug, never a peer's doing. The specification's diagrams are held against them by a test.

A conversation does not know what a verb other than CANCEL and QUIT does, what a service is, or
how long anything takes: the carrier hands in bytes and says when a time is over.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.lines import LineEvent, LineSplitter, Skipped, TooLong, Unterminated
from esps_portal.protocol.messages import (
    OK,
    Notice,
    Reply,
    Request,
    error_reply,
    parse_request_untrusted,
    readable_tag,
)
from esps_portal.protocol.registry import (
    VERBS,
    VERSION,
    hint_for_verb,
    what_is_wrong_with_arguments,
)


class State(enum.Enum):
    """What a connection is doing."""

    OPEN = "requests are answered"
    CLOSING = "the server is closing: requests are refused, running calls may end"
    QUITTING = "the client has finished: input is thrown away, running calls may end"
    ENDED = "the last line has been written"


# Looking up a member of an enumeration costs more than everything else that `read` does.
_OPEN = State.OPEN
# The states in which whatever comes is thrown away.
_DEAF = frozenset({State.QUITTING, State.ENDED})
# The verbs that are about the conversation itself, which has to manage them: CANCEL and QUIT.
_MANAGED = frozenset(name for name, verb in VERBS.items() if not verb.udp)


class Signal(enum.Enum):
    """What can happen to a connection."""

    REQUEST = "request"
    QUIT = "quit"
    END_OF_INPUT = "end-of-input"
    SHUTDOWN = "shutdown"
    IDLE = "idle"
    FATAL = "fatal"
    DRAINED = "drained"


CONNECTION_MOVES = {
    (State.OPEN, Signal.REQUEST): State.OPEN,
    (State.OPEN, Signal.QUIT): State.QUITTING,
    (State.OPEN, Signal.END_OF_INPUT): State.QUITTING,
    (State.OPEN, Signal.SHUTDOWN): State.CLOSING,
    (State.OPEN, Signal.IDLE): State.ENDED,
    (State.OPEN, Signal.FATAL): State.ENDED,
    (State.CLOSING, Signal.REQUEST): State.CLOSING,
    (State.CLOSING, Signal.END_OF_INPUT): State.QUITTING,
    (State.CLOSING, Signal.DRAINED): State.ENDED,
    (State.CLOSING, Signal.FATAL): State.ENDED,
    (State.QUITTING, Signal.END_OF_INPUT): State.QUITTING,
    (State.QUITTING, Signal.DRAINED): State.ENDED,
    (State.QUITTING, Signal.SHUTDOWN): State.QUITTING,
}


class CallState(enum.Enum):
    """What a call that runs as a task is doing."""

    RUNNING = "running"
    CANCELLED = "answered, not yet ended"
    ENDED = "ended"


CALL_MOVES = {
    (CallState.RUNNING, "finish"): CallState.ENDED,
    (CallState.RUNNING, "cancel"): CallState.CANCELLED,
    (CallState.CANCELLED, "finish"): CallState.ENDED,
}


@attrs.define(eq=False)
class RunningCall:
    """A call in flight. Compared by identity: a tag may be used again while this one ends."""

    tag: bytes
    state: CallState = CallState.RUNNING

    def move(self, signal: str) -> None:
        """Go where `CALL_MOVES` says."""
        self.state = CALL_MOVES[self.state, signal]


@attrs.frozen
class Cancel:
    """A CANCEL that hit: end ``call``, and only then answer ``OK`` under ``tag``.

    Until it is answered nothing later on this connection is: CANCEL keeps its place in the order.
    """

    tag: bytes
    call: RunningCall
    #: The last line of the cancelled call; to be written at once.
    final_reply: Reply


@attrs.frozen
class Quit:
    """A QUIT: it is answered once running calls have ended."""

    tag: bytes


class ServerConnection:
    """One connection, as the server has it.

    Feed it with `receive`; take each piece from `lines` and hand it to `read`, which tells what
    to do: answer a `Request`, send a `Reply` or `Notice`, carry out a `Cancel`, remember a `Quit`,
    or nothing.
    """

    __slots__ = (
        "_calls",
        "_first",
        "_is_tls",
        "_limits",
        "_quit_tag",
        "_running",
        "_skipped_first",
        "_splitter",
        "_untouched",
        "lines",
        "state",
    )

    def __init__(self, limits: Limits) -> None:
        self.state: State = State.OPEN
        #: What has been received and not yet read. It keeps its place when a reader is interrupted.
        self.lines: Iterator[LineEvent] = iter(())
        self._limits = limits
        self._splitter = LineSplitter(limits.max_line, limits.max_unterminated)
        # Tags in flight; a CANCEL that waits has one too, without a call.
        self._calls: dict[bytes, RunningCall | None] = {}
        # Calls whose task has not ended: also cancelled ones, whose tags are free again.
        self._running: set[RunningCall] = set()
        self._quit_tag: bytes | None = None
        # Whether no octet has come yet, and whether no line has but empty ones.
        self._untouched = self._first = True
        self._is_tls = False
        # The head of the first line, while that is being skipped.
        self._skipped_first = b""

    @property
    def is_at_rest(self) -> bool:
        """Whether it is open, and nothing is under way: no call, no part of a line."""
        return self.state is State.OPEN and not (
            self._calls or self._running or self._splitter.is_within_line
        )

    # -- what the peer sends

    def receive(self, data: bytes) -> bool:
        """Take what has come; `lines` then holds it. Returns whether a line was completed.

        To be called only when `lines` is used up.
        """
        if self._untouched:
            self._untouched = False
            if data[0] == grammar.TLS_HANDSHAKE:
                # A TLS handshake has no LF to wait for.
                self._is_tls = True
                self.lines = iter((data[:1],))
                return True
        found = self._splitter.feed(data)
        self.lines = iter(found)
        return bool(found)

    def read(self, piece: LineEvent) -> Request | Reply | Notice | Cancel | Quit | None:
        """Return what to do about the next of `lines`."""
        if type(piece) is not bytes:
            return self._read_too_long(piece)  # type: ignore[arg-type]  # mypy: type() is exact
        try:
            request = parse_request_untrusted(piece)
        except ProtocolError as error:
            return self._reject(piece, error)
        if self.state is not _OPEN or (self._calls and request.tag in self._calls):
            words = "not executed: the portal is closing"
            return self._reject(piece, ProtocolError("closing", words))
        name = request.verb
        # Most are calls, and comparing is cheaper than a table: the octets' hash is never cached.
        if name != b"CALL":
            if name not in VERBS:
                return self._reject(piece, ProtocolError("unknown-verb", hint_for_verb(name)))
            if name in _MANAGED:
                self._first = False
                return self._manage(request)
        self._first = False
        return request

    def end_of_input(self) -> None:
        """Note the peer's FIN. An unfinished line is never executed."""
        if self.state is not State.ENDED:
            self._move(Signal.END_OF_INPUT)

    # -- what the carrier starts and ends

    @property
    def is_full(self) -> bool:
        """Whether as many calls run as may."""
        return len(self._running) >= self._limits.max_in_flight

    @property
    def running(self) -> int:
        """How many calls have not ended, cancelled ones included."""
        return len(self._running)

    def begin(self, tag: bytes) -> RunningCall:
        """Note that a call under ``tag`` starts."""
        call = RunningCall(tag)
        self._calls[tag] = call
        self._running.add(call)
        return call

    def finish(self, call: RunningCall) -> bool:
        """Note that a call's task has ended; return whether its reply is still to be sent."""
        wanted = call.state is CallState.RUNNING
        call.move("finish")
        self._running.discard(call)
        if wanted:
            del self._calls[call.tag]
        return wanted

    def cancelled(self, cancel: Cancel) -> Reply:
        """Note that the cancelled call has ended; return the answer to its CANCEL."""
        del self._calls[cancel.tag]
        return Reply(cancel.tag, OK)

    # -- how it ends

    def shut_down(self) -> Notice | None:
        """Note that the server shuts down; return what to say, if anything."""
        if self.state is State.ENDED:
            return None
        self._move(Signal.SHUTDOWN)
        return Notice(b"BYE", (b"closing",)) if self.state is State.CLOSING else None

    def idle(self) -> Notice:
        """Note that nothing has come for too long; return the last line."""
        self._move(Signal.IDLE)
        return Notice(b"BYE", (b"idle",))

    def expire(self) -> list[Reply]:
        """End the drain: return refusals for what still runs, and for a CANCEL that waits."""
        lines = [error_reply(tag, "closing", "the drain is over") for tag in self._calls]
        for call in self._live():
            self._drop(call)
        self._calls.clear()
        return lines

    def drained(self) -> Reply | None:
        """Note that no call runs any more; return the last line, if any: the answer to QUIT."""
        self._move(Signal.DRAINED)
        return None if self._quit_tag is None else Reply(self._quit_tag, OK)

    # -- within

    def _move(self, signal: Signal) -> None:
        self.state = CONNECTION_MOVES[self.state, signal]

    def _live(self) -> list[RunningCall]:
        return [call for call in self._calls.values() if call is not None]

    def _drop(self, call: RunningCall) -> None:
        del self._calls[call.tag]
        call.move("cancel")

    def _manage(self, request: Request) -> Reply | Notice | Cancel | Quit:
        """CANCEL and QUIT, which are about the conversation itself."""
        wrong = what_is_wrong_with_arguments(request.verb, request.args)
        if wrong:
            return error_reply(request.tag, "bad-arguments", wrong)
        if request.verb == b"QUIT":
            self._quit_tag = request.tag
            self._move(Signal.QUIT)
            return Quit(request.tag)
        (target,) = request.args
        if not grammar.TAG.fullmatch(target):
            return error_reply(request.tag, "bad-arguments", "CANCEL needs a tag")
        call = self._calls.get(target)
        if call is None:
            return error_reply(request.tag, "not-in-flight", "no call runs under that tag")
        self._drop(call)
        self._calls[request.tag] = None
        return Cancel(request.tag, call, error_reply(target, "cancelled"))

    def _reject(self, line: bytes, error: ProtocolError) -> Reply | Notice | None:
        first, self._first = self._first, False
        if line in (b"", b"\r"):
            self._first = first
            return None
        if self.state in _DEAF:
            return None
        tag = readable_tag(line)
        if tag is not None and tag in self._calls:
            return error_reply(None, "tag-in-use", tag)
        foreign = self._foreign(line) if first else ""
        if foreign:
            self._move(Signal.FATAL)
            return error_reply(None, "bad-line", foreign)
        return error_reply(tag, error.code, error.message)

    def _fall_silent(self) -> None:
        """End, and say nothing more: running calls do not either."""
        if self.state not in _DEAF:
            self._move(Signal.FATAL)
            for call in self._live():
                self._drop(call)

    def _foreign(self, line: bytes) -> str:
        """Whether the first line belongs to another protocol, and to which."""
        if self._is_tls:
            return "this listener has no TLS"
        tokens = line.removesuffix(b"\r").split(b" ")
        if (
            len(tokens) > 1
            and grammar.HTTP_VERSION.fullmatch(tokens[-1])
            and tokens[1] not in VERBS
        ):
            return f"this is not HTTP: it is {VERSION.decode()}"
        return ""

    def _read_too_long(self, piece: TooLong | Skipped | Unterminated) -> Reply | Notice | None:
        first, self._first = self._first, False
        if isinstance(piece, Unterminated):
            self._fall_silent()
            return None
        if isinstance(piece, Skipped):
            # It was answered with too-long before its end was known.
            second = self._skipped_first.split(b" ")[1:2]
            if second and second[0] not in VERBS and grammar.HTTP_END.search(piece.tail):
                self._fall_silent()
            self._skipped_first = b""
            return None
        self._skipped_first = piece.head if first else b""
        words = f"a line is at most {self._limits.max_line} bytes, its LF included"
        return self._reject(piece.head, ProtocolError("too-long", words))
