"""What a journal keeps of requests is bounded in bytes: the oldest go first, and it says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from esps_portal.journal.journal import Journal
from esps_portal.journal.kept_calls import KeptCalls
from esps_portal.journal.recording import entry_line
from esps_portal.journal.records import FAULTED, REPLIED, Entry, RecordedCall
from esps_portal.journal.transcript import transcript
from esps_portal.protocol.messages import readable_request

PEER = ("127.0.0.1", 40000)
MAX = 10_000


def received(journal: Journal, number: int = 0) -> RecordedCall:
    line = b"t%d CALL price" % number
    return journal.received("udp", PEER, None, line, readable_request(line), 1)


def answered(journal: Journal, number: int) -> None:
    journal.ended(received(journal, number), REPLIED, b"x" * 99 + b"\n", 2)


def answered_at_once(journal: Journal, number: int) -> None:
    journal.answered(PEER, 0, b"t%d PING " % number + b"x" * 50, b"x" * 49 + b"\n", 1)


def answered_on_a_connection(journal: Journal, number: int) -> None:
    connection = journal.connections[0] if journal.connections else journal.opened(PEER, 0)
    line = b"t%d PING %b\n" % (number, b"x" * 50)
    journal.answers_on(connection)(line, b"x" * 49 + b"\n", 1, 1)


def answered_alone(journal: Journal, number: int) -> None:
    line = b"t%d PING %b\n" % (number, b"x" * 50)
    journal.answered_together([PEER], line, b"x" * 49 + b"\n", 1)


def answered_in_bulk(journal: Journal, number: int) -> None:
    line = b"t%d PING %b\n" % (number, b"x" * 25)
    journal.answered_together([PEER] * 2, line * 2, (b"x" * 24 + b"\n") * 2, 1)


@pytest.mark.parametrize(
    "note",
    [answered, answered_at_once, answered_on_a_connection, answered_alone, answered_in_bulk],
)
def test_the_oldest_are_forgotten(note: Callable[[Journal, int], None]) -> None:
    journal = Journal(max_bytes=MAX)
    for number in range(1000):  # about 100 bytes each
        note(journal, number)
    calls = journal.calls
    assert MAX // 2 < sum(call.kept for call in calls) <= MAX + 200
    assert calls[-1].tag == "t999"
    assert journal.forgotten > 800
    first_line = transcript(journal).splitlines()[0].strip()
    assert first_line == f"({journal.forgotten} earlier requests are no longer kept)"


@pytest.mark.parametrize(
    "note",
    [answered, answered_at_once, answered_on_a_connection, answered_alone, answered_in_bulk],
)
def test_only_the_latest_are_kept_and_few_more_are_held(
    note: Callable[[Journal, int], None],
) -> None:
    kept = KeptCalls(100, 1 << 20)
    journal = Journal(max_calls=100)
    journal._kept_calls = kept  # noqa: SLF001 - to look at what is held
    for number in range(1000):
        note(journal, number)
        assert len(kept._calls) <= 106  # noqa: SLF001 - the same
    each = 1 + (note is answered_in_bulk)
    assert journal.forgotten == each * 1000 - 100
    assert [call.tag for call in journal.calls] == [
        f"t{number}" for number in range(1000 - 100 // each, 1000) for _ in range(each)
    ]


def test_a_reply_that_alone_is_too_long_loses_its_first_lines() -> None:
    journal = Journal(max_bytes=MAX)
    before = received(journal)
    call = received(journal, 1)
    for number in range(1000):
        journal.added(call, b"t1 DATA %03d %b\n" % (number, b"x" * 87))
    journal.ended(call, REPLIED, b"t1 OK\n", 2)
    assert len(call.sent) <= MAX
    assert call.sent.endswith(b"\nt1 OK\n") or call.sent == b"t1 OK\n"
    assert call.sent_size == 100_006
    assert call.left_out == 100_006 - len(call.sent)
    assert journal.calls == [call]
    assert before not in journal.calls
    assert f"({call.left_out} earlier bytes of the reply are no longer kept)" in transcript(journal)
    # A recording does not replay half a reply.
    assert b'"cut":true' in entry_line(Entry(1, 1, REPLIED, call))


def test_calls_that_run_and_are_no_longer_kept_are_bounded_too() -> None:
    journal = Journal(max_calls=1, max_bytes=MAX)
    running = [received(journal, number) for number in range(10)]
    for _ in range(100):
        for call in running:
            journal.added(call, b"x" * 99 + b"\n")
    assert sum(call.kept for call in running) <= MAX + 200
    for call in running:
        journal.ended(call, FAULTED, b"", 2)


def test_what_is_no_longer_kept_leaves_a_short_reply_whole() -> None:
    """A sink needs it when it ends, however much was forgotten meanwhile."""
    journal = Journal(max_calls=1, max_bytes=MAX)
    call = received(journal)
    journal.added(call, b"a DATA first\n")
    for number in range(1000):
        answered(journal, number)
    journal.ended(call, REPLIED, b"a OK\n", 2)
    assert (call.sent, call.left_out) == (b"a DATA first\na OK\n", 0)


def test_clear_forgets_what_was_counted() -> None:
    journal = Journal(max_bytes=MAX)
    for number in range(80):
        answered(journal, number)
    journal.clear()
    for number in range(80):
        answered(journal, number)
    assert len(journal.calls) == 80
