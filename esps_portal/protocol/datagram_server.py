"""The server's side of UDP: what is answered, how long a reply may be, what is remembered.

One datagram is one request; its reply is one datagram. Nothing here knows a socket or a clock: a
source is a value, and times are in seconds on the caller's clock.

Two bounds keep a portal from amplifying traffic (specification, section 7.2): a reply is at most
`Limits.amplification` times as long as its request, and at most `Limits.max_datagram` bytes. Calls
are remembered (`remembered_calls`), so that each is executed at most once (section 7.3). And an
exchange with another server always ends: see `refuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.encoded_reply import EncodedReply
from esps_portal.protocol.error_budget import ErrorBudget
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import (
    REPLY_KINDS,
    Notice,
    Reply,
    Request,
    error_reply,
    looks_like_answer,
    parse_request_untrusted,
    readable_tag,
)
from esps_portal.protocol.received_lines import FoundLine, PlainRequest, is_plain
from esps_portal.protocol.registry import VERBS, unknown_verb_text
from esps_portal.protocol.remembered_calls import RememberedCall, RememberedCalls
from esps_portal.protocol.shares import Source

_find_plain = grammar.FIND_PLAIN_DATAGRAMS.findall

# The ports below are those of a system's own services (RFC 6335 section 6).
_FIRST_USER_PORT = 1024


@attrs.frozen
class Repeat:
    """A remembered request has come again.

    Attributes:
        datagram: what to send again; ``None``: silence, because the call still runs.
    """

    datagram: bytes | None


@attrs.frozen
class Ignored:
    """An error that is not sent.

    Attributes:
        why: for a person.
    """

    why: str


#: What comes of a datagram that executes nothing; bytes are sent, and ``None`` is silence.
Unexecuted = Repeat | bytes | Ignored | None

_LOW_PORT = Ignored("no errors are sent to ports below 1024")
_TOO_MANY = Ignored("this address gets no more errors for now")


class DatagramServer:
    """Decides about each datagram of one server, and remembers calls.

    Pass a datagram to `receive_untrusted`. Of the `Request` that it may return, a call is reported
    with `begin` and `finish`; the reply to any other is made with `clamp_reply`. What
    `plain_requests` finds needs none of that, if `new_requests` has nothing against it.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Read for every datagram.
        self._max_line = limits.max_line
        self._max_datagram, self._amplification = limits.max_datagram, limits.amplification
        self._max_plain = min(limits.max_line, limits.max_datagram)
        self._calls = RememberedCalls(limits)
        # Looked into for every datagram.
        self._running, self._kept = self._calls.running, self._calls.kept
        self._error_budget = ErrorBudget(limits.error_rate, limits.error_burst)
        #: Whether the server shuts down: new requests are refused.
        self.closing = False

    @property
    def running(self) -> int:
        """The number of running calls."""
        return len(self._running)

    @property
    def remembered(self) -> int:
        """The number of remembered calls, including running ones."""
        return len(self._running) + len(self._kept)

    def receive_untrusted(
        self, datagram: bytes, source: Source, now: float
    ) -> Request | Unexecuted:
        """Return the request to execute, or what comes of a datagram that executes nothing.

        Raises nothing: a bad datagram gets an error, or silence.
        """
        if self._kept:
            self._calls.forget_expired(now)
        try:
            request = self._parse(datagram)
        except ProtocolError as error:
            if looks_like_answer(datagram):
                return None
            return self._reject(datagram, source, error, now)
        # Nearly all are CALL or PING, which need no check of the verb. Comparing is cheaper than a
        # lookup: the hash of bytes is not cached.
        is_usual = request.verb in (b"CALL", b"PING")
        if not is_usual and request.verb in REPLY_KINDS:
            return None  # it may be a reply (ESPS-UDP-7)
        if self._running or self._kept:
            key = (source, request.tag)
            if key in self._running or key in self._kept:
                return self._repeat(key, request, len(datagram), now)
        if is_usual and not self.closing:
            return request
        refusal = self._refusal(request)
        return self.refuse(refusal, len(datagram), source, now) if refusal else request

    def plain_requests(self, datagrams: Sequence[bytes]) -> list[FoundLine]:
        """Return, for each datagram, the plain request that it is, or something without a tag.

        A reply that has the arguments of one fits a datagram, and is shorter than its request.
        """
        longest = self._max_plain
        joined = b"\0".join((*datagrams, b""))
        # No plain request has a NUL, so with a NUL after each one expression finds them all.
        is_long = len(joined) > longest and max(map(len, datagrams)) > longest
        if is_long or joined.count(b"\0") > len(datagrams):
            possible = (len(d) <= longest and b"\0" not in d for d in datagrams)
            joined = b"".join(
                b"%b\0" % (datagram if may_be_plain else b"")
                for datagram, may_be_plain in zip(datagrams, possible, strict=True)
            )
        return _find_plain(joined)

    def new_requests(
        self, found: Sequence[FoundLine], sources: Iterable[Source], now: float
    ) -> list[PlainRequest]:
        """Return the first ones, as far as they may be executed without `receive_untrusted`.

        Ask again once a call has begun.
        """
        if self.closing:
            return []
        if self._kept:
            self._calls.forget_expired(now)
        requests: list[PlainRequest] = list(takewhile(is_plain, found))  # type: ignore[arg-type]  # they are
        if self._running or self._kept:
            keys = zip(sources, map(is_plain, requests), strict=False)
            for number, key in enumerate(keys):
                if key in self._running or key in self._kept:
                    return requests[:number]
        return requests

    def forget_all(self) -> None:
        """Forget the kept replies. Running calls stay remembered."""
        self._calls.forget_all()

    def clamp_reply(
        self, replies: Sequence[Reply | Notice], tag: bytes, request_size: int
    ) -> bytes | None:
        """Return the datagram for a reply, if one may be sent.

        What does not fit is replaced by a shorter error (ESPS-UDP-14 to ESPS-UDP-17).

        Args:
            replies: the lines of the reply.
            request_size: of the request's datagram, in bytes.
        """
        room = min(self._amplification * request_size, self._max_datagram)
        return EncodedReply.encode(replies, tag, room).clamp(request_size, self._limits)

    def refuse(
        self, error: Reply | Notice, request_size: int, source: Source, now: float
    ) -> bytes | Ignored | None:
        """Return the datagram for an error that says that nothing was executed, if one may be sent.

        Servers of other protocols live on errors: a reply of daytime or chargen is a line that is
        rejected, and the rejection one that is answered again. So their ports, which are low, get
        none, and no address gets many.
        """
        tag = error.tag if isinstance(error, Reply) else error.args[1]
        datagram = self.clamp_reply([error], tag, request_size)
        if datagram is None:
            return None
        if source[1] < _FIRST_USER_PORT:
            return _LOW_PORT
        return datagram if self._error_budget.take(source[0], now) else _TOO_MANY

    def begin(
        self,
        request: Request,
        source: Source,
        request_size: int,
        *,
        keep_reply: bool,
        is_async: bool,
    ) -> RememberedCall | None:
        """Remember a call before it is executed; ``None``: refuse it with ``busy``.

        Args:
            request_size: of the request's datagram, in bytes.
            keep_reply: whether the service is not idempotent.
            is_async: whether the service is async, and counts against `Limits.max_in_flight`.
        """
        return self._calls.begin(
            request, source, request_size, keep_reply=keep_reply, is_async=is_async
        )

    def finish(self, call: RememberedCall, replies: Sequence[Reply], now: float) -> bytes | None:
        """Note that a call has ended; return the datagram for its reply, if one may be sent."""
        reply = EncodedReply.encode(replies, call.request.tag, self._max_datagram)
        self._calls.finish(call, reply, now)
        return reply.clamp(call.request_size, self._limits)

    def _refusal(self, request: Request) -> Reply | None:
        """Return the error that refuses a request; ``None``: it may be executed over UDP."""
        if self.closing:
            return error_reply(request.tag, "closing", "the portal is closing")
        verb = VERBS.get(request.verb)
        if verb is None:
            return error_reply(request.tag, "unknown-verb", unknown_verb_text(request.verb))
        if not verb.udp:
            text = f"{request.verb.decode()} works over TCP only"
            return error_reply(request.tag, "use-tcp", text)
        return None

    def _parse(self, datagram: bytes) -> Request:
        if len(datagram) > self._max_line:
            raise ProtocolError("too-long", f"a line may have {self._max_line} bytes")
        if not datagram.endswith(b"\n"):
            raise ProtocolError("bad-line", "a datagram must be one line with its LF")
        return parse_request_untrusted(datagram[:-1])

    def _reject(
        self, datagram: bytes, source: Source, error: ProtocolError, now: float
    ) -> bytes | Ignored | None:
        line, lf, _ = datagram.partition(b"\n")
        # Without an LF a CR at the end is not part of a line's end: the line is not exactly a tag.
        tag = readable_tag(line) if lf or not line.endswith(b"\r") else _tag_before_space(line)
        if tag is None:
            return None
        refusal: Reply | Notice = error_reply(tag, error.code, error.message)
        if (source, tag) in self._running or (source, tag) in self._kept:
            refusal = error_reply(None, "tag-in-use", tag)
        return self.refuse(refusal, len(datagram), source, now)

    def _repeat(
        self, key: tuple[Source, bytes], request: Request, size: int, now: float
    ) -> Unexecuted:
        """Answer a request under a remembered key."""
        call = self._running.get(key) or self._kept[key]
        if call.request != request:
            return self.refuse(error_reply(None, "tag-in-use", request.tag), size, key[0], now)
        if call.reply is None:
            return Repeat(None)
        self._calls.renew(call, now)
        return Repeat(call.reply.clamp(size, self._limits))


def _tag_before_space(line: bytes) -> bytes | None:
    return readable_tag(line) if b" " in line else None
