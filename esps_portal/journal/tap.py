"""Taps: they note in a journal the requests and replies that a proxy relays.

A tap gets the bytes of both directions, before they are relayed, and finds the reply to each
request. It changes nothing, waits for nothing and raises nothing. A request whose reply it cannot
find ends as aborted.
"""

from __future__ import annotations

from collections import deque

import attrs

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import ABORTED, REPLAYED, REPLIED, RecordedCall, RecordedConnection
from esps_portal.log import log
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.lines import EMPTY_LINES, LineSplitter, TooLong
from esps_portal.protocol.messages import (
    DATA,
    ERR,
    Notice,
    Reply,
    Request,
    parse_answer_untrusted,
    readable_request,
    readable_tag,
)

# The portal limits its lines; this bounds the memory for one line, in bytes.
_MAX_LINE = 1 << 20
# Memory for the pending requests of one connection and their reply lines, in bytes: thousands of
# pipelined requests, or one long stream. Each line counts _OVERHEAD for the objects that hold it.
_MAX_HELD = 32 << 20
_OVERHEAD = 512
# Over UDP: pending requests of one client, and answered ones, to recognise a repeat.
_MAX_PENDING = 1024
_MAX_ANSWERED = 256
# A line that is too long is cut; the journal shows this at the cut.
_TOO_LONG = b"(too long)"


@attrs.define(eq=False)
class _Pending:
    """A request that waits for its final reply, and the reply lines that have come.

    Attributes:
        state: what it becomes with that reply.
    """

    record: RecordedCall
    state: str = REPLIED
    lines: list[bytes] = attrs.field(factory=list)


class StreamTap:
    """The tap of one TCP connection.

    Args:
        remote: the client's address and port.
        now: the time in seconds, on the clock of the journal's start; as in every method.
    """

    def __init__(self, journal: Journal, remote: tuple[str, int], now: float) -> None:
        self._journal = journal
        #: What the journal has of it.
        self.connection: RecordedConnection = journal.opened(remote, now)
        self._requests = LineSplitter(_MAX_LINE, _MAX_LINE)
        self._replies = LineSplitter(_MAX_LINE, _MAX_LINE)
        # By tag; under None the lines without a readable tag. A client that pipelines may use a
        # tag again before the reply to the first request has come.
        self._pending: dict[bytes | None, deque[_Pending]] = {}
        self._held = 0
        self._has_given_up = False

    def from_client(self, data: bytes, now: float) -> None:
        """Note bytes from the client."""
        if self._has_given_up:
            return
        for event in self._requests.feed(data):
            if self._has_given_up:
                return
            if isinstance(event, TooLong):
                self._take_request(event.head + _TOO_LONG, None, now)
            elif isinstance(event, bytes) and event not in EMPTY_LINES:
                self._take_request(event, readable_request(event), now)

    def from_server(self, data: bytes, now: float) -> None:
        """Note bytes from the portal."""
        if self._has_given_up:
            return
        for event in self._replies.feed(data):
            if self._has_given_up:
                return
            if isinstance(event, TooLong):
                self._lose_reply(readable_tag(event.head), now)
            elif isinstance(event, bytes):
                self._take_reply(event, now)

    def closed(self, by: str, how: str, now: float) -> None:
        """Note the end of the connection: no more replies come."""
        self._give_up(now)
        self._journal.closed(self.connection, by, how, now)

    def _take_request(self, line: bytes, request: Request | None, now: float) -> None:
        connection = self.connection
        record = self._journal.received("tcp", connection.remote, connection, line, request, now)
        self._pending.setdefault(readable_tag(line), deque()).append(_Pending(record))
        self._hold(len(line) + _OVERHEAD, now)

    def _take_reply(self, line: bytes, now: float) -> None:
        try:
            reply = parse_answer_untrusted(line)
        except ProtocolError:
            return
        if isinstance(reply, Notice):
            self._take_notice(reply, line, now)
            return
        pending = self._pending.get(reply.tag)
        if not pending:
            return
        pending[0].lines.append(line + b"\n")
        if reply.kind == DATA:
            self._hold(len(line) + _OVERHEAD, now)
        else:
            self._end(reply.tag, 0, now)

    def _take_notice(self, notice: Notice, line: bytes, now: float) -> None:
        """Take an error for a request whose tag cannot be read, or is in use."""
        if notice.word != ERR:
            return
        tag = notice.tag_in_use
        pending = self._pending.get(tag)
        if pending:
            # The first request with that tag is the one in flight.
            position = 1 if tag is not None and len(pending) > 1 else 0
            pending[position].lines.append(line + b"\n")
            self._end(tag, position, now)

    def _lose_reply(self, tag: bytes | None, now: float) -> None:
        if self._pending.get(tag):
            self._end(tag, 0, now, is_lost=True)

    def _end(self, tag: bytes | None, position: int, now: float, *, is_lost: bool = False) -> None:
        pending = self._pending[tag]
        ended = pending[position]
        del pending[position]
        if not pending:
            del self._pending[tag]
        self._held -= len(ended.record.data) + _OVERHEAD
        self._held -= sum(len(line) + _OVERHEAD - 1 for line in ended.lines[:-1])
        _note_end(self._journal, ended, now, is_lost=is_lost)

    def _hold(self, size: int, now: float) -> None:
        self._held += size
        if self._held > _MAX_HELD:
            self._has_given_up = True
            log.warning(
                "connection %d: too many requests wait for replies; it is no longer recorded",
                self.connection.number,
            )
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        given_up = [pending for queue in self._pending.values() for pending in queue]
        self._pending.clear()
        for pending in sorted(given_up, key=lambda pending: pending.record.order_received):
            _note_end(self._journal, pending, now, is_lost=True)


class DatagramTap:
    """The tap of the datagrams between one client and the portal.

    Args:
        window: seconds after which a request without a reply is aborted.
    """

    def __init__(self, journal: Journal, remote: tuple[str, int], window: float) -> None:
        self._journal = journal
        self._remote = remote
        self._window = window
        # By tag, with the time when each came, in that order; a request whose tag another request
        # uses is under "*" and the tag.
        self._pending: dict[bytes, tuple[float, _Pending]] = {}
        # By tag, the hash of verb and arguments of those that have a reply.
        self._answered: dict[bytes, int] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether the client waits for a reply."""
        return bool(self._pending)

    def from_client(self, datagram: bytes, now: float) -> None:
        """Note a datagram from the client."""
        self._abort_old(now)
        line = datagram.removesuffix(b"\n")
        request = readable_request(line) if line != datagram else None
        record = self._journal.received("udp", self._remote, None, line, request, now)
        tag = readable_tag(line.partition(b"\n")[0])
        if tag is None:
            self._journal.ended(record, ABORTED, b"", now)  # it gets no reply
            return
        if tag in self._pending:
            _, first = self._pending[tag]
            if first.record.request == request:
                self._journal.ended(record, REPLAYED, b"", now)  # a repeat
                return
            tag = b"*" + tag
        pending = _Pending(record)
        if request is not None and self._answered.get(tag) == _hash(request):
            pending.state = REPLAYED
        before = self._pending.pop(tag, None)
        if before is not None:
            _note_end(self._journal, before[1], now, is_lost=True)
        self._pending[tag] = now, pending

    def from_server(self, datagram: bytes, now: float) -> None:
        """Note a datagram from the portal: all lines of one reply."""
        if not datagram.endswith(b"\n"):
            return
        try:
            last = parse_answer_untrusted(datagram[:-1].rpartition(b"\n")[2])
        except ProtocolError:
            return
        found = self._pending.pop(self._tag_of_request(last), None)
        if found is None:
            return
        _, pending = found
        pending.lines.append(datagram)
        _note_end(self._journal, pending, now)
        if pending.record.request is not None:
            self._remember(pending.record.request)

    def give_up(self, now: float) -> None:
        """Abort all pending requests: no more replies come."""
        for _, pending in self._pending.values():
            _note_end(self._journal, pending, now, is_lost=True)
        self._pending.clear()

    def _tag_of_request(self, last: Reply | Notice) -> bytes:
        if isinstance(last, Reply):
            return last.tag
        tag = last.tag_in_use
        if tag is None:
            return b""
        return b"*" + tag if b"*" + tag in self._pending else tag

    def _remember(self, request: Request) -> None:
        self._answered.pop(request.tag, None)
        self._answered[request.tag] = _hash(request)
        if len(self._answered) > _MAX_ANSWERED:
            del self._answered[next(iter(self._answered))]

    def _abort_old(self, now: float) -> None:
        """Abort requests that are older than the window, and the oldest of too many."""
        while self._pending:
            tag, (since, pending) = next(iter(self._pending.items()))
            if now - since < self._window and len(self._pending) < _MAX_PENDING:
                return
            del self._pending[tag]
            _note_end(self._journal, pending, now, is_lost=True)


def _note_end(journal: Journal, pending: _Pending, now: float, *, is_lost: bool = False) -> None:
    """Note how a request ended."""
    sent = b"".join(pending.lines)
    # A cancelled call is aborted, whatever the reply.
    cancelled = sent[sent.rfind(b"\n", 0, -1) + 1 :].split()[1:3] == [ERR, b"cancelled"]
    journal.ended(pending.record, ABORTED if is_lost or cancelled else pending.state, sent, now)


def _hash(request: Request) -> int:
    return hash((request.verb, request.args))
