"""The journal: everything that happened to a portal, in order and bounded.

It holds one record for each connection and each request, and each record says when it changed, by
a number that counts all changes. The entries are derived from the records when somebody asks:
keeping a journal costs a request little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import attrs

from esps_portal.journal.records import (
    RECEIVED,
    REPLIED,
    Entry,
    RecordedCall,
    RecordedConnection,
)
from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.protocol.messages import Request, readable_request

#: Requests, and connections, that are kept; older ones are forgotten, and counted.
KEPT = 10_000

# Requests in a run; then a new one begins.
_RUN = 1000

#: A request that was answered at once: when, from whom, the number of the connection (0 over UDP),
#: its line, and what was sent. A tuple is made in a fraction of the time of a record, and is
#: nothing that the garbage collector has to follow.
Answered = tuple[float, tuple[str, int], int, bytes, bytes]


@attrs.define(eq=False)
class _Run:
    """Requests that were answered at once, nothing else having happened between.

    Attributes:
        order: of the first; each takes two, one as it came and one as it was answered.
        start: what their times are counted from.
        answered: they are added here, by the carriers.
    """

    order: int
    start: float
    answered: list[Answered] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self.answered)

    def records(self) -> Iterator[RecordedCall]:
        """Yield a record for each."""
        order = self.order
        for now, remote, connection, line, sent in self.answered:
            yield RecordedCall(
                transport="tcp" if connection else "udp",
                remote=remote,
                connection=connection,
                data=line,
                request=readable_request(line),
                received=now - self.start,
                order_received=order,
                state=REPLIED,
                ended=now - self.start,
                sent=sent,
                order_ended=order + 1,
            )
            order += 2


#: Takes each entry as it happens.
Sink = Callable[[Entry], None]


class Journal:
    """What happened, as records; see the module.

    Args:
        kept: how many requests, and connections.
        whole: keep all lines of an answer. Without that only the last ones are kept, for whoever
            needs to know how a request ended and no more: an answer may be long.
    """

    def __init__(self, kept: int = KEPT, *, whole: bool = True) -> None:
        self._kept = kept
        self._whole = whole
        # Records, and runs whose requests have none yet; together this many requests.
        self._calls: deque[RecordedCall | _Run] = deque()
        self._held = 0
        #: Where carriers add requests, see `begin_run`; `None` once anything else was noted.
        self.run: list[Answered] | None = None
        self._open: _Run | None = None
        self.connections: deque[RecordedConnection] = deque(maxlen=kept)
        #: When the portal started, on the carriers' clock.
        self.start: float = 0.0
        #: Told of each entry as it happens.
        self.sinks: list[Sink] = []
        #: Who waits for calls; see `watch`.
        self.waiters: Waiters = Waiters()
        self._order = 0
        self._accepted = 0
        self._requests = 0

    def clear(self) -> None:
        """Forget everything; connections are counted from 1 again."""
        self._end_run()
        self._calls.clear()
        self._held = 0
        self.connections.clear()
        self._accepted = self._requests = 0
        self.waiters.begin_anew()

    def end(self) -> None:
        """Tell whoever waits that nothing more will happen."""
        self.waiters.end()

    def add_waiter(self, service: str | None, count: int, met: Callable[[], None]) -> Waiter:
        """Have ``met`` called, once, when a service was called so often; see `Waiter`."""
        return self.waiters.begin(service, count, len(self.calls_of(service)), met)

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since it was empty, but for connections that were kept."""
        self._end_run()
        return bool(self._calls) or any(
            not connection.is_kept or connection.closed_by for connection in self.connections
        )

    @property
    def forgotten(self) -> int:
        """How many requests are no longer kept."""
        self._end_run()
        return self._requests - self._held

    # -- what carriers note

    def opened(
        self, remote: tuple[str, int], now: float, *, is_kept: bool = False
    ) -> RecordedConnection:
        """A connection was accepted; or has outlived a reset, and is numbered anew."""
        self._end_run()
        self._order += 1
        self._accepted += 1
        at = now - self.start
        record = RecordedConnection(
            self._accepted, remote, at, order_opened=self._order, is_kept=is_kept
        )
        self.connections.append(record)
        self._tell(record.order_opened, at, _opening(record), record)
        return record

    def closed(self, record: RecordedConnection, by: str, how: str, now: float) -> None:
        """A connection has ended; who closed first, and how."""
        self._end_run()
        self._order += 1
        record.order_closed = self._order
        record.closed, record.closed_by, record.how = now - self.start, by, how
        self._tell(self._order, record.closed, "closed", record)

    def received(  # noqa: PLR0913, PLR0917 - a request is that much, and an object costs time
        self,
        transport: str,
        remote: tuple[str, int],
        connection: RecordedConnection | None,
        data: bytes,
        request: Request | None,
        now: float,
        state: str = RECEIVED,
    ) -> RecordedCall:
        """A request came in, or a line that was meant as one; ``replayed`` is no call."""
        self._end_run()
        number = 0
        if connection is not None:
            number = connection.number
            connection.requests += 1
        self._order += 1
        self._requests += 1
        at = now - self.start
        record = RecordedCall(
            transport, remote, number, data, request, at, self._order, state, whole=self._whole
        )
        self._keep(record)
        if self.sinks:
            self._tell(self._order, at, RECEIVED, record)
        if self.waiters and record.is_call:
            self.waiters.see(record.service)
        return record

    def ended(self, record: RecordedCall, state: str, sent: bytes, now: float) -> None:
        """A request was answered, or never will be; `sent` are the lines that answered it."""
        self._end_run()
        self._order += 1
        record.order_ended = self._order
        record.ended = now - self.start
        record.state = state
        record.add(sent)
        if self.sinks:
            self._tell(self._order, record.ended, state, record)

    @property
    def is_heard(self) -> bool:
        """Whether somebody is told of each entry as it happens; if not, carriers may note runs."""
        return bool(self.sinks or self.waiters)

    def begin_run(self) -> list[Answered]:
        """Return where carriers add each request that they have answered at once.

        They may for as long as `run` is this list: until anything else is noted or asked.
        What came on a connection they count there.
        """
        if self.run is None or len(self.run) >= _RUN:
            self._end_run()
            self._open = _Run(self._order + 1, self.start)
            self.run = self._open.answered
        return self.run

    def _end_run(self) -> None:
        run, self._open, self.run = self._open, None, None
        if run is not None and run.answered:
            self._order += 2 * len(run)
            self._requests += len(run)
            self._keep(run)

    def _keep(self, kept: RecordedCall | _Run) -> None:
        calls = self._calls
        calls.append(kept)
        self._held += len(kept) if isinstance(kept, _Run) else 1
        while self._held > self._kept:
            oldest = calls[0]
            if isinstance(oldest, _Run) and self._held - len(oldest) < self._kept:
                # The rest of the run is younger, and stays.
                excess = self._held - self._kept
                del oldest.answered[:excess]
                oldest.order += 2 * excess
                self._held -= excess
                return
            calls.popleft()
            self._held -= len(oldest) if isinstance(oldest, _Run) else 1

    # -- what is asked of it

    @property
    def calls(self) -> list[RecordedCall]:
        """Every request that is kept, in order."""
        self._end_run()
        records: list[RecordedCall] = []
        for kept in self._calls:
            if isinstance(kept, _Run):
                records += kept.records()
            else:
                records.append(kept)
        # Asked again, the same records are returned.
        self._calls = deque(records)
        return records

    def entries(self) -> list[Entry]:
        """Return everything that is kept, in order."""
        return sorted(self._entries(), key=lambda entry: entry.order)

    def calls_of(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls, of one service or all; a repeat over UDP is not one."""
        return [c for c in self.calls if c.is_call and service in (None, c.service)]

    def _entries(self) -> Iterator[Entry]:
        for connection in self.connections:
            event = _opening(connection)
            yield Entry(connection.order_opened, connection.opened, event, connection)
            if connection.closed is not None:
                yield Entry(connection.order_closed, connection.closed, "closed", connection)
        for call in self.calls:
            yield Entry(call.order_received, call.received, RECEIVED, call)
            if call.ended is not None:
                yield Entry(call.order_ended, call.ended, call.state, call)

    def _tell(
        self, order: int, at: float, event: str, subject: RecordedConnection | RecordedCall
    ) -> None:
        for sink in self.sinks:
            sink(Entry(order, at, event, subject))


def _opening(connection: RecordedConnection) -> str:
    return "kept" if connection.is_kept else "opened"
