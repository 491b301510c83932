"""When the command `proxy` writes what has come of units that go on."""

from __future__ import annotations

import math

import trio
import trio.testing

from esps_portal.cli.proxy import flush_units
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import Entry, RecordedUnit

REMOTE = ("192.0.2.7", 50_001)


async def assert_sleeps() -> None:
    """Nothing has a time at which it goes on."""
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


async def test_nothing_wakes_a_proxy_that_has_nothing_to_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    got: list[tuple[bytes, bool]] = []

    def write(entry: Entry) -> None:
        if isinstance(entry.subject, RecordedUnit):
            got.append((entry.subject.data, entry.subject.continues))

    journal = Journal()
    journal.sinks.append(write)
    exchange = journal.began("tcp", REMOTE, journal.opened(REMOTE, 0), 1, 0)
    journal.sent(exchange, "client", b"G", 0)  # a client may be faster than the task
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flush_units, journal)
        await assert_sleeps()
        assert got == [(b"G", True)]
        for data in (b"E", b"T"):
            journal.sent(exchange, "client", data, 1)
            await trio.sleep(1)
            assert got[-1] == (data, True)
            await assert_sleeps()
        journal.exchange_ended(exchange, 4, complete=False)
        await assert_sleeps()
        nursery.cancel_scope.cancel()
