"""The server's rules for UDP: what is answered, how long an answer may be, what is remembered.

One datagram is one request; its reply is one datagram. Nothing here knows a socket or a clock:
sources are any hashable values, times are seconds on the carrier's clock.

Two bounds keep a portal from being an amplifier (spec, UDP): a reply is at most
`Limits.amplification` times its request and at most `Limits.max_datagram`. One memory, of
running calls and of the replies of calls that are not idempotent, makes a call happen at most once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

import attrs

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import (
    DATA,
    ERR,
    OK,
    Notice,
    Reply,
    Request,
    error_reply,
    looks_like_answer,
    parse_request_untrusted,
    readable_tag,
)
from esps_portal.protocol.registry import ERRORS, VERBS, hint_for_verb

# A datagram with one of these for its second token is an answer, and is never answered.
_ANSWERS = frozenset({OK, DATA, ERR})


@attrs.define
class DatagramAnswer:
    """All lines of one answer, and the substitute for where they do not fit.

    Attributes:
        lines: the datagram; empty where it is longer than any datagram may be.
        size: the length of all lines, whether kept or not.
        brief: an error without its words; ``None`` where the answer is not an error.
    """

    tag: bytes
    lines: bytes
    size: int
    brief: bytes | None

    @classmethod
    def of(cls, replies: Sequence[Reply | Notice], tag: bytes, limits: Limits) -> DatagramAnswer:
        """Join an answer's lines; keep no more of them than could ever be sent."""
        lines = b"".join([reply.encode() for reply in replies])
        size = len(lines)
        brief = _brief(replies[-1])
        return cls(tag, lines if size <= limits.max_datagram else b"", size, brief)

    def clamp(self, request_size: int, limits: Limits) -> bytes | None:
        """Return what may be sent for a request of ``request_size`` bytes, if anything may."""
        room = min(limits.amplification * request_size, limits.max_datagram)
        if self.size <= room:
            return self.lines
        if self.brief is not None:
            return self.brief if len(self.brief) <= room else None
        too_large = self._too_large(limits)
        line = too_large.encode()
        if len(line) > room:
            line = too_large.without_text(1).encode()
        return line if len(line) <= room else None

    def _too_large(self, limits: Limits) -> Reply:
        """NEEDED is the least request length that makes room, 0 where none does."""
        if self.size > limits.max_datagram:
            return Reply(self.tag, ERR, (b"too-large", b"0", b"use-tcp"))
        needed = -(-self.size // limits.amplification)
        return Reply(self.tag, ERR, (b"too-large", b"%d" % needed, b"pad the request to that"))


@attrs.define(eq=False)
class RememberedCall:
    """A call that is remembered: it runs, or its answer is kept for repeats."""

    key: tuple[Hashable, bytes]
    request: Request
    request_size: int
    #: Whether the answer is kept once it is ready; calls of idempotent services just run again.
    keeps: bool
    answer: DatagramAnswer | None = None
    expires: float = 0.0


@attrs.frozen
class Repeat:
    """A request that came again while it is remembered.

    Attributes:
        answer: what is sent again; `None`: silence, since the call still runs.
    """

    answer: bytes | None


class DatagramServer:
    """What a server does with each datagram, apart from what its services do."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Looked up for every datagram.
        self._longest = limits.max_line
        self._most, self._factor = limits.max_datagram, limits.amplification
        self._running: dict[tuple[Hashable, bytes], RememberedCall] = {}
        # In the order in which they expire: the window is the same for all.
        self._kept: OrderedDict[tuple[Hashable, bytes], RememberedCall] = OrderedDict()
        #: Set when the server shuts down: what has not begun is refused.
        self.closing = False

    @property
    def running(self) -> int:
        """How many calls run."""
        return len(self._running)

    @property
    def remembered(self) -> int:
        """How many calls are remembered, running ones included."""
        return len(self._running) + len(self._kept)

    def receive_untrusted(
        self, datagram: bytes, source: Hashable, now: float
    ) -> Request | Repeat | bytes | None:
        """Return the request to answer, or the datagram to send back, or ``None`` for silence.

        Raises nothing: a bad datagram is answered with an error, or with silence.
        """
        if self._kept:
            self._forget_expired(now)
        try:
            request = self._parse(datagram)
        except ProtocolError as error:
            return None if looks_like_answer(datagram) else self._reject(datagram, source, error)
        # Most are calls, and comparing is cheaper than a table: the octets' hash is never cached.
        is_call = request.verb == b"CALL"
        if not is_call and request.verb in _ANSWERS:
            return None
        if self._running or self._kept:
            key = (source, request.tag)
            if key in self._running or key in self._kept:
                return self._repeat(key, request, len(datagram), now)
        return request if is_call and not self.closing else self._check(request, datagram)

    def forget_all(self) -> None:
        """Forget the kept answers. Running calls go on."""
        self._kept.clear()

    def clamp_reply(
        self, replies: Sequence[Reply | Notice], tag: bytes, request_size: int
    ) -> bytes | None:
        """Return the datagram that answers a request of that size in bytes, if one may be sent."""
        if len(replies) == 1:
            line = replies[0].encode()
            size = len(line)
            if size <= self._most and size <= self._factor * request_size:
                return line
        return DatagramAnswer.of(replies, tag, self._limits).clamp(request_size, self._limits)

    def begin(
        self, request: Request, source: Hashable, request_size: int, *, keeps: bool, runs: bool
    ) -> RememberedCall | None:
        """Remember a call before it is executed; ``None`` means ``busy``.

        Args:
            keeps: the service is not idempotent.
            runs: the service is a task, and counts against ``max_in_flight``.
        """
        if self.remembered >= self._limits.max_remembered:
            return None
        if runs and len(self._running) >= self._limits.max_in_flight:
            return None
        call = RememberedCall((source, request.tag), request, request_size, keeps)
        self._running[call.key] = call
        return call

    def finish(self, call: RememberedCall, replies: Sequence[Reply], now: float) -> bytes | None:
        """Note that the call has ended; return the datagram to send, if one may be sent."""
        del self._running[call.key]
        answer = DatagramAnswer.of(replies, call.request.tag, self._limits)
        if call.keeps and not _came_before_execution(replies):
            call.answer = answer
            call.expires = now + self._limits.window
            self._kept[call.key] = call
        return answer.clamp(call.request_size, self._limits)

    def _check(self, request: Request, datagram: bytes) -> Request | bytes | None:
        """Refuse what the portal does not answer over UDP; let the rest through."""
        if self.closing:
            return self._refuse(request.tag, datagram, "closing", "the portal is closing")
        verb = VERBS.get(request.verb)
        if verb is None:
            hint = hint_for_verb(request.verb)
            return self._refuse(request.tag, datagram, "unknown-verb", hint)
        if not verb.udp:
            words = f"{request.verb.decode()} is about a connection"
            return self._refuse(request.tag, datagram, "use-tcp", words)
        return request

    def _parse(self, datagram: bytes) -> Request:
        if len(datagram) > self._longest:
            words = f"a line is at most {self._longest} bytes"
            raise ProtocolError("too-long", words)
        if not datagram.endswith(b"\n"):
            raise ProtocolError("bad-line", "a datagram is one line with its LF")
        return parse_request_untrusted(datagram[:-1])

    def _reject(self, datagram: bytes, source: Hashable, error: ProtocolError) -> bytes | None:
        tag = readable_tag(datagram.partition(b"\n")[0])
        if tag is None:
            return None
        if (source, tag) in self._running or (source, tag) in self._kept:
            return self.clamp_reply([error_reply(None, "tag-in-use", tag)], tag, len(datagram))
        return self._refuse(tag, datagram, error.code, error.message)

    def _repeat(
        self, key: tuple[Hashable, bytes], request: Request, size: int, now: float
    ) -> Repeat | bytes | None:
        """Answer a request that came again from memory; with silence while the call runs."""
        call = self._running.get(key) or self._kept[key]
        if call.request != request:
            return self.clamp_reply(
                [error_reply(None, "tag-in-use", request.tag)], request.tag, size
            )
        if call.answer is None:
            return Repeat(None)
        call.expires = now + self._limits.window
        self._kept.move_to_end(key)
        return Repeat(call.answer.clamp(size, self._limits))

    def _refuse(self, tag: bytes, datagram: bytes, code: str, words: str) -> bytes | None:
        return self.clamp_reply([error_reply(tag, code, words)], tag, len(datagram))

    def _forget_expired(self, now: float) -> None:
        while self._kept and next(iter(self._kept.values())).expires <= now:
            self._kept.popitem(last=False)


def _brief(answer: Reply | Notice) -> bytes | None:
    """Return an error without its words; the one notice sent over UDP has none."""
    if isinstance(answer, Notice):
        return answer.encode()
    if answer.kind != ERR:
        return None
    known = ERRORS.get(answer.args[0].decode("ascii", "replace"))
    return answer.without_text(known.machine_arguments if known else 0).encode()


def _came_before_execution(replies: Sequence[Reply]) -> bool:
    last = replies[-1]
    if last.kind != ERR or len(replies) > 1:  # what has sent DATA was executed, whatever it says
        return False
    known = ERRORS.get(last.args[0].decode("ascii", "replace"))
    return known is not None and known.executed == "no"
