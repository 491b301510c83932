"""Finds exchanges and connections in a journal, and waits for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from esps_portal.faults.matching import Match
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection, RecordedExchange
from esps_portal.journal.waiters import MatchWaiter


def exchanges_of(journal: Journal, match: Match | None) -> list[RecordedExchange]:
    """Return the exchanges that match what their client has sent so far; ``None``: all."""
    return [e for e in journal.exchanges if match is None or is_asked_for(e, match)]


def is_asked_for(exchange: RecordedExchange, match: Match | None) -> bool:
    """Whether a client has sent what matches, or anything; in exchange 0 it sends nothing."""
    return exchange.number > 0 and (match is None or match.matches(exchange.request))


def add_exchange_waiter(
    journal: Journal,
    is_wanted: Callable[[RecordedExchange], bool],
    count: int,
    met: Callable[[], None],
) -> MatchWaiter[RecordedExchange]:
    """Call ``met`` once this many exchanges match, including earlier ones: maybe at once."""
    waiter = MatchWaiter.over(journal.exchanges, is_wanted, count, met)
    return journal.exchange_waiters.add(waiter)


def connections_of(journal: Journal, *, closed: bool) -> list[RecordedConnection]:
    """Return the connections that have opened, or those that have ended too."""
    return [each for each in journal.connections if has_come(each, closed=closed)]


def has_come(connection: RecordedConnection, *, closed: bool) -> bool:
    """Whether a connection has opened, or, if it is to be closed, has ended."""
    return not closed or connection.closed is not None


def add_connection_waiter(
    journal: Journal, count: int, met: Callable[[], None], *, closed: bool
) -> MatchWaiter[RecordedConnection]:
    """Call ``met`` once this many connections have opened, or ended: maybe at once."""
    is_wanted = partial(has_come, closed=closed)
    waiter = MatchWaiter.over(journal.connections, is_wanted, count, met)
    return journal.connection_waiters.add(waiter)
