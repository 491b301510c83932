"""What a sink gets of units that go on when it ends."""

from __future__ import annotations

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import Entry, RecordedExchange, RecordedUnit

REMOTE = ("192.0.2.7", 50_001)


class Units:
    """Keeps the units that it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, bool]] = []

    def write(self, entry: Entry) -> None:
        if isinstance(entry.subject, RecordedUnit):
            unit = entry.subject
            self.got.append((unit.sender, unit.data, unit.continues))


def begun(journal: Journal) -> RecordedExchange:
    return journal.began("tcp", REMOTE, journal.opened(REMOTE, 0), 1, 0)


def test_what_has_come_of_a_unit() -> None:
    journal, units, other = Journal(), Units(), Units()
    journal.sinks += [units.write, other.write]
    exchange = begun(journal)
    journal.sent(exchange, "client", b"GET n\n", 1)
    journal.sent(exchange, "server", b"on", 2)
    journal.remove_sink(units.write)
    assert units.got == [("client", b"GET n\n", False), ("server", b"on", True)]
    journal.sent(exchange, "server", b"e", 3)
    journal.exchange_ended(exchange, 4, complete=True)
    assert len(units.got) == 2
    assert other.got == [*units.got, ("server", b"e", False)]


def test_a_later_sink_gets_nothing_from_before() -> None:
    journal, units, later = Journal(), Units(), Units()
    journal.sinks.append(units.write)
    exchange = begun(journal)
    journal.sent(exchange, "client", b"GET", 1)
    journal.remove_sink(units.write)
    journal.sent(exchange, "client", b" nobody", 2)
    journal.sinks.append(later.write)
    journal.sent(exchange, "client", b" n\n", 3)
    journal.exchange_ended(exchange, 4, complete=False)
    assert units.got == [("client", b"GET", True)]
    assert later.got == [("client", b" n\n", False)]


def test_nor_does_one_that_is_added_beside_another() -> None:
    journal, units, later = Journal(), Units(), Units()
    journal.sinks.append(units.write)
    exchange = begun(journal)
    journal.sent(exchange, "client", b"GET", 1)
    journal.add_sink(later.write)
    journal.sent(exchange, "client", b" n\n", 2)
    journal.exchange_ended(exchange, 3, complete=False)
    assert units.got == [("client", b"GET", True), ("client", b" n\n", False)]
    assert later.got == [("client", b" n\n", False)]
