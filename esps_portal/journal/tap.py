"""What passes between a client and a portal, as the journal has it: seen by whoever carries it.

A tap is shown the octets of both directions, each before it is passed on, and tells requests from
answers, and which answer belongs to which request. It changes nothing, waits for nothing and
raises nothing. What it cannot tell it leaves out: such a request ends as aborted.
"""

from __future__ import annotations

import logging
from collections import deque

import attrs

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import ABORTED, REPLAYED, REPLIED, RecordedCall, RecordedConnection
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.lines import LineSplitter, TooLong
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

_log = logging.getLogger("esps_portal")

# How long a line may be is the portal's affair; ours is that a line takes bounded memory.
_MAX_LINE = 1 << 20
# What requests that wait for their answers may take, lines in both directions and what holds them,
# in bytes: some thousands of pipelined requests, or a long stream.
_MOST_HELD = 32 << 20
_OVERHEAD = 512
# Over UDP: requests of one client that wait, and those that are known to have been answered.
_MOST_WAITING = 1024
_MOST_ANSWERED = 256
# An over-long line is not kept: the journal has this much of it, and says why it is cut.
_TOO_LONG = b"(too long)"
_EMPTY = (b"", b"\r")


@attrs.define(eq=False)
class _Waiting:
    """A request that waits for its answer, and the lines of it that have come."""

    record: RecordedCall
    state: str = REPLIED
    lines: list[bytes] = attrs.field(factory=list)


class StreamTap:
    """Sees one TCP connection.

    Args:
        remote: the client's address and port.
        now: seconds, on the clock of the journal's start; as everywhere here.
    """

    def __init__(self, journal: Journal, remote: tuple[str, int], now: float) -> None:
        self._journal = journal
        self._connection: RecordedConnection = journal.opened(remote, now)
        self._requests = LineSplitter(_MAX_LINE, _MAX_LINE)
        self._answers = LineSplitter(_MAX_LINE, _MAX_LINE)
        # By tag; under None those that had none that could be read. A client that pipelines may
        # use a tag again before it has seen the answer to the first.
        self._waiting: dict[bytes | None, deque[_Waiting]] = {}
        self._held = 0
        self._is_lost = False

    def from_client(self, data: bytes, now: float) -> None:
        """See what the client has sent."""
        if self._is_lost:
            return
        for piece in self._requests.feed(data):
            if self._is_lost:
                return
            if isinstance(piece, TooLong):
                self._ask(piece.head + _TOO_LONG, None, now)
            elif isinstance(piece, bytes) and piece not in _EMPTY:
                self._ask(piece, readable_request(piece), now)

    def from_portal(self, data: bytes, now: float) -> None:
        """See what the portal has sent."""
        if self._is_lost:
            return
        for piece in self._answers.feed(data):
            if self._is_lost:
                return
            if isinstance(piece, TooLong):
                self._lose_answer(readable_tag(piece.head), now)
            elif isinstance(piece, bytes):
                self._answer(piece, now)

    def closed(self, by: str, how: str, now: float) -> None:
        """See the end: nothing is answered any more."""
        self._give_up(now)
        self._journal.closed(self._connection, by, how, now)

    def _ask(self, line: bytes, request: Request | None, now: float) -> None:
        connection = self._connection
        record = self._journal.received("tcp", connection.remote, connection, line, request, now)
        self._waiting.setdefault(readable_tag(line), deque()).append(_Waiting(record))
        self._hold(len(line) + _OVERHEAD, now)

    def _answer(self, line: bytes, now: float) -> None:
        try:
            answer = parse_answer_untrusted(line)
        except ProtocolError:
            return
        if isinstance(answer, Notice):
            self._take_notice(answer, line, now)
            return
        waiting = self._waiting.get(answer.tag)
        if not waiting:
            return
        waiting[0].lines.append(line + b"\n")
        if answer.kind == DATA:
            self._hold(len(line) + _OVERHEAD, now)
        else:
            self._end(answer.tag, 0, now)

    def _take_notice(self, notice: Notice, line: bytes, now: float) -> None:
        """Take an error about a request whose tag could not be read, or was in flight."""
        if notice.word != ERR:
            return
        tag = None
        if notice.args[:1] == (b"tag-in-use",) and len(notice.args) > 1:
            tag = notice.args[1]
        waiting = self._waiting.get(tag)
        if waiting:
            # The first of that tag is the one in flight.
            place = 1 if tag is not None and len(waiting) > 1 else 0
            waiting[place].lines.append(line + b"\n")
            self._end(tag, place, now)

    def _lose_answer(self, tag: bytes | None, now: float) -> None:
        if self._waiting.get(tag):
            self._end(tag, 0, now, lost=True)

    def _end(self, tag: bytes | None, place: int, now: float, *, lost: bool = False) -> None:
        waiting = self._waiting[tag]
        ended = waiting[place]
        del waiting[place]
        if not waiting:
            del self._waiting[tag]
        self._held -= len(ended.record.data) + _OVERHEAD
        self._held -= sum(len(line) + _OVERHEAD - 1 for line in ended.lines[:-1])
        _note(self._journal, ended, now, lost=lost)

    def _hold(self, size: int, now: float) -> None:
        self._held += size
        if self._held > _MOST_HELD:
            self._is_lost = True
            _log.warning(
                "connection %d: too much waits for answers; it is no longer recorded",
                self._connection.number,
            )
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        given_up = [waiting for row in self._waiting.values() for waiting in row]
        self._waiting.clear()
        for waiting in sorted(given_up, key=lambda waiting: waiting.record.order_received):
            _note(self._journal, waiting, now, lost=True)


class DatagramTap:
    """Sees the datagrams between one client and the portal.

    Args:
        window: seconds after which a request that was not answered never will be.
    """

    def __init__(self, journal: Journal, remote: tuple[str, int], window: float) -> None:
        self._journal = journal
        self._remote = remote
        self._window = window
        # By tag; under "*" and the tag those whose tag another request has in flight. In the
        # order in which they came.
        self._waiting: dict[bytes, tuple[float, _Waiting]] = {}
        # What was answered, as the hash of verb and arguments.
        self._answered: dict[bytes, int] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether the client waits for an answer."""
        return bool(self._waiting)

    def from_client(self, datagram: bytes, now: float) -> None:
        """See a datagram of the client's."""
        self._forget(now)
        line = datagram.removesuffix(b"\n")
        request = readable_request(line) if line != datagram else None
        record = self._journal.received("udp", self._remote, None, line, request, now)
        tag = readable_tag(line.partition(b"\n")[0])
        if tag is None:
            self._journal.ended(record, ABORTED, b"", now)  # it is answered with silence
            return
        if tag in self._waiting:
            _, first = self._waiting[tag]
            if first.record.request == request:
                self._journal.ended(record, REPLAYED, b"", now)  # it was sent again
                return
            tag = b"*" + tag
        waiting = _Waiting(record)
        if request is not None and self._answered.get(tag) == _hash(request):
            waiting.state = REPLAYED
        before = self._waiting.pop(tag, None)
        if before is not None:
            _note(self._journal, before[1], now, lost=True)
        self._waiting[tag] = now, waiting

    def from_portal(self, datagram: bytes, now: float) -> None:
        """See a datagram of the portal's: all lines of one answer."""
        if not datagram.endswith(b"\n"):
            return
        try:
            last = parse_answer_untrusted(datagram[:-1].rpartition(b"\n")[2])
        except ProtocolError:
            return
        found = self._waiting.pop(self._answered_by(last), None)
        if found is None:
            return
        _, waiting = found
        waiting.lines.append(datagram)
        _note(self._journal, waiting, now)
        if waiting.record.request is not None:
            self._remember(waiting.record.request)

    def give_up(self, now: float) -> None:
        """Nothing is answered any more."""
        for _, waiting in self._waiting.values():
            _note(self._journal, waiting, now, lost=True)
        self._waiting.clear()

    def _answered_by(self, last: Reply | Notice) -> bytes:
        if isinstance(last, Reply):
            return last.tag
        if last.word == ERR and last.args[:1] == (b"tag-in-use",) and len(last.args) > 1:
            contested = b"*" + last.args[1]
            return contested if contested in self._waiting else last.args[1]
        return b""

    def _remember(self, request: Request) -> None:
        self._answered.pop(request.tag, None)
        self._answered[request.tag] = _hash(request)
        if len(self._answered) > _MOST_ANSWERED:
            del self._answered[next(iter(self._answered))]

    def _forget(self, now: float) -> None:
        """Give up what has waited for too long, and of too much the oldest."""
        while self._waiting:
            tag, (since, waiting) = next(iter(self._waiting.items()))
            if now - since < self._window and len(self._waiting) < _MOST_WAITING:
                return
            del self._waiting[tag]
            _note(self._journal, waiting, now, lost=True)


def _note(journal: Journal, waiting: _Waiting, now: float, *, lost: bool = False) -> None:
    """Note how a request has ended."""
    sent = b"".join(waiting.lines)
    # A call that was cancelled has ended, not been answered.
    cancelled = sent[sent.rfind(b"\n", 0, -1) + 1 :].split()[1:3] == [ERR, b"cancelled"]
    journal.ended(waiting.record, ABORTED if lost or cancelled else waiting.state, sent, now)


def _hash(request: Request) -> int:
    return hash((request.verb, request.args))
