"""The requests that a journal keeps: bounded in number and in bytes.

Nearly every request of a test is noted here, so that costs little: bytes are only added up, also
those of records that are no longer kept. Once the sum is above the bound all records are counted.
"""

from __future__ import annotations

from collections import deque

from esps_portal.journal.records import Answered, RecordedCall

# What is forgotten at a time, as a share of the bound: so many bytes pass before the next count.
_FORGOTTEN_AT_ONCE = 4


class KeptCalls:
    """The latest requests, in order; the oldest are forgotten.

    Args:
        max_count: so many are kept.
        max_bytes: of all of them together, lines and replies. A reply that alone has more, and
            goes on, is kept from then on without its earlier lines.

    Attributes:
        calls: those that are kept.
        bytes: at least as many as are kept. Whoever adds to ``calls`` without `add` adds to it
            too, and calls `count_bytes` when it is above ``max_bytes``.
    """

    __slots__ = ("_running", "bytes", "calls", "max_bytes")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.calls: deque[RecordedCall | Answered] = deque(maxlen=max_count)
        self.bytes: int = 0
        self.max_bytes: int = max_bytes
        # Those that may grow, also if they are no longer kept: a sink may need them when they end.
        self._running: dict[RecordedCall, None] = {}

    def add(self, record: RecordedCall) -> None:
        """Keep a request whose reply is to come."""
        self.calls.append(record)
        self._running[record] = None
        self._count(len(record.data))

    def grown(self, size: int) -> None:
        """The reply to one has so many bytes more."""
        self._count(size)

    def ended(self, record: RecordedCall) -> None:
        """The reply to one grows no more."""
        self._running.pop(record, None)

    def clear(self) -> None:
        """Forget all of them."""
        self.calls.clear()
        self.count_bytes()

    def _count(self, size: int) -> None:
        self.bytes += size
        if self.bytes > self.max_bytes:
            self.count_bytes()

    def count_bytes(self) -> None:
        """Count the bytes that are held; forget the oldest if they are too many."""
        calls = self.calls
        kept = {id(call) for call in calls}
        gone = [record for record in self._running if id(record) not in kept]
        self.bytes = sum(map(_size, calls)) + sum(map(_size, gone))
        if self.bytes <= self.max_bytes:
            return
        enough = self.max_bytes - self.max_bytes // _FORGOTTEN_AT_ONCE
        for record in gone:
            if self.bytes > enough:
                self._forget_lines(record)
        while self.bytes > enough and len(calls) > 1:
            oldest = calls.popleft()
            if isinstance(oldest, RecordedCall) and oldest in self._running:
                self._forget_lines(oldest)
            self.bytes -= _size(oldest)
        if self.bytes > enough and calls and isinstance(calls[0], RecordedCall):
            self._forget_lines(calls[0])

    def _forget_lines(self, record: RecordedCall) -> None:
        before = _size(record)
        record.forget_lines()
        self.bytes -= before - _size(record)


def _size(call: RecordedCall | Answered) -> int:
    if isinstance(call, RecordedCall):
        return call.kept
    *_, found, sent = call
    return len(sent) + (len(found) if isinstance(found, bytes) else sum(map(len, found)))
