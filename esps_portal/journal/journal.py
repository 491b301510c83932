"""The journal: everything that happened to a portal, a proxy or a peer, in order and bounded.

It keeps a record of each connection, each request and each exchange. A record says when it changed,
by a number that counts all changes. Entries are made from the records when somebody asks for them,
so that keeping a journal costs each request little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from esps_portal.journal.entries import entries_of, opening_event
from esps_portal.journal.kept_calls import KeptCalls
from esps_portal.journal.kept_exchanges import KeptExchanges
from esps_portal.journal.records import (
    RECEIVED,
    Entry,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
    RecordedUnit,
    Subject,
)
from esps_portal.journal.units import UnitCollector
from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.protocol.messages import Request

#: How many requests, and connections, are kept; older ones are forgotten, and counted.
MAX_KEPT = 10_000
#: Bytes of all requests that are kept, and of all exchanges; the oldest are forgotten. Own choice:
#: 10,000 requests of the length of a usual message (1,500 bytes) and their replies fit twice, and a
#: test runner has the memory.
MAX_KEPT_BYTES = 64 << 20

#: Called with each entry as it happens.
Sink = Callable[[Entry], None]
#: Called with what a side has sent, as it is read: the exchange, client or server, the bytes, and
#: the time in seconds since the start.
DataSink = Callable[[RecordedExchange, str, bytes, float], None]


class Journal:
    """Records of what happened; see the module.

    Args:
        max_calls: how many requests, exchanges and connections are kept.
        max_bytes: of all requests that are kept, and of all exchanges.
        keep_all_lines: keep all lines of each reply; otherwise the last ones only, which say how
            the request ended, for a reply may be long.

    Attributes:
        connections: the connections that are kept.
        start: when the portal started, in seconds of the server's clock.
        sinks: each is called with each entry as it happens, a unit once its end is known.
        data_sinks: each is called with all that is sent in exchanges, as it is read.
        waiters: those who wait for calls; the subject is the service.
        listeners: the lists of who is notified of each request as it comes: sinks and waiters.
        exchanges: the exchanges of any protocol that are kept.
        exchange_waiters: those who wait for exchanges.
        connection_waiters: those who wait for connections to open, or to end.
        units: collects what is sent in exchanges, for the sinks.
    """

    def __init__(
        self,
        max_calls: int = MAX_KEPT,
        *,
        keep_all_lines: bool = True,
        max_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self._keep_all_lines = keep_all_lines
        self._kept_calls = KeptCalls(max_calls, max_bytes)
        self.connections: deque[RecordedConnection] = deque(maxlen=max_calls)
        self.start: float = 0.0
        self.sinks: list[Sink] = []
        self.data_sinks: list[DataSink] = []
        self.waiters: Waiters = Waiters()
        self.listeners: tuple[Sequence[object], ...] = self.sinks, self.waiters.waiting
        self._kept_exchanges = KeptExchanges(max_calls, max_bytes)
        self.exchanges: deque[RecordedExchange] = self._kept_exchanges.exchanges
        self.exchange_waiters: Waiters = Waiters()
        self.connection_waiters: Waiters = Waiters()
        self.units: UnitCollector = UnitCollector(self._notify_unit)
        self._order = 0
        self._accepted = 0

    def clear(self) -> None:
        """Forget everything; the next connection is number 1."""
        self._kept_calls.clear()
        self.connections.clear()
        self._kept_exchanges.clear()
        self._accepted = 0
        self.waiters.restart()
        self.exchange_waiters.restart()
        self.connection_waiters.restart()

    def abandon_waits(self) -> None:
        """End every wait; see `Waiters.abandon`."""
        self.waiters.abandon()
        self.exchange_waiters.abandon()
        self.connection_waiters.abandon()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self.waiters.end()
        self.exchange_waiters.end()
        self.connection_waiters.end()

    def add_waiter(self, service: str | None, count: int, met: Callable[[], None]) -> Waiter:
        """Have ``met`` called, once, when a service was called ``count`` times; see `Waiter`."""
        return self.waiters.add(Waiter(service, count, met, len(self.calls_of(service))))

    @property
    def has_news(self) -> bool:
        """Whether anything happened since `clear`; a connection that stayed open does not count."""
        return bool(self._kept_calls or self.exchanges) or any(
            not connection.is_kept or connection.closed_by for connection in self.connections
        )

    @property
    def forgotten(self) -> int:
        """How many requests and exchanges are no longer kept."""
        return self._kept_calls.forgotten + self._kept_exchanges.forgotten

    # -- what the server notes

    def opened(
        self, remote: tuple[str, int], now: float, *, is_kept: bool = False
    ) -> RecordedConnection:
        """A connection was accepted; ``is_kept``: it stayed open at a reset, with a new number."""
        self._order += 1
        self._accepted += 1
        at = now - self.start
        record = RecordedConnection(
            self._accepted, remote, at, order_opened=self._order, is_kept=is_kept
        )
        self.connections.append(record)
        self._notify(record.order_opened, at, opening_event(record), record)
        self.connection_waiters.notify(record)
        return record

    def closed(self, record: RecordedConnection, by: str, how: str, now: float) -> None:
        """A connection ended; ``by``: who closed first, client or portal; ``how``: fin or rst."""
        self._order += 1
        record.order_closed = self._order
        record.closed, record.closed_by, record.how = now - self.start, by, how
        self._notify(self._order, record.closed, "closed", record)
        self.connection_waiters.notify(record)

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
        """A request came, or a line that is not one.

        Args:
            data: the line, without its LF.
            state: as it is known already: ``replayed`` if the same request came again.
        """
        number = 0
        if connection is not None:
            number = connection.number
            connection.requests += 1
        self._order += 1
        at = now - self.start
        record = RecordedCall(transport, remote, number, data, request, at, self._order, state)
        record.keeps_all_lines = self._keep_all_lines
        self._kept_calls.add(record)
        if self.sinks:
            self._notify(self._order, at, RECEIVED, record)
        if self.waiters.waiting and record.is_call:
            self.waiters.notify(record.service)
        return record

    def added(self, record: RecordedCall, sent: bytes) -> None:
        """Lines of a reply were sent that are not its last."""
        record.add(sent)
        self._kept_calls.grown(len(sent))

    def ended(self, record: RecordedCall, state: str, sent: bytes, now: float) -> None:
        """A request was answered, or never will be. ``sent``: the last lines of the reply."""
        self._order += 1
        record.order_ended = self._order
        record.ended = now - self.start
        record.state = state
        self.added(record, sent)
        self._kept_calls.ended(record)
        if self.sinks:
            self._notify(self._order, record.ended, state, record)

    def answered(
        self, remote: tuple[str, int], connection: int, line: bytes, sent: bytes, now: float
    ) -> None:
        """Note a request that was answered at once; not while the journal `has_listeners`.

        Args:
            connection: its number; 0 over UDP. Its requests are counted by the caller.
        """
        order = self._order + 1
        self._order = order + 1
        self._kept_calls.add_answered((order, now - self.start, remote, connection, line, sent))

    def answered_together(
        self, remotes: Sequence[tuple[str, int]], lines: bytes, sent: bytes, now: float
    ) -> None:
        """Do what `answered` does, for requests over UDP with replies of one line each.

        Args:
            remotes: the address and port of each client.
            lines, sent: of each, with its LF.
        """
        order = self._order + 1
        self._order += 2 * len(remotes)
        self._kept_calls.add_turn((order, now - self.start, remotes, 0, lines, sent))

    def answers_on(
        self, connection: RecordedConnection
    ) -> Callable[[bytes, bytes, int, float], None]:
        """Return a function that does what `answered_together` does for one connection.

        It counts the requests of the connection too, and has little to look up: nearly every
        request of a test passes there. It takes their lines and replies, how many they are, and the
        time.
        """
        remotes, number = (connection.remote,), connection.number
        add_turn = self._kept_calls.add_turn

        def answered(lines: bytes, sent: bytes, count: int, now: float) -> None:
            order = self._order + 1
            self._order += 2 * count
            connection.requests += count
            add_turn((order, now - self.start, remotes * count, number, lines, sent))

        return answered

    @property
    def has_listeners(self) -> bool:
        """Whether somebody is notified of each entry as it happens."""
        return any(self.listeners)

    # -- what others ask

    @property
    def calls(self) -> list[RecordedCall]:
        """Every request that is kept, in order; the same records when asked again."""
        return self._kept_calls.records()

    def entries(self) -> list[Entry]:
        """Return everything that is kept, in order."""
        return entries_of(self.connections, self.calls, self.exchanges)

    def calls_of(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of one service, or of all; a repeat over UDP is not a call."""
        return [c for c in self.calls if c.is_call and service in (None, c.service)]

    # -- exchanges of any protocol

    def began(
        self,
        transport: str,
        remote: tuple[str, int],
        connection: RecordedConnection,
        number: int,
        now: float,
    ) -> RecordedExchange:
        """An exchange began; `sent` has what is sent in it."""
        self._order += 1
        at = now - self.start
        exchange = RecordedExchange(
            transport, remote, connection.number, number, at, order_started=self._order
        )
        connection.requests += number > 0
        self._kept_exchanges.add(exchange)
        return exchange

    def sent(
        self,
        exchange: RecordedExchange,
        sender: str,
        data: bytes,
        now: float,
        *,
        is_whole: bool = False,
    ) -> None:
        """One side sent something; ``sender``: client or server.

        Args:
            is_whole: it is a whole datagram or frame, rather than the bytes of one read.
        """
        if sender == "client":
            size = exchange.add_request(data)
        else:
            size = exchange.add_reply(data)
            exchange.answered = now - self.start
            if not exchange.order_answered:
                self._order += 1
                exchange.order_answered = self._order
        self._kept_exchanges.grown(exchange, size)
        for write in self.data_sinks:
            write(exchange, sender, data, now - self.start)
        if self.sinks:
            add = self.units.add_whole if is_whole else self.units.add
            add(exchange, sender, data, now - self.start)
        if self.exchange_waiters.waiting and sender == "client":
            self.exchange_waiters.notify(exchange)

    def delivered(self, exchange: RecordedExchange, now: float) -> None:
        """All that was read of a reply was sent to the client, after a fault has delayed it."""
        exchange.delivered = now - self.start

    def exchange_ended(self, exchange: RecordedExchange, now: float, *, complete: bool) -> None:
        """An exchange ended; the first end counts."""
        if exchange.ended is not None:
            return
        if self.sinks:
            self.units.end(exchange)
        self._order += 1
        exchange.order_ended, exchange.ended = self._order, now - self.start
        exchange.complete = complete or exchange.complete
        self._notify(self._order, exchange.ended, exchange.state, exchange)

    def flush(self) -> None:
        """Pass on to the sinks the bytes so far of units whose end is not known yet."""
        if self.sinks:
            self.units.flush()

    def add_sink(self, sink: Sink) -> None:
        """Notify a sink from now on; it does not get earlier bytes of units that go on."""
        self.flush()
        self.sinks.append(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop notifying a sink; before that it gets the bytes so far of units that go on."""
        self.units.flush()
        self.sinks.remove(sink)
        if not self.sinks:
            self.units.forget()

    def _notify_unit(self, unit: RecordedUnit, at: float) -> None:
        self._order += 1
        self._notify(self._order, at, "unit", unit)

    def _notify(self, order: int, at: float, event: str, subject: Subject) -> None:
        for sink in self.sinks:
            sink(Entry(order, at, event, subject))
