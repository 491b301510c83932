"""The server's side of one TCP connection: what to do about each line, and what ends it.

The states and their transitions are in `states`. CANCEL and QUIT are handled here. What the other
verbs do, what a service is, and how long anything takes is not known here. The caller passes in
bytes, and says when a timeout has expired.
"""

from __future__ import annotations

from itertools import takewhile

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.first_line import FATAL_AT_FIRST, first_line_error
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.lines import (
    EMPTY_LINES,
    LineEvent,
    LineSplitter,
    TooLong,
    Unterminated,
)
from esps_portal.protocol.messages import (
    BYE_CLOSING,
    BYE_IDLE,
    OK,
    Notice,
    Reply,
    Request,
    error_reply,
    parse_request_untrusted,
    readable_tag,
)
from esps_portal.protocol.received_lines import PlainRequest, ReceivedLines
from esps_portal.protocol.registry import VERBS, unknown_verb_text
from esps_portal.protocol.states import (
    CONNECTION_TRANSITIONS,
    CallState,
    RunningCall,
    Signal,
    State,
)
from esps_portal.protocol.verb_arguments import argument_error

# Looking up a member of an enumeration costs more than everything else that `read` does.
_OPEN = State.OPEN
# The states in which input is ignored.
_IGNORES_INPUT = frozenset({State.QUITTING, State.ENDED})
# The verbs that act on the connection itself: CANCEL and QUIT.
_CONNECTION_VERBS = frozenset(name for name, verb in VERBS.items() if not verb.udp)


@attrs.frozen
class Cancel:
    """A CANCEL of a running call.

    Send `final_reply` at once and cancel the call's task. When the task has ended, send what
    `ServerConnection.cancelled` returns. Until then, read no further line: answers keep the order
    of their requests.

    Attributes:
        tag: of the CANCEL itself.
        final_reply: of the cancelled call.
    """

    tag: bytes
    call: RunningCall
    final_reply: Reply


@attrs.frozen
class Quit:
    """A QUIT: it is answered after running calls have ended, see `ServerConnection.drained`."""

    tag: bytes


#: What `ServerConnection.read` returns; see there. ``None``: nothing is to be done.
ReadOutcome = Request | Reply | Notice | Cancel | Quit | None


class ServerConnection:
    """The state of one TCP connection.

    Pass what was received to `receive`, then each of `lines` to `read`. What `read` returns says
    what to do: execute and answer a `Request`, send a `Reply` or `Notice`, carry out a `Cancel` or
    a `Quit`; `None`: nothing. A request that runs as a task is reported with `begin` and `finish`.
    What `peek_plain` returns may be executed without `read`, many requests at once.

    Args:
        requires_hello: the first line must be a HELLO that offers a version that is supported.

    Attributes:
        lines: received and not yet read. A reader that was interrupted continues here.
        parsed: the request that was last read, even if it was rejected; `None`: it was none.
    """

    __slots__ = (
        "_at_first_line",
        "_calls",
        "_limits",
        "_no_input_yet",
        "_quit_tag",
        "_requires_hello",
        "_running",
        "_splitter",
        "lines",
        "parsed",
        "state",
    )

    def __init__(self, limits: Limits, *, requires_hello: bool = False) -> None:
        self.state: State = State.OPEN
        self.lines: ReceivedLines = ReceivedLines()
        self.parsed: Request | None = None
        self._limits = limits
        self._requires_hello = requires_hello
        self._splitter = LineSplitter(limits.max_line, limits.max_unterminated)
        # By tag in flight. A CANCEL that waits for its call is here too, as None.
        self._calls: dict[bytes, RunningCall | None] = {}
        # Calls whose task has not ended. Of cancelled ones the tag may be in use again.
        self._running: set[RunningCall] = set()
        self._quit_tag: bytes | None = None
        self._no_input_yet = True
        # Whether all lines so far were empty.
        self._at_first_line = True

    @property
    def is_at_rest(self) -> bool:
        """Whether it is open, no call runs, and nothing has come that is not read."""
        return self.state is State.OPEN and not (
            self._calls or self._running or self.lines or self._splitter.is_within_line
        )

    @property
    def buffered(self) -> int:
        """How many bytes have come that are not answered, in whole lines and in one that is not."""
        return len(self._splitter.unfinished) + self.lines.buffered

    # -- input

    def receive(self, data: bytes) -> bool:
        """Add what ``data`` completes to `lines`; return whether there are any."""
        if self._no_input_yet:
            self._no_input_yet = False
            if data[0] not in grammar.FIRST_BYTES:
                # What comes may have no LF to wait for, such as a TLS handshake.
                data = data.partition(b"\n")[0][: self._limits.max_line - 1] + b"\n"
        lines, splitter = self.lines, self._splitter
        if not lines and splitter.is_whole(data):
            lines.add_block(data)  # nearly always
            return True
        lines.add(splitter.feed_blocks(data))
        return bool(lines)

    def peek_plain(self, limit: int) -> list[PlainRequest]:
        """Return the next of `lines` that need no `read`, at most ``limit``; they stay unread.

        The first line is never among them, nor any while the connection is not open, nor one whose
        tag is in flight. Once one of them is begun as a call, ask again. Take those that were
        executed as read with `ReceivedLines.skip`.
        """
        if self.state is not _OPEN or self._at_first_line:
            return []
        requests = self.lines.peek_plain(limit)
        if requests and self._calls:
            requests = list(takewhile(lambda request: request[0] not in self._calls, requests))
        return requests

    def read(self, line: LineEvent) -> ReadOutcome:
        """Return what to do about the next of `lines`."""
        if type(line) is not bytes:
            return self._read_too_long(line)  # type: ignore[arg-type]  # mypy: type() is exact
        try:
            self.parsed = request = parse_request_untrusted(line)
        except ProtocolError as error:
            self.parsed = None
            if line in EMPTY_LINES:
                return None
            text = error.message
            if self._at_first_line and line[0] not in grammar.FIRST_BYTES:
                text = "a request begins with a tag"  # however much of the line has come
            return self._reject(readable_tag(line), error.code, text)
        if self.state is not _OPEN or (self._calls and request.tag in self._calls):
            text = "not executed: the portal is closing"
            return self._reject(request.tag, "closing", text)
        if self._at_first_line:
            wrong = first_line_error(request, requires_hello=self._requires_hello)
            if wrong is not None:
                return self._reject(request.tag, *wrong)
            self._at_first_line = False
        # Most are calls, and comparing is cheaper than a lookup: the hash of bytes is not cached.
        return request if request.verb == b"CALL" else self._read_verb(request)

    def end_of_input(self) -> None:
        """Note the client's FIN. An unfinished line is not executed."""
        if self.state is not State.ENDED:
            self._signal(Signal.END_OF_INPUT)

    # -- running calls

    @property
    def is_full(self) -> bool:
        """Whether `Limits.max_in_flight` calls run."""
        return len(self._running) >= self._limits.max_in_flight

    @property
    def running(self) -> int:
        """The number of calls whose task has not ended, including cancelled ones."""
        return len(self._running)

    def begin(self, tag: bytes) -> RunningCall:
        """Note that the task of a call starts."""
        call = RunningCall(tag)
        self._calls[tag] = call
        self._running.add(call)
        return call

    def finish(self, call: RunningCall) -> bool:
        """Note that the task of a call has ended; return whether to send its final reply."""
        is_unanswered = call.state is CallState.RUNNING
        call.apply("finish")
        self._running.discard(call)
        if is_unanswered:
            del self._calls[call.tag]
        return is_unanswered

    def cancelled(self, cancel: Cancel) -> Reply:
        """Note that the cancelled task has ended; return the reply to the CANCEL."""
        del self._calls[cancel.tag]
        return Reply(cancel.tag, OK)

    # -- the end

    def shut_down(self) -> Notice | None:
        """Note that the server shuts down; return the notice to send, if any."""
        if self.state is State.ENDED:
            return None
        self._signal(Signal.SHUTDOWN)
        return BYE_CLOSING if self.state is State.CLOSING else None

    def idle_timeout(self) -> Notice:
        """Note that the idle timeout has expired; return the last line."""
        self._signal(Signal.IDLE)
        return BYE_IDLE

    def end_drain(self) -> list[Reply]:
        """Note that the drain has timed out; return the errors for what still runs or waits."""
        text = "the call did not end in time"
        replies = [error_reply(tag, "closing", text) for tag in self._calls]
        self._cancel_all()
        self._calls.clear()
        return replies

    def drained(self) -> Reply | None:
        """Note that no call runs any more; return the reply to QUIT, if there was one."""
        self._signal(Signal.DRAINED)
        return None if self._quit_tag is None else Reply(self._quit_tag, OK)

    def abort(self) -> None:
        """Note that the server ends at once, although the drain has not ended."""
        self._signal(Signal.ABORT)

    # -- internals

    def _signal(self, signal: Signal) -> None:
        self.state = CONNECTION_TRANSITIONS[self.state, signal]

    def _cancel(self, call: RunningCall) -> None:
        del self._calls[call.tag]
        call.apply("cancel")

    def _cancel_all(self) -> None:
        for call in [call for call in self._calls.values() if call is not None]:
            self._cancel(call)

    def _read_verb(self, request: Request) -> ReadOutcome:
        verb = request.verb
        if verb not in VERBS:
            return self._reject(request.tag, "unknown-verb", unknown_verb_text(verb))
        return self._cancel_or_quit(request) if verb in _CONNECTION_VERBS else request

    def _cancel_or_quit(self, request: Request) -> Reply | Notice | Cancel | Quit:
        error = argument_error(request.verb, request.args)
        if error:
            return error_reply(request.tag, "bad-arguments", error)
        if request.verb == b"QUIT":
            self._quit_tag = request.tag
            self._signal(Signal.QUIT)
            return Quit(request.tag)
        (target,) = request.args
        call = self._calls.get(target)
        if call is None:
            return error_reply(request.tag, "not-in-flight", "no call runs under that tag")
        self._cancel(call)
        self._calls[request.tag] = None
        return Cancel(request.tag, call, error_reply(target, "cancelled"))

    def _reject(self, tag: bytes | None, code: str, text: str) -> Reply | Notice | None:
        is_first, self._at_first_line = self._at_first_line, False
        if self.state in _IGNORES_INPUT:
            return None
        if tag is not None and tag in self._calls:
            return error_reply(None, "tag-in-use", tag)
        if is_first and code in FATAL_AT_FIRST:
            self._signal(Signal.FATAL)
            text += "; the connection closes, since its first line must be a good request"
        return error_reply(tag, code, text)

    def _end_silently(self) -> None:
        """End without a further line, not even for running calls."""
        if self.state not in _IGNORES_INPUT:
            self._signal(Signal.FATAL)
            self._cancel_all()

    def _read_too_long(self, event: TooLong | Unterminated) -> Reply | Notice | None:
        self.parsed = None
        if isinstance(event, Unterminated):
            self._end_silently()
            return None
        text = f"a line may have {self._limits.max_line} bytes, including its LF"
        return self._reject(readable_tag(event.head), "too-long", text)
