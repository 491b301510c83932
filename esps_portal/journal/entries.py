"""The entries of a journal: two for each record, one where it began and one where it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from esps_portal.journal.records import (
    RECEIVED,
    Entry,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
)


def opening_event(connection: RecordedConnection) -> str:
    """Return the event of a connection's first entry."""
    return "kept" if connection.is_kept else "opened"


def entries_of(
    connections: Iterable[RecordedConnection],
    calls: Iterable[RecordedCall],
    exchanges: Iterable[RecordedExchange],
) -> list[Entry]:
    """Return the entries of all records, in order."""
    entries = (*_of_connections(connections), *_of_calls(calls), *_of_exchanges(exchanges))
    return sorted(entries, key=lambda entry: entry.order)


def _of_connections(connections: Iterable[RecordedConnection]) -> Iterator[Entry]:
    for connection in connections:
        event = opening_event(connection)
        yield Entry(connection.order_opened, connection.opened, event, connection)
        if connection.closed is not None:
            yield Entry(connection.order_closed, connection.closed, "closed", connection)


def _of_calls(calls: Iterable[RecordedCall]) -> Iterator[Entry]:
    for call in calls:
        yield Entry(call.order_received, call.received, RECEIVED, call)
        if call.ended is not None:
            yield Entry(call.order_ended, call.ended, call.state, call)


def _of_exchanges(exchanges: Iterable[RecordedExchange]) -> Iterator[Entry]:
    for exchange in exchanges:
        yield Entry(exchange.order_started, exchange.started, RECEIVED, exchange)
        if exchange.answered is not None:
            # When it came, which is before it was known to be the whole reply.
            yield Entry(exchange.order_answered, exchange.answered, exchange.state, exchange)
        elif exchange.ended is not None:
            yield Entry(exchange.order_ended, exchange.ended, exchange.state, exchange)
