"""The requests that a journal keeps, bounded in number and in bytes.

Nearly every request of a test is recorded here, so recording costs little. The number may exceed
its bound until somebody asks. Bytes are only added up, including those of records that are no
longer kept; once the sum exceeds its bound, all records are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, repeat
from typing import Any

import attrs

from esps_portal.journal.records import REPLIED, RecordedCall
from esps_portal.protocol.messages import readable_request

# What is forgotten at a time, as a share of the bound: so many bytes pass before the next count.
_FORGOTTEN_AT_ONCE = 4
# How many more than the bound are held, as a share of it, until so many are forgotten at once.
_HELD_BEYOND = 16

#: A request that was answered at once: its order, its time in seconds, the client's address and
#: port (over IPv6 maybe two numbers more), the number of its connection (0 over UDP), its line, and
#: its reply. A tuple costs a fraction of a record, and the garbage collector need not follow it.
Answered = tuple[int, float, tuple[Any, ...], int, bytes, bytes]


@attrs.define(eq=False)  # not frozen: that takes twice the time to make
class AnsweredTogether:
    """Requests that were answered at once, and together.

    Their text as it came and went costs a fraction of an object for each.

    Attributes:
        order: of the first; each takes two.
        at: when, in seconds.
        remotes: the client's address, for each.
        connection: as of `Answered`.
        lines, sent: of each, a line with its LF.
    """

    order: int
    at: float
    remotes: Sequence[tuple[Any, ...]]
    connection: int
    lines: bytes
    sent: bytes

    def __len__(self) -> int:
        return len(self.remotes)

    def __iter__(self) -> Iterator[Answered]:
        """Yield each as if it had been answered alone."""
        lines = self.lines.split(b"\n")
        replies = [line + b"\n" for line in self.sent.split(b"\n")]
        # Nothing follows the last LF of either; there are as many addresses as lines.
        rest = self.remotes, repeat(self.connection), lines, replies
        return zip(count(self.order, 2), repeat(self.at), *rest, strict=False)


class KeptCalls:
    """The latest requests, in order; the oldest are forgotten.

    Args:
        max_count: so many are kept.
        max_bytes: of all of them together, lines and replies. A reply that alone has more, and
            goes on, is kept from then on without its earlier lines.

    Attributes:
        calls: those that are held. Code that adds to it without `add` must call `added`.
    """

    __slots__ = ("_bytes", "_count", "_max_bytes", "_max_count", "_max_held", "_running", "calls")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.calls: deque[RecordedCall | Answered | AnsweredTogether] = deque()
        self._count = 0
        self._max_count = max_count
        self._max_held = max_count + max_count // _HELD_BEYOND
        # A sum: at least as many bytes as are held.
        self._bytes = 0
        self._max_bytes = max_bytes
        # Those that may grow, also if they are no longer kept: a sink may need them when they end.
        self._running: dict[RecordedCall, None] = {}

    def add(self, record: RecordedCall) -> None:
        """Keep a request whose reply is to come."""
        self.calls.append(record)
        self._running[record] = None
        self.added(1, len(record.data))

    def added(self, number: int, size: int) -> None:
        """So many requests are held in addition, with so many bytes."""
        self._count += number
        self._bytes += size
        if self._count > self._max_held:
            self._forget_beyond()
        if self._bytes > self._max_bytes:
            self._count_bytes()

    def grown(self, size: int) -> None:
        """The reply to one has so many bytes more."""
        self.added(0, size)

    def ended(self, record: RecordedCall) -> None:
        """The reply to one grows no more."""
        self._running.pop(record, None)

    def clear(self) -> None:
        """Forget all of them."""
        self.calls.clear()
        self._count = 0
        self._count_bytes()

    def __len__(self) -> int:
        """How many are kept."""
        self._forget_beyond()
        return self._count

    def records(self) -> list[RecordedCall]:
        """Return every request that is kept, in order; the same records when asked again."""
        self._forget_beyond()
        records: list[RecordedCall] = []
        for held in self.calls:
            if isinstance(held, RecordedCall):
                records.append(held)
            else:
                records += map(call_of, [held] if isinstance(held, tuple) else held)
        self.calls.clear()
        self.calls.extend(records)
        return records

    def _forget_beyond(self) -> None:
        """Forget the oldest, down to the bound."""
        calls = self.calls
        while self._count > self._max_count:
            oldest = calls[0]
            number = len(oldest) if isinstance(oldest, AnsweredTogether) else 1
            if number > self._count - self._max_count:
                self._divide_oldest()
            else:
                calls.popleft()
                self._count -= number

    def _divide_oldest(self) -> None:
        """Hold the oldest ones as if each had been answered alone."""
        oldest = self.calls[0]
        if isinstance(oldest, AnsweredTogether):
            self.calls.popleft()
            self.calls.extendleft(reversed([*oldest]))

    def _count_bytes(self) -> None:
        """Count the bytes that are held; forget the oldest if they are too many."""
        calls = self.calls
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
        remote=(remote[0], remote[1]),
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


def _size(call: RecordedCall | Answered | AnsweredTogether) -> int:
    if isinstance(call, RecordedCall):
        return call.kept
    if isinstance(call, AnsweredTogether):
        return len(call.lines) + len(call.sent)
    *_, line, sent = call
    return len(line) + len(sent)
