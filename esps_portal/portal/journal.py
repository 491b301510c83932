"""The journal: everything that happened to a portal, in order and bounded.

It holds one record for each connection and each request, and each record says when it changed, by
a number that counts all changes. The entries are read off the records when somebody asks: so that
to keep a journal costs a request little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from esps_portal.portal.records import (
    RECEIVED,
    REPLAYED,
    REPLIED,
    Entry,
    RecordedCall,
    RecordedConnection,
)
from esps_portal.protocol.messages import Request, readable_request

#: Requests, and connections, that are kept; older ones are forgotten, and counted.
KEPT = 10_000

# What was answered at once, as it is kept until somebody asks: order, seconds, peer, connection,
# the line, what was sent. A tuple of such is made in a fraction of the time of a record, and the
# garbage collector has nothing to look for in it.
_Answered = tuple[int, float, tuple[str, int], int, bytes, bytes]

#: Takes each entry as it happens.
Sink = Callable[[Entry], None]


class Journal:
    """What happened, as records; see the module."""

    def __init__(self, kept: int = KEPT) -> None:
        self._calls: deque[RecordedCall | _Answered] = deque(maxlen=kept)
        self.connections: deque[RecordedConnection] = deque(maxlen=kept)
        #: When the portal started, on the carriers' clock.
        self.start = 0.0
        #: Told of each entry as it happens.
        self.sinks: list[Sink] = []
        #: Told that something happened; each is dropped when it returns true.
        self.watchers: list[Callable[[], bool]] = []
        #: Nothing happens any more.
        self.has_ended = False
        self._order = 0
        self._accepted = 0
        self._requests = 0

    def clear(self) -> None:
        """Forget everything; connections are counted from 1 again."""
        self._calls.clear()
        self.connections.clear()
        self._accepted = self._requests = 0

    def end(self) -> None:
        """Tell whoever watches that nothing happens any more."""
        self.has_ended = True
        self._tell_watchers()

    @property
    def forgotten(self) -> int:
        """How many requests are no longer kept."""
        return self._requests - len(self._calls)

    # -- what carriers note

    def opened(self, peer: tuple[str, int], now: float) -> RecordedConnection:
        """A connection was accepted."""
        self._order += 1
        self._accepted += 1
        at = now - self.start
        record = RecordedConnection(self._accepted, peer, at, order_opened=self._order)
        self.connections.append(record)
        self._tell(record.order_opened, at, "opened", record)
        return record

    def closed(self, record: RecordedConnection, by: str, how: str, now: float) -> None:
        """A connection has ended; who closed first, and how."""
        self._order += 1
        record.order_closed = self._order
        record.closed, record.closed_by, record.how = now - self.start, by, how
        self._tell(self._order, record.closed, "closed", record)

    def received(  # noqa: PLR0913, PLR0917 - a request is that much, and an object costs time
        self,
        transport: str,
        peer: tuple[str, int],
        connection: RecordedConnection | None,
        data: bytes,
        request: Request | None,
        now: float,
    ) -> RecordedCall:
        """A request came in, or what was meant for one."""
        number = 0
        if connection is not None:
            number = connection.number
            connection.requests += 1
        self._order += 1
        self._requests += 1
        at = now - self.start
        record = RecordedCall(transport, peer, number, data, request, at, self._order)
        self._calls.append(record)
        if self.sinks or self.watchers:
            self._tell(self._order, at, RECEIVED, record)
        return record

    def ended(self, record: RecordedCall, state: str, sent: bytes, now: float) -> None:
        """A request was answered, or will never be; `sent` are the lines that answered it."""
        self._order += 1
        record.order_ended = self._order
        record.ended = now - self.start
        record.state = state
        record.sent += sent
        if self.sinks or self.watchers:
            self._tell(self._order, record.ended, state, record)

    def answered(
        self,
        peer: tuple[str, int],
        connection: RecordedConnection,
        data: bytes,
        sent: bytes,
        now: float,
    ) -> None:
        """A request came in over TCP and was answered at once: `received` and `ended` in one."""
        if self.sinks or self.watchers:
            request = readable_request(data)
            record = self.received("tcp", peer, connection, data, request, now)
            self.ended(record, REPLIED, sent, now)
            return
        order = self._order + 1
        self._order = order + 1
        self._requests += 1
        connection.requests += 1
        self._calls.append((order, now - self.start, peer, connection.number, data, sent))

    # -- what is asked of it

    @property
    def calls(self) -> list[RecordedCall]:
        """Every request that is kept, in order."""
        records = [_record(call) if isinstance(call, tuple) else call for call in self._calls]
        # Whoever asks again gets the same ones.
        self._calls.clear()
        self._calls.extend(records)
        return records

    def entries(self) -> list[Entry]:
        """Return everything that is kept, in order."""
        return sorted(self._entries(), key=lambda entry: entry.order)

    def calls_of(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls, of one service or all; a replay of a UDP reply is none."""
        return [
            call
            for call in self.calls
            if call.service and call.state != REPLAYED and service in (None, call.service)
        ]

    def _entries(self) -> Iterator[Entry]:
        for connection in self.connections:
            yield Entry(connection.order_opened, connection.opened, "opened", connection)
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
        if self.watchers:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        self.watchers[:] = [watcher for watcher in self.watchers if not watcher()]


def _record(answered: _Answered) -> RecordedCall:
    order, at, peer, connection, data, sent = answered
    return RecordedCall(
        transport="tcp",
        peer=peer,
        connection=connection,
        data=data,
        request=readable_request(data),
        received=at,
        order_received=order,
        state=REPLIED,
        ended=at,
        sent=sent,
        order_ended=order + 1,
    )
