"""The requests that a journal keeps, bounded in number and in bytes.

Nearly every request of a test is recorded here, so recording costs little: those that were answered
at once are kept as tuples, and some turns later as text. The number may exceed its bound until
somebody asks. Bytes are only added up, including those of records that are no longer kept; once the
sum exceeds its bound, all records are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

import attrs

from esps_portal.journal.records import REPLIED, RecordedCall
from esps_portal.protocol.messages import readable_request

# How much is forgotten at a time, as a share of the bound: that many bytes come before the next
# count.
_FORGOTTEN_AT_ONCE = 4
# How many turns are kept as tuples (own choice: their share of making them text costs little).
_MAX_TURNS = 64

#: A request that was answered at once: its order, its time in seconds, the client's address and
#: port, the number of its connection (0 over UDP), its line, and its reply. A tuple costs a part of
#: a record, and the garbage collector need not follow it.
Answered = tuple[int, float, tuple[str, int], int, bytes, bytes]

#: Requests that were answered at once, in one turn: the order of the first (each takes two), the
#: time, the client of each, their connection, their lines, and a reply of one line to each.
AnsweredTurn = tuple[int, float, Sequence[tuple[str, int]], int, bytes, bytes]


@attrs.define(eq=False)  # not frozen: that takes twice the time to make
class AnsweredText:
    """The requests of some turns. Their text costs a fraction of an object for each.

    Attributes:
        orders, times, remotes, connections: as in `AnsweredTurn`, of each turn.
        lines, sent: of all turns, each line with its LF.
        count: how many requests.
    """

    orders: tuple[int, ...]
    times: tuple[float, ...]
    remotes: tuple[Sequence[tuple[str, int]], ...]
    connections: tuple[int, ...]
    lines: bytes
    sent: bytes
    count: int

    @classmethod
    def of(cls, turns: list[AnsweredTurn]) -> AnsweredText:
        """Return the requests of one turn or more."""
        orders, times, remotes, connections, lines, sent = zip(*turns, strict=True)
        text = b"".join(lines), b"".join(sent)
        return cls(orders, times, remotes, connections, *text, sum(map(len, remotes)))

    def __iter__(self) -> Iterator[Answered]:
        """Yield each as if it had been answered alone."""
        lines, replies = iter(self.lines.split(b"\n")), iter(self.sent.split(b"\n"))
        turns = zip(self.orders, self.times, self.remotes, self.connections, strict=True)
        for first, at, remotes, connection in turns:
            for order, remote in zip(count(first, 2), remotes, strict=False):
                yield order, at, remote, connection, next(lines), next(replies) + b"\n"


class KeptCalls:
    """The latest requests, in order; the oldest are forgotten.

    Args:
        max_count: how many are kept.
        max_bytes: of all of them together, lines and replies. If a single reply grows beyond that,
            its earlier lines are forgotten.
    """

    __slots__ = (
        "_begun",
        "_bytes",
        "_calls",
        "_count",
        "_max_bytes",
        "_max_count",
        "_running",
        "_turns",
    )

    def __init__(self, max_count: int, max_bytes: int) -> None:
        # What is held, in order. The turns in `_turns` are later, and not counted yet.
        self._calls: deque[RecordedCall | Answered | AnsweredText] = deque()
        self._turns: list[AnsweredTurn] = []
        self._begun = 0
        self._count = 0
        self._max_count = max_count
        # A sum: at least as many bytes as are held.
        self._bytes = 0
        self._max_bytes = max_bytes
        # Those whose reply may grow, even if they are no longer kept: sinks get them at their end.
        self._running: dict[RecordedCall, None] = {}

    def add(self, record: RecordedCall) -> None:
        """Keep a request whose reply is to come."""
        self._running[record] = None
        self._add(record)

    def add_answered(self, answered: Answered) -> None:
        """Keep a request that was answered at once, with one line or more."""
        self._add(answered)

    def add_turn(self, turn: AnsweredTurn) -> None:
        """Keep the requests that were answered in a turn. Nearly all pass here."""
        self._turns.append(turn)
        if len(self._turns) == _MAX_TURNS:
            self._count_turns()

    def grown(self, size: int) -> None:
        """The reply to one has this many more bytes."""
        self._bytes += size
        if self._bytes > self._max_bytes:
            self._count_bytes()

    def ended(self, record: RecordedCall) -> None:
        """The reply to one grows no more."""
        self._running.pop(record, None)

    def clear(self) -> None:
        """Forget all of them, and how many there were."""
        self._turns.clear()
        self._calls.clear()
        self._begun = self._count = 0
        self._count_bytes()

    def __len__(self) -> int:
        """How many are kept."""
        self._count_turns()
        return min(self._count, self._max_count)

    @property
    def forgotten(self) -> int:
        """How many are no longer kept."""
        kept = len(self)
        return self._begun - kept

    def records(self) -> list[RecordedCall]:
        """Return every request that is kept, in order; the same records when asked again."""
        self._count_turns()
        records: list[RecordedCall] = []
        for held in self._calls:
            if isinstance(held, RecordedCall):
                records.append(held)
            else:
                records += map(call_of, [held] if isinstance(held, tuple) else held)
        del records[: -self._max_count]
        self._calls = deque(records)
        self._count = len(records)
        return records

    def _count_turns(self) -> None:
        """Count the latest turns, and hold them as text."""
        if self._turns:
            text = AnsweredText.of(self._turns)
            self._turns.clear()
            self._hold(text, text.count)

    def _add(self, call: RecordedCall | Answered) -> None:
        self._count_turns()
        self._hold(call, 1)

    def _hold(self, calls: RecordedCall | Answered | AnsweredText, count: int) -> None:
        """Hold ``count`` more; forget the oldest, as long as enough are held without them."""
        self._calls.append(calls)
        self._begun += count
        self._count += count
        while self._count > self._max_count:
            oldest = self._calls[0]
            oldest_count = oldest.count if isinstance(oldest, AnsweredText) else 1
            if self._count - oldest_count < self._max_count:
                break
            self._calls.popleft()
            self._count -= oldest_count
        self.grown(_size(calls))

    def _divide_oldest(self) -> None:
        """Hold the oldest ones as if each had been answered alone."""
        oldest = self._calls[0]
        if isinstance(oldest, AnsweredText):
            self._calls.popleft()
            self._calls.extendleft(reversed([*oldest]))

    def _count_bytes(self) -> None:
        """Count the bytes that are held; forget the oldest if they are too many."""
        calls = self._calls
        kept = {id(call) for call in calls}
        gone = [record for record in self._running if id(record) not in kept]
        self._bytes = sum(map(_size, calls)) + sum(map(_size, gone))
        if self._bytes <= self._max_bytes:
            return
        enough = self._max_bytes - self._max_bytes // _FORGOTTEN_AT_ONCE
        for record in gone:
            if self._bytes > enough:
                self._forget_lines(record)
        while self._bytes > enough and self._count > 1:
            self._divide_oldest()
            oldest = calls.popleft()
            self._count -= 1
            if isinstance(oldest, RecordedCall) and oldest in self._running:
                self._forget_lines(oldest)
            self._bytes -= _size(oldest)
        if self._bytes > enough and calls and isinstance(calls[0], RecordedCall):
            self._forget_lines(calls[0])

    def _forget_lines(self, record: RecordedCall) -> None:
        before = _size(record)
        record.forget_lines()
        self._bytes -= before - _size(record)


def call_of(answered: Answered) -> RecordedCall:
    """Return the record of a request that was answered at once."""
    order, at, remote, connection, line, sent = answered
    return RecordedCall(
        transport="tcp" if connection else "udp",
        remote=remote,
        connection=connection,
        data=line,
        request=readable_request(line),
        received=at,
        order_received=order,
        state=REPLIED,
        ended=at,
        sent=sent,
        sent_size=len(sent),
        order_ended=order + 1,
    )


def _size(call: RecordedCall | Answered | AnsweredText) -> int:
    if isinstance(call, RecordedCall):
        return call.kept
    if isinstance(call, AnsweredText):
        return len(call.lines) + len(call.sent)
    *_, line, sent = call
    return len(line) + len(sent)
