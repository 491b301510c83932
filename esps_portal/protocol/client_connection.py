"""The client's side: which request an answer belongs to, over TCP and UDP alike.

A requester gives each request a tag, takes what comes back, and keeps it with the request until
somebody collects it. Notices and tags that it does not know are ignored, as the specification
asks. It knows no socket and no clock; tags come from its maker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from esps_portal.protocol.errors import (
    ClosedError,
    EspsError,
    PeerError,
    ProtocolError,
    ReplyError,
    SlowConsumerError,
)
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.lines import LineSplitter, TooLong
from esps_portal.protocol.messages import DATA, ERR, Notice, Reply, Request, parse_answer_untrusted
from esps_portal.protocol.registry import VERSION
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: Bytes of one call's DATA lines that are held for whoever is to collect them (own choice: some
#: hundred thousand short lines, which is more than the buffers of both systems hold).
MOST_HELD = 64 * 1024 * 1024
# What a line costs beside its octets, in bytes: a tuple and an object, in round figures.
_LINE_COSTS = 100

_EMPTY = (b"", b"\r")
# A greeting begins so; and so much of what comes in its place, or is no answer, is kept.
_GREETING = b"* "
_MOST_QUOTED = 1024


@attrs.define(eq=False)
class PendingRequest:
    """A request that was sent: what has come back, in order."""

    request: Request
    #: DATA lines that nobody has collected.
    rows: deque[tuple[bytes, ...]] = attrs.field(factory=deque)
    final: Reply | None = None
    #: Why the client itself has ended it, if it has.
    failure: EspsError | None = None
    #: What the rows take, in bytes.
    held: int = 0
    #: How often it was padded and sent again, to make room for its reply.
    paddings: int = 0

    @property
    def has_news(self) -> bool:
        """Whether there is something to collect."""
        return bool(self.rows) or self.is_over

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.final is not None or self.failure is not None

    def keep(self, row: tuple[bytes, ...], most: int) -> None:
        """Keep a DATA line to be collected; if that makes more than ``most`` bytes, fail."""
        self.rows.append(row)
        self.held += _cost(row)
        if self.held > most:
            self.discard_rows()
            self.failure = SlowConsumerError(
                f"the call was ended: over {most} bytes of its lines waited to be collected"
            )

    def collect(self) -> tuple[bytes, ...]:
        """Take the next DATA line."""
        row = self.rows.popleft()
        self.held -= _cost(row)
        return row

    def discard_rows(self) -> None:
        """Drop the DATA lines that have come."""
        self.rows.clear()
        self.held = 0

    def result(self) -> tuple[bytes, ...]:
        """Return the arguments of the final OK.

        Raises:
            ReplyError: it was an ERR.
            SlowConsumerError: the client has ended it.
        """
        if self.failure is not None:
            raise self.failure
        assert self.final is not None  # noqa: S101 - asked for only once it is there
        if self.final.kind == ERR:
            code, *words = self.final.args
            raise ReplyError(code.decode(), *words)
        return self.final.args


class ClientConnection:
    """Requests in flight towards one portal.

    Args:
        tags: yields a new tag for each request; over UDP it must be hard to guess.
        most_held: bytes of one call's DATA lines that are held.
    """

    def __init__(
        self,
        tags: Callable[[], bytes],
        limits: Limits | None = None,
        *,
        most_held: int = MOST_HELD,
    ) -> None:
        self._tags = tags
        self._most_held = most_held
        self._limits = limits or Limits()
        self._splitter = LineSplitter(self._limits.max_line, self._limits.max_unterminated)
        self._pending: dict[bytes, PendingRequest] = {}
        # What has come before the greeting.
        self._opening = b""
        #: The beginning of what came last that is not ESPS/1.
        self.rejected = b""
        #: What the portal calls itself, once it has greeted.
        self.product: bytes | None = None
        #: The word of its ``* BYE``.
        self.goodbye: str = ""

    def ask(self, verb: bytes, args: Iterable[str | bytes]) -> PendingRequest:
        """Make a request; its line is ``request.encode()``.

        Raises:
            TypeError: an argument is neither str nor bytes.
            ValueError: the line would be longer than a portal takes.
        """
        octets = tuple(_octets(arg) for arg in args)
        request = Request(self._tags(), verb, octets)
        if len(request.encode()) > self._limits.max_line:
            raise ValueError(f"the request would be longer than {self._limits.max_line} bytes")
        pending = PendingRequest(request)
        self._pending[request.tag] = pending
        return pending

    def forget(self, pending: PendingRequest) -> None:
        """Stop waiting for the answer; what still comes is ignored."""
        self._pending.pop(pending.request.tag, None)

    def resume(self, pending: PendingRequest) -> None:
        """Wait again for the answer: the request is sent once more, with room for its reply."""
        pending.final = None
        pending.paddings += 1
        self._pending[pending.request.tag] = pending

    def cancellation(self, pending: PendingRequest) -> bytes:
        """Return the line that cancels it. The answer to that line is ignored."""
        return Request(self._tags(), b"CANCEL", (pending.request.tag,)).encode()

    def receive_stream_untrusted(self, data: bytes) -> None:
        """Take what has come over TCP.

        Raises:
            ProtocolError: the peer does not speak ESPS/1.
            ClosedError: it said goodbye in place of its greeting.
        """
        if self.product is None:
            self._expect_greeting(data)
        for piece in self._splitter.feed(data):
            if not isinstance(piece, bytes):
                self.rejected = piece.head if isinstance(piece, TooLong) else b""
                raise ProtocolError("too-long", "the peer sent an over-long line")
            if piece in _EMPTY:
                continue
            try:
                self._take(parse_answer_untrusted(piece))
            except ProtocolError:
                self.rejected = (self._opening if self.product is None else piece)[:_MOST_QUOTED]
                raise

    def _expect_greeting(self, data: bytes) -> None:
        """Tell a stranger by its first bytes: it may send no more, and never end its line."""
        self._opening += data[: _MOST_QUOTED - len(self._opening)]
        if not _GREETING.startswith(self._opening.lstrip(b"\r\n")[: len(_GREETING)]):
            self.rejected = self._opening
            raise ProtocolError("bad-line", "the peer did not greet with * ESPS/1")

    def peer_error(self, error: ProtocolError) -> PeerError:
        """Return, for the caller, the error of a peer that sent what is not ESPS/1."""
        if self.product is None:
            return PeerError("the peer does not speak ESPS/1", self.rejected)
        return PeerError(f"the peer does not keep to ESPS/1: {error.message}", self.rejected)

    def ended(self) -> EspsError:
        """Return the error for the caller after the peer has ended the connection."""
        if self.product is None and self._opening.strip(b"\r\n"):
            return PeerError("the peer does not speak ESPS/1", self._opening)
        return ClosedError(self.goodbye, greeted=self.product is not None)

    def receive_datagram_untrusted(self, datagram: bytes) -> None:
        """Take what has come over UDP. Anybody may have sent it, so what is wrong is ignored."""
        try:
            answers = _parse_datagram_untrusted(datagram)
        except ProtocolError:
            self.rejected = datagram[:_MOST_QUOTED]
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
        if notice.word == b"BYE":
            self.goodbye = b" ".join(notice.args).decode("utf-8", "backslashreplace")
            if self.product is None:
                raise ClosedError(self.goodbye)
        elif notice.word == VERSION and self.product is None:
            self.product = notice.args[0] if notice.args else b""
        else:
            self._take_tag_in_use(notice)

    def _take_tag_in_use(self, notice: Notice) -> None:
        """Take the one notice that answers a request: it names the tag that it is about."""
        if notice.word == ERR and notice.args[:1] == (b"tag-in-use",) and len(notice.args) > 1:
            self._take_reply(Reply(notice.args[1], ERR, notice.args))

    def _take_reply(self, reply: Reply) -> None:
        pending = self._pending.get(reply.tag)
        if pending is None:
            return
        if reply.kind == DATA:
            pending.keep(reply.args, self._most_held)
        else:
            pending.final = reply
        if pending.is_over:
            del self._pending[reply.tag]


def _parse_datagram_untrusted(datagram: bytes) -> list[Reply | Notice]:
    if not datagram.endswith(b"\n"):
        raise ProtocolError("bad-line", "a datagram ends with its LF")
    return [parse_answer_untrusted(line) for line in datagram[:-1].split(b"\n")]


def _cost(row: tuple[bytes, ...]) -> int:
    return _LINE_COSTS + sum(map(len, row))


def _octets(arg: str | bytes) -> bytes:
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, bytes):
        return arg
    raise TypeError(f"an argument is str or bytes, not {type(arg).__name__}")
