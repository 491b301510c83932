"""The exchanges of a journal that match what a client has said."""

from __future__ import annotations

from esps_portal.faults.matching import Match
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedExchange


def exchanges_of(journal: Journal, match: Match | None) -> list[RecordedExchange]:
    """Return the exchanges that match what their client has said so far; ``None``: all."""
    return [e for e in journal.exchanges if match is None or is_asked_for(e, match)]


def is_asked_for(exchange: RecordedExchange, match: Match | None) -> bool:
    """Whether a client has said what matches, or anything; in exchange 0 it says nothing."""
    return exchange.number > 0 and (match is None or match.matches(exchange.request))
