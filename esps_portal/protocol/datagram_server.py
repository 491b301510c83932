"""The server's side of UDP: what is answered, how long a reply may be, what is remembered.

One datagram is one request; its reply is one datagram. Nothing here knows a socket or a clock:
a source is any hashable value, a time is in seconds on the clock of the caller.

Two bounds keep a portal from amplifying traffic (specification, section 7.2): a reply is at most
`Limits.amplification` times as long as its request, and at most `Limits.max_datagram` bytes.
Running calls are remembered, and so are the replies of calls that are not idempotent: so each call
is executed at most once (section 7.3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.encoded_reply import EncodedReply, known_error
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import (
    ERR,
    REPLY_KINDS,
    Notice,
    Reply,
    Request,
    error_reply,
    looks_like_answer,
    parse_request_untrusted,
    readable_tag,
)
from esps_portal.protocol.received_lines import PlainRequest
from esps_portal.protocol.registry import VERBS, unknown_verb_text

_match_plain = grammar.PLAIN_DATAGRAM.fullmatch


@attrs.define(eq=False)
class RememberedCall:
    """A call that runs, or whose reply is kept for repeats.

    Attributes:
        key: source and tag.
        request_size: in bytes.
        keep_reply: whether the reply is kept; a call of an idempotent service just runs again.
        expires: when the kept reply is forgotten.
    """

    key: tuple[Hashable, bytes]
    request: Request
    request_size: int
    keep_reply: bool
    reply: EncodedReply | None = None
    expires: float = 0.0


@attrs.frozen
class Repeat:
    """A remembered request has come again.

    Attributes:
        datagram: what to send again; ``None``: silence, because the call still runs.
    """

    datagram: bytes | None


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
        self._running: dict[tuple[Hashable, bytes], RememberedCall] = {}
        # Ordered by expiry, since the window is the same for all.
        self._kept: OrderedDict[tuple[Hashable, bytes], RememberedCall] = OrderedDict()
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
        self, datagram: bytes, source: Hashable, now: float
    ) -> Request | Repeat | bytes | None:
        """Return the request to execute, or the datagram to send, or ``None`` for silence.

        Raises nothing: a bad datagram gets an error, or silence.
        """
        if self._kept:
            self._forget_expired(now)
        try:
            request = self._parse(datagram)
        except ProtocolError as error:
            return None if looks_like_answer(datagram) else self._reject(datagram, source, error)
        # Nearly all are CALL or PING, which need no check of the verb. Comparing is cheaper than a
        # lookup: the hash of bytes is not cached.
        is_usual = request.verb in (b"CALL", b"PING")
        if not is_usual and request.verb in REPLY_KINDS:
            return None  # it may be a reply (ESPS-UDP-7)
        if self._running or self._kept:
            key = (source, request.tag)
            if key in self._running or key in self._kept:
                return self._repeat(key, request, len(datagram), now)
        return request if is_usual and not self.closing else self._check(request, datagram)

    def plain_requests(self, datagrams: Sequence[bytes]) -> list[PlainRequest | None]:
        """Return, of each datagram, the plain request that it is, if it is one.

        A reply that has the arguments of one fits a datagram, and is shorter than its request.
        """
        return [
            match.groups(b"") if match and len(datagram) <= self._max_plain else None  # type: ignore[misc]  # there are five
            for datagram, match in zip(datagrams, map(_match_plain, datagrams), strict=True)
        ]

    def new_requests(
        self, requests: Sequence[PlainRequest | None], sources: Iterable[Hashable], now: float
    ) -> list[PlainRequest]:
        """Return the first ones, as far as they may be executed without `receive_untrusted`.

        Ask again once a call has begun.
        """
        if self._kept:
            self._forget_expired(now)
        found: list[PlainRequest] = []
        remembers = bool(self._running or self._kept)
        for request, source in zip(requests, sources, strict=True):
            if request is None or self.closing:
                break
            if remembers:
                key = (source, request[0])
                if key in self._running or key in self._kept:
                    break
            found.append(request)
        return found

    def forget_all(self) -> None:
        """Forget the kept replies. Running calls stay remembered."""
        self._kept.clear()

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

    def begin(
        self,
        request: Request,
        source: Hashable,
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
        if self.remembered >= self._limits.max_remembered:
            return None
        if is_async and len(self._running) >= self._limits.max_in_flight:
            return None
        call = RememberedCall((source, request.tag), request, request_size, keep_reply)
        self._running[call.key] = call
        return call

    def finish(self, call: RememberedCall, replies: Sequence[Reply], now: float) -> bytes | None:
        """Note that a call has ended; return the datagram for its reply, if one may be sent."""
        del self._running[call.key]
        reply = EncodedReply.encode(replies, call.request.tag, self._max_datagram)
        if call.keep_reply and not _was_refused(replies):
            call.reply = reply
            call.expires = now + self._limits.window
            self._kept[call.key] = call
        return reply.clamp(call.request_size, self._limits)

    def _check(self, request: Request, datagram: bytes) -> Request | bytes | None:
        """Return the request if it may be executed over UDP, else the datagram that refuses it."""
        if self.closing:
            return self._refuse(request.tag, datagram, "closing", "the portal is closing")
        verb = VERBS.get(request.verb)
        if verb is None:
            text = unknown_verb_text(request.verb)
            return self._refuse(request.tag, datagram, "unknown-verb", text)
        if not verb.udp:
            text = f"{request.verb.decode()} works over TCP only"
            return self._refuse(request.tag, datagram, "use-tcp", text)
        return request

    def _parse(self, datagram: bytes) -> Request:
        if len(datagram) > self._max_line:
            raise ProtocolError("too-long", f"a line may have {self._max_line} bytes")
        if not datagram.endswith(b"\n"):
            raise ProtocolError("bad-line", "a datagram must be one line with its LF")
        return parse_request_untrusted(datagram[:-1])

    def _reject(self, datagram: bytes, source: Hashable, error: ProtocolError) -> bytes | None:
        tag = readable_tag(datagram.partition(b"\n")[0])
        if tag is None:
            return None
        if (source, tag) in self._running or (source, tag) in self._kept:
            return self._refuse_tag(tag, len(datagram))
        return self._refuse(tag, datagram, error.code, error.message)

    def _repeat(
        self, key: tuple[Hashable, bytes], request: Request, size: int, now: float
    ) -> Repeat | bytes | None:
        """Answer a request under a remembered key."""
        call = self._running.get(key) or self._kept[key]
        if call.request != request:
            return self._refuse_tag(request.tag, size)
        if call.reply is None:
            return Repeat(None)
        call.expires = now + self._limits.window
        self._kept.move_to_end(key)
        return Repeat(call.reply.clamp(size, self._limits))

    def _refuse(self, tag: bytes, datagram: bytes, code: str, text: str) -> bytes | None:
        return self.clamp_reply([error_reply(tag, code, text)], tag, len(datagram))

    def _refuse_tag(self, tag: bytes, request_size: int) -> bytes | None:
        return self.clamp_reply([error_reply(None, "tag-in-use", tag)], tag, request_size)

    def _forget_expired(self, now: float) -> None:
        while self._kept and next(iter(self._kept.values())).expires <= now:
            self._kept.popitem(last=False)


def _was_refused(replies: Sequence[Reply]) -> bool:
    """Whether a reply is an error that came before execution."""
    last = replies[-1]
    if last.kind != ERR or len(replies) > 1:  # after DATA it was executed, whatever the error
        return False
    known = known_error(last)
    return known is not None and known.executed == "no"
