"""The client's side of a connection or of a UDP socket: matches replies to requests.

A `ClientConnection` gives each request a tag and keeps what arrives for it until that is collected.
Unknown notices and tags are ignored (ESPS-TCP-6). It knows no socket and no clock; its caller
passes in bytes and provides the tags.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from esps_portal.protocol.errors import (
    ClosedError,
    EspsError,
    PeerError,
    ProtocolError,
)
from esps_portal.protocol.grammar import PLAIN_OK, TLS_ALERT, encode_args, encode_text_args
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.lines import EMPTY_LINES, LineSplitter, TooLong
from esps_portal.protocol.messages import (
    DATA,
    ERR,
    EXPECTS_TLS,
    OK,
    Notice,
    Reply,
    parse_answer_untrusted,
)
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.registry import VERSION
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: Bytes of one call's DATA lines that wait to be collected (own choice: some hundred thousand
#: short lines, more than the socket buffers of both sides hold).
MAX_BUFFERED = 64 * 1024 * 1024
_match_plain_ok = PLAIN_OK.fullmatch

_GREETING_START = b"* "
# How many bytes of what is not ESPS/1 are kept for the error.
_MAX_QUOTED = 1024
# How many notices are kept until somebody asks for them (own choice: a portal has one or two).
_MAX_NOTICES = 4
# The one reason of a BYE after which answers still come.
_CLOSING = b"closing"
_EXPECTS_TLS = EXPECTS_TLS.encode()


class ClientConnection:
    """Requests in flight to one portal, and what it has sent.

    Args:
        tags: returns a new tag for each request; over UDP it must be hard to guess.
        limits: those of the portal, as far as known.
        max_buffered: bytes of one call's DATA lines that may wait to be collected.
    """

    def __init__(
        self,
        tags: Callable[[], bytes],
        limits: Limits | None = None,
        *,
        max_buffered: int = MAX_BUFFERED,
    ) -> None:
        self._tags = tags
        self._max_buffered = max_buffered
        limits = limits or Limits()
        self._max_line = limits.max_line
        self._splitter = LineSplitter(limits.max_line, limits.max_unterminated)
        self._pending: dict[bytes, PendingRequest] = {}
        # The first bytes received, until the greeting is complete.
        self._opening = b""
        #: The start of what came last that is not ESPS/1.
        self.rejected: bytes = b""
        #: Name and version of the portal's software; ``None`` before its greeting.
        self.product: bytes | None = None
        #: The reason of its ``* BYE``.
        self.bye_reason: str = ""
        #: Whether that is its last line, whether or not its FIN comes (ESPS-CLI-4).
        self.has_ended: bool = False
        # The last notices after the greeting: they may come before `on_notice` is called.
        self._notices: deque[Notice] = deque(maxlen=_MAX_NOTICES)
        self._on_notice: Callable[[Notice], None] = self._notices.append

    def ask(self, verb: str, args: Sequence[str | bytes]) -> PendingRequest:
        """Make a request; what is to be sent is its ``line``.

        Args:
            verb: 1 to 16 letters.

        Raises:
            TypeError: an argument is neither `str` nor `bytes`.
            ValueError: the line would be longer than the portal's `Limits.max_line`.
        """
        # To encode a verb changes nothing in it.
        tag, tokens = self._tags(), (verb, *args)
        try:
            encoded = encode_text_args(tokens)  # type: ignore[arg-type]  # nearly always
        except TypeError:
            encoded = encode_args(tuple(map(_as_bytes, tokens)))
        line = b"%b %b\n" % (tag, encoded)
        if len(line) > self._max_line:
            raise ValueError(f"the request would be longer than {self._max_line} bytes")
        self._pending[tag] = pending = PendingRequest(tag, line)
        return pending

    def forget(self, pending: PendingRequest) -> None:
        """Ignore what still comes for a request."""
        self._pending.pop(pending.tag, None)

    def resume(self, pending: PendingRequest) -> None:
        """Expect a reply again: the caller sends the request once more, padded."""
        pending.paddings += 1
        self.await_again(pending)

    def await_again(self, pending: PendingRequest) -> None:
        """Expect a reply again: what came was the answer to an earlier copy of the request."""
        pending.final = None
        pending.discard_rows()
        self._pending[pending.tag] = pending

    def cancellation(self, pending: PendingRequest) -> bytes:
        """Return the CANCEL line for a request. The reply to that line will be ignored."""
        return b"%b CANCEL %b\n" % (self._tags(), pending.tag)

    def receive_stream_untrusted(self, data: bytes) -> None:
        """Process data that has come over TCP.

        Raises:
            ProtocolError: the peer does not speak ESPS/1.
            ClosedError: it sent ``* BYE`` instead of its greeting.
        """
        if self.product is None:
            self._expect_greeting(data)
        else:
            # Nearly always it is exactly one plain OK line. The general parser does the same for
            # such a line, with three times the work.
            found = _match_plain_ok(data)
            if found is not None and self._splitter.is_whole(data) and not self.has_ended:
                tag, tokens = found.groups()
                pending = self._pending.pop(tag, None)
                if pending is not None:
                    pending.final = Reply(tag, OK, tuple(tokens.split()))
                return
        for line in self._splitter.feed(data):
            if self.has_ended:
                return  # nothing counts after its last line
            if not isinstance(line, bytes):
                self.rejected = line.head if isinstance(line, TooLong) else b""
                raise ProtocolError("too-long", "the peer sent an over-long line")
            if line in EMPTY_LINES:
                continue
            try:
                self._take(parse_answer_untrusted(line))
            except ProtocolError:
                self.rejected = (self._opening if self.product is None else line)[:_MAX_QUOTED]
                raise

    def _expect_greeting(self, data: bytes) -> None:
        """Reject another protocol by its first bytes: it may send no more, and no LF."""
        self._opening += data[: _MAX_QUOTED - len(self._opening)]
        if not _GREETING_START.startswith(self._opening.lstrip(b"\r\n")[: len(_GREETING_START)]):
            self.rejected = self._opening
            raise ProtocolError("bad-line", "the peer sent no * ESPS/1 greeting")

    def on_notice(self, function: Callable[[Notice], None]) -> None:
        """Have a function called with each notice that comes over TCP after the greeting.

        It is called at once with the last few notices that have come already.
        """
        self._on_notice = function
        while self._notices:
            function(self._notices.popleft())

    @property
    def unfinished(self) -> bytes:
        """The start of a line that has come over TCP without its end; it may be empty."""
        return self._splitter.unfinished[:_MAX_QUOTED]

    def peer_error(self, error: ProtocolError) -> PeerError:
        """Return the error to raise after `receive_stream_untrusted` has raised ``error``."""
        if self.product is None:
            return _not_greeted("the peer does not speak ESPS/1", self.rejected)
        return PeerError(f"the peer violates ESPS/1: {error.message}", self.rejected)

    def ended(self) -> EspsError:
        """Return the error to raise after the peer has ended the connection."""
        opening = self._opening.lstrip(b"\r\n")
        if self.product is None and opening:
            if b"\n" in opening:
                return _not_greeted("the peer does not speak ESPS/1", self._opening)
            ended = "the peer ended the connection within its first line"
            return _not_greeted(ended, self._opening)
        greeted = self.product is not None
        return ClosedError(self.bye_reason, greeted=greeted, unfinished=self.unfinished)

    def receive_datagram_untrusted(self, datagram: bytes) -> None:
        """Process a datagram. Anybody may have sent it, so a bad one is ignored."""
        try:
            answers = _parse_datagram_untrusted(datagram)
        except ProtocolError:
            self.rejected = datagram[:_MAX_QUOTED]
            return
        final = answers[-1]
        if isinstance(final, Notice):
            if len(answers) == 1:
                self._take_tag_in_use(final)
            return
        rows = [a for a in answers[:-1] if isinstance(a, Reply) and a.kind == DATA]
        if final.kind == DATA or len(rows) < len(answers) - 1:
            return
        if all(row.tag == final.tag for row in rows):
            for reply in (*rows, final):
                self._take_reply(reply)

    def _take(self, answer: Reply | Notice) -> None:
        if isinstance(answer, Notice):
            self._take_notice(answer)
        elif self.product is None:
            raise ProtocolError("bad-line", "the peer answered before it greeted")
        else:
            self._take_reply(answer)

    def _take_notice(self, notice: Notice) -> None:
        if self.product is not None:
            self._on_notice(notice)
        if notice.word == b"BYE":
            self.bye_reason = b" ".join(notice.args).decode("utf-8", "backslashreplace")
            if self.product is None:
                raise ClosedError(self.bye_reason)
            self.has_ended = self.has_ended or notice.args[:1] != (_CLOSING,)
        elif notice.word == VERSION and self.product is None:
            self.product = notice.args[0] if notice.args else b""
        else:
            self._take_tag_in_use(notice)

    def _take_tag_in_use(self, notice: Notice) -> None:
        """Take the one notice that answers a request: it names the request's tag."""
        if notice.tag_in_use is not None:
            self._take_reply(Reply(notice.tag_in_use, ERR, notice.args))

    def _take_reply(self, reply: Reply) -> None:
        pending = self._pending.get(reply.tag)
        if pending is None:
            return
        if reply.kind == DATA:
            pending.add_row(reply.args, self._max_buffered)
        else:
            pending.final = reply
        if pending.is_over:
            del self._pending[reply.tag]


def _parse_datagram_untrusted(datagram: bytes) -> list[Reply | Notice]:
    if not datagram.endswith(b"\n"):
        raise ProtocolError("bad-line", "a datagram must end with an LF")
    return [parse_answer_untrusted(line) for line in datagram[:-1].split(b"\n")]


def _not_greeted(message: str, received: bytes) -> PeerError:
    """Return the error for what has come in place of a greeting."""
    if received.startswith((TLS_ALERT, _EXPECTS_TLS)):
        return PeerError("the peer expects TLS: use esps+tls://", received)
    return PeerError(message, received)


def _as_bytes(arg: str | bytes) -> bytes:
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, bytes):
        return arg
    raise TypeError(f"an argument must be str or bytes, not {type(arg).__name__}")
