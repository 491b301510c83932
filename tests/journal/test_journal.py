"""The journal: in order, bounded, with waiters and a transcript."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import (
    ABORTED,
    FAULTED,
    RECEIVED,
    REPLAYED,
    REPLIED,
    Entry,
    RecordedCall,
    RecordedConnection,
)
from esps_portal.journal.transcript import transcript
from esps_portal.protocol.messages import readable_request

PEER = ("127.0.0.1", 5000)


def received(
    journal: Journal,
    line: bytes = b"a CALL price x",
    connection: RecordedConnection | None = None,
    now: float = 1,
) -> RecordedCall:
    transport = "udp" if connection is None else "tcp"
    return journal.received(transport, PEER, connection, line, readable_request(line), now)


def test_entries_are_in_order() -> None:
    journal = Journal()
    journal.start = 100
    connection = journal.opened(PEER, 100.5)
    first = received(journal, b"a CALL price", connection, 101)
    second = received(journal, b"b CALL count", connection, 102)
    journal.ended(second, REPLIED, b"b OK 1\n", 103)
    journal.ended(first, FAULTED, b"a OK\n", 104)
    journal.closed(connection, "client", "fin", 105)
    events = [(entry.at, entry.event, entry.subject) for entry in journal.entries()]
    assert events == [
        (0.5, "opened", connection),
        (1, RECEIVED, first),
        (2, RECEIVED, second),
        (3, REPLIED, second),
        (4, FAULTED, first),
        (5, "closed", connection),
    ]
    assert (connection.closed_by, connection.how, connection.requests) == ("client", "fin", 2)
    assert connection.is_reused


def test_without_listeners_the_entries_are_the_same() -> None:
    """Without listeners, a request that is answered at once is kept as a tuple."""
    quiet, watched = Journal(), Journal()
    notified: list[Entry] = []
    watched.sinks.append(notified.append)
    assert (quiet.has_listeners, watched.has_listeners) == (False, True)
    for journal in (quiet, watched):
        connection = journal.opened(PEER, 0)
        if journal.has_listeners:
            for tag in (b"a", b"b"):
                record = received(journal, tag + b" CALL echo x", connection, 2)
                journal.ended(record, REPLIED, tag + b" OK x\n", 2)
        else:
            journal.answered(PEER, 1, b"a CALL echo x", b"a OK x\n", 2)
            journal.answered(PEER, 1, b"b CALL echo x", b"b OK x\n", 2)
        record = received(journal, b"c CALL price", connection, 3)
        journal.ended(record, ABORTED, b"", 4)
    assert transcript(quiet) == transcript(watched)
    assert [entry.event for entry in quiet.entries()] == [entry.event for entry in notified]
    assert [entry.order for entry in quiet.entries()] == [entry.order for entry in notified]
    echo = quiet.calls_of("echo")[0]
    assert (echo.state, echo.args, echo.sent, echo.connection) == (REPLIED, (b"x",), b"a OK x\n", 1)
    assert quiet.calls_of("echo")[0] is echo


@pytest.mark.parametrize(
    "event",
    [
        lambda journal: journal.calls,
        lambda journal: journal.entries(),
        lambda journal: journal.forgotten,
        lambda journal: journal.opened(PEER, 0),
        lambda journal: journal.clear(),
        received,
    ],
)
def test_a_tuple_is_kept_in_order_whatever_comes_next(event: Callable[[Journal], object]) -> None:
    journal = Journal()
    journal.answered(PEER, 0, b"x PING", b"x OK\n", 1)
    event(journal)
    journal.answered(PEER, 0, b"y PING", b"y OK\n", 2)
    orders = [entry.order for entry in journal.entries()]
    assert orders == sorted(set(orders))
    assert [call.tag for call in journal.calls][-1] == "y"


@given(st.lists(st.integers(0, 4), max_size=150), st.integers(1, 200))
def test_a_journal_is_bounded(events: list[int], kept: int) -> None:
    """Each event is a request, or so many more that are answered in one turn."""
    journal = Journal(kept)
    remotes = PEER, ("127.0.0.2", 2)
    connections = [journal.opened(remote, 0, is_kept=True) for remote in remotes]
    answers = [journal.answers_on(connection) for connection in connections]
    expected: list[tuple[str, int]] = []
    for kind in events:
        lines = [b"%d PING" % (len(expected) + each) for each in range(max(1, kind - 1))]
        which = len(expected) % 2
        if kind == 0:
            received(journal, lines[0], connections[which])
        elif kind == 1:
            journal.answered(PEER, which + 1, lines[0], b"OK\n", 0)
        else:
            answers[which](b"\n".join([*lines, b""]), b"OK\n" * len(lines), len(lines), 0)
        expected += [(line.split()[0].decode(), which + 1) for line in lines]
    assert journal.has_news == bool(events)
    assert journal.forgotten == max(0, len(expected) - kept)
    assert [(call.tag, call.connection) for call in journal.calls] == expected[-kept:]
    orders = [entry.order for entry in journal.entries()]
    assert orders == sorted(set(orders))


@pytest.mark.parametrize("kept", [1, 2, 3, 9])
def test_many_plain_requests_are_noted_at_once_as_one_by_one(kept: int) -> None:
    one_by_one, at_once = Journal(kept), Journal(kept)
    for journal in (one_by_one, at_once):
        journal.opened(PEER, 0)
        journal.answered(PEER, 1, b"first PING", b"first OK\n", 1)
    one_by_one.answered(PEER, 0, b"a PING x\r", b"a OK x\n", 2)
    one_by_one.answered(PEER, 0, b"b CALL echo y z", b"b OK y z\n", 2)
    lines, sent = b"a PING x\r\nb CALL echo y z\n", b"a OK x\nb OK y z\n"
    at_once.answered_together([PEER, PEER], lines, sent, 2)
    for journal in (one_by_one, at_once):
        journal.answered(PEER, 1, b"last PING", b"last OK\n", 3)
    assert at_once.forgotten == one_by_one.forgotten == max(0, 4 - kept)
    assert [attrs.astuple(call) for call in at_once.calls] == [
        attrs.astuple(call) for call in one_by_one.calls
    ]


def test_forgotten_requests_are_counted() -> None:
    journal = Journal(max_calls=3)
    journal.opened(PEER, 0)
    for number in range(5):
        received(journal, b"t%d PING" % number)
    journal.answered(PEER, 1, b"t5 PING", b"t5 OK\n", 1)
    assert [call.tag for call in journal.calls] == ["t3", "t4", "t5"]
    assert journal.forgotten == 3
    assert transcript(journal).startswith("          (3 earlier requests are no longer kept)\n")
    for _ in range(5):
        journal.opened(PEER, 0)
    assert [record.number for record in journal.connections] == [4, 5, 6]


def test_clear_restarts_the_numbers() -> None:
    journal = Journal()
    received(journal, connection=journal.opened(PEER, 0))
    journal.clear()
    assert (journal.entries(), journal.forgotten) == ([], 0)
    assert journal.opened(PEER, 0).number == 1


def test_a_record_parses_its_request() -> None:
    journal = Journal()
    call = received(journal, b"a CALL price sku-1 %FF")
    assert (call.verb, call.tag, call.service) == ("CALL", "a", "price")
    assert call.args == (b"sku-1", b"\xff")
    ping = received(journal, b"b PING x")
    assert (ping.verb, ping.service, ping.args) == ("PING", "", (b"x",))
    nothing = received(journal, b"b  PING")
    assert (nothing.verb, nothing.tag, nothing.service, nothing.args) == ("", "b", "", ())
    bare = received(journal, b"c CALL")
    assert (bare.service, bare.args) == ("", ())
    assert [found.tag for found in journal.calls_of()] == ["a"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", ""),
        (b"a OK ERR busy\n", ""),
        (b"a ERR busy try again\n", "busy"),
        (b"a DATA 1\na ERR x-no\n", "x-no"),
        (b"* ERR bad-line\n", "bad-line"),
    ],
)
def test_the_error_code_of_the_reply(sent: bytes, code: str) -> None:
    journal = Journal()
    call = received(journal)
    journal.ended(call, REPLIED, sent, 2)
    assert call.code == code


def test_lines_of_a_reply_are_joined() -> None:
    journal = Journal()
    call = received(journal)
    call.add(b"a DATA 1\n")
    journal.ended(call, REPLIED, b"a OK\n", 2)
    assert call.sent == b"a DATA 1\na OK\n"


def test_a_long_reply_is_not_copied_for_each_line() -> None:
    call = received(Journal())
    start = time.process_time()
    for _ in range(10_000):
        call.add(b"x" * 1000)
    assert time.process_time() - start < 1, "it takes 5 ms; with copies, 10 s"
    assert len(call.sent) == 10_000_000


def test_only_the_last_lines_of_a_reply_may_be_kept() -> None:
    journal = Journal(keep_all_lines=False)
    call = received(journal)
    for _ in range(3):
        call.add(b"a DATA 1\n")
    journal.ended(call, REPLIED, b"a ERR busy\n", 2)
    assert (call.sent, call.code) == (b"a ERR busy\n", "busy")


def test_a_repeat_is_no_call() -> None:
    journal = Journal()
    journal.ended(received(journal), REPLIED, b"a OK\n", 1)
    journal.ended(received(journal), REPLAYED, b"a OK\n", 2)
    assert len(journal.calls_of("price")) == 1
    assert len(journal.calls) == 2


def test_a_waiter_is_notified_once() -> None:
    journal = Journal()
    notified: list[str] = []
    received(journal)
    for service, expected in ((None, 1), ("price", 3), (None, 3), ("other", 1), ("price", 9)):
        journal.add_waiter(service, expected, partial(notified.append, f"{service} {expected}"))
    assert notified == ["None 1"], "it had happened already"
    journal.received("udp", PEER, None, b"a", None, 0)
    journal.received(
        "udp", PEER, None, b"a CALL price", readable_request(b"a CALL price"), 0, REPLAYED
    )
    received(journal)
    assert notified == ["None 1"]
    received(journal)
    assert notified == ["None 1", "price 3", "None 3"]
    assert len(journal.waiters.waiting) == 2
    journal.end()
    assert notified[3:] == ["other 1", "price 9"]
    assert not journal.waiters.waiting
    journal.add_waiter("price", 99, lambda: notified.append("at once: nothing more will happen"))
    assert len(notified) == 6


def test_clear_restarts_the_count_of_a_waiter() -> None:
    journal = Journal()
    notified: list[int] = []
    waiter = journal.add_waiter("price", 2, lambda: notified.append(1))
    received(journal)
    journal.clear()
    received(journal)
    assert (waiter.happened, notified) == (1, [])
    received(journal)
    assert (waiter.happened, notified) == (2, [1])
    journal.waiters.remove(waiter)


def test_transcript() -> None:
    journal = Journal()
    connection = journal.opened(PEER, 0)
    call = received(journal, b"a CALL price x", connection, 0.001)
    call.fault = "slice at=middle"
    journal.ended(call, FAULTED, b"a DATA 1\na OK\n", 0.002)
    journal.ended(received(journal, b"b CALL stall", connection, 0.003), ABORTED, b"", 0.004)
    connection.fault = "reset"
    journal.closed(connection, "portal", "rst", 0.005)
    journal.ended(received(journal, b"c \x07\xff" + b"x" * 200), REPLIED, b"", 1)
    journal.ended(received(journal, b"d CALL x", None, 2), REPLAYED, b"d OK\n", 3)
    assert transcript(journal).splitlines() == [
        "    0.000 tcp #1               opened by 127.0.0.1:5000",
        "    0.001 tcp #1               --> a CALL price x",
        "    0.002 tcp #1               <~~ a DATA 1",
        "    0.002 tcp #1               <~~ a OK",
        "    0.002 tcp #1                   fault: slice at=middle",
        "    0.003 tcp #1               --> b CALL stall",
        "    0.004 tcp #1                   b: no reply",
        "    0.005 tcp #1               closed by the portal (RST); fault: reset",
        r"    1.000 udp 127.0.0.1:5000   --> c \x07\xff" + "x" * 87 + "...",
        "    2.000 udp 127.0.0.1:5000   --> d CALL x",
        "    3.000 udp 127.0.0.1:5000   <-- d OK",
        "    3.000 udp 127.0.0.1:5000       the same request again: answered as before",
    ]


def test_an_empty_transcript_and_an_ipv6_address() -> None:
    journal = Journal()
    assert transcript(journal) == "          (nothing has happened)"
    journal.opened(("::1", 5000), 0)
    assert "opened by [::1]:5000" in transcript(journal)
