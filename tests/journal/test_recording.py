"""A recording: what is written of a journal, what is read of it, and how it is replayed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from esps_portal.journal.journal import Journal
from esps_portal.journal.recording import (
    RecordedAnswer,
    RecordingError,
    began_line,
    entry_line,
    is_recording,
    read_recording,
)
from esps_portal.journal.records import ABORTED, FAULTED, REPLAYED, REPLIED, Entry
from esps_portal.mock.replay import replay
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import ERR, OK, readable_request
from esps_portal.services.builtin_portal import builtin_portal

PEER = ("127.0.0.1", 5000)
BEGAN = began_line("2026-11-23T17:52:04.985728Z", "esps-portal/0.1.0")


class Recorded:
    """What a journal is told, as the octets of a recording."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.octets = BEGAN
        self.journal.sinks.append(self._write)

    def _write(self, entry: Entry) -> None:
        self.octets += entry_line(entry)

    def call(
        self, line: bytes, sent: bytes, state: str = REPLIED, *, transport: str = "tcp"
    ) -> None:
        request = readable_request(line)
        record = self.journal.received(transport, PEER, None, line, request, 1)
        self.journal.ended(record, state, sent, 2)

    @property
    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.octets.splitlines()]

    def answers(self) -> list[RecordedAnswer]:
        return read_recording(self.octets)

    def replayed(self, **limits: int) -> ScriptedPortal:
        portal = ScriptedPortal(builtin_portal("test/1", Limits(**limits)))
        replay(self.answers(), portal)
        return portal


def chain(portal: ScriptedPortal, service: str = "price") -> list[tuple[Any, ...]]:
    """Return the answers of a service's only stub: steps, final line, times."""
    (stub,) = portal.script.stubs.by_name[service.encode()]
    assert stub.is_optional
    return [(answer.steps, answer.args, answer.times) for answer in stub.answers]


# ---- writing -----------------------------------------------------------------------------------


def test_a_request_as_it_came_and_as_it_ended() -> None:
    recorded = Recorded()
    journal = recorded.journal
    connection = journal.opened(PEER, 0.5)
    line = b"a CALL price sku%201 %FF"
    record = journal.received("tcp", PEER, connection, line, readable_request(line), 1)
    record.fault = "slice at=middle"
    journal.ended(record, FAULTED, b"a DATA 1\na ERR x-no why\n", 2)
    journal.closed(connection, "client", "fin", 3)
    began, opened, received, ended, closed = recorded.values
    assert began == {
        "event": "began",
        "time": "2026-11-23T17:52:04.985728Z",
        "product": "esps-portal/0.1.0",
        "format": 1,
    }
    where = {"transport": "tcp", "remote": ["127.0.0.1", 5000], "connection": 1}
    assert opened == where | {"event": "opened", "at": 0.5}
    asked = where | {
        "number": 2,
        "tag": "a",
        "verb": "CALL",
        "service": "price",
        "args": ["sku 1", {"b64": "/w=="}],
        "line": "a CALL price sku%201 %FF",
    }
    assert received == asked | {"event": "received", "state": "received", "at": 1}
    assert ended == asked | {
        "event": "faulted",
        "state": "faulted",
        "at": 2,
        "code": "x-no",
        "fault": "slice at=middle",
        "sent": ["a DATA 1", "a ERR x-no why"],
    }
    assert closed == where | {"event": "closed", "at": 3, "by": "client", "how": "fin", "fault": ""}


def test_octets_that_are_no_text_and_a_line_that_is_cut() -> None:
    recorded = Recorded()
    recorded.call(b"\xff\x00", b"* ERR bad-line\n")
    recorded.call(b"a CALL truncate 3", b"a O")
    recorded.call(b"b CALL garbage 2", b"\xfe\n")
    recorded.call(b"c CALL %FF", b"c ERR unknown-service\n")
    _, _, first, _, second, _, third, _, fourth = recorded.values
    assert first["line"] == {"b64": "/wA="}
    assert (first["verb"], first["args"], first["sent"]) == ("", [], ["* ERR bad-line"])
    assert (second["sent"], second["cut"]) == (["a O"], True)
    assert third["sent"] == [{"b64": "/g=="}]
    assert "cut" not in third
    assert fourth["service"] == {"b64": "/w=="}
    assert recorded.octets.isascii()


# ---- reading -----------------------------------------------------------------------------------


def test_what_was_answered_is_read() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price sku-1 %FF", b"a DATA 1 2\na DATA\na OK 9.99 %FE\n")
    recorded.call(b"b CALL price", b"b ERR busy try%20again\n", FAULTED, transport="udp")
    first, second = recorded.answers()
    assert (first.line, first.service, first.args) == (3, b"price", (b"sku-1", b"\xff"))
    assert (first.rows, first.final.args) == (((b"1", b"2"), ()), (b"9.99", b"\xfe"))
    assert (first.code, second.code) == ("", "busy")
    assert (first.final.kind, second.final.kind) == (OK, ERR)
    assert second.client == ("udp", '["127.0.0.1", 5000]', "b")


@pytest.mark.parametrize(
    ("line", "sent", "state"),
    [
        (b"a CALL price", b"", ABORTED),
        (b"a CALL price", b"a ERR cancelled\n", ABORTED),
        (b"a CALL price", b"", FAULTED),
        (b"a CALL price", b"a DATA 1\n", FAULTED),
        (b"a CALL price", b"a OK 9.9", REPLIED),
        (b"a CALL price", b"\xff\xfe\n", REPLIED),
        (b"a CALL price", b"b OK\n", REPLIED),
        (b"a CALL price", b"a OK\na OK\n", REPLIED),
        (b"a CALL price", b"* ERR tag-in-use a\n", REPLIED),
        (b"a PING", b"a OK\n", REPLIED),
        (b"a  CALL", b"a ERR bad-line\n", REPLIED),
        (b"a CALL", b"a ERR bad-arguments\n", REPLIED),
    ],
)
def test_what_is_no_answer_to_a_call_is_left_out(line: bytes, sent: bytes, state: str) -> None:
    recorded = Recorded()
    recorded.call(line, sent, state)
    assert recorded.answers() == []


def test_calls_in_the_order_in_which_they_came() -> None:
    recorded = Recorded()
    journal = recorded.journal
    lines = [b"a CALL price", b"b CALL price"]
    records = [
        journal.received("tcp", PEER, None, line, readable_request(line), 1) for line in lines
    ]
    journal.ended(records[1], REPLIED, b"b OK second\n", 2)
    journal.ended(records[0], REPLIED, b"a OK first\n", 3)
    assert [answer.final.args for answer in recorded.answers()] == [(b"first",), (b"second",)]
    # Another sitting counts from the beginning.
    again = Recorded()
    again.call(b"c CALL price", b"c OK third\n")
    both = read_recording(recorded.octets + again.octets)
    assert [answer.final.args for answer in both] == [(b"first",), (b"second",), (b"third",)]


def test_every_prefix_of_a_recording_can_be_read() -> None:
    """A process that is killed leaves such a one."""
    recorded = Recorded()
    recorded.call(b"a CALL price 1", b"a OK 1\n")
    recorded.call(b"b CALL price 2", b"b OK 2\n")
    lengths = range(len(BEGAN), len(recorded.octets) + 1)
    counts = [len(read_recording(recorded.octets[:length])) for length in lengths]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "line 1: not a recording: it is empty"),
        (BEGAN[:-5], "line 1: not a recording: it is empty"),
        (b"hello\nworld\n", "line 1: not JSON: "),
        (b"[]\n", "line 1: must be a table of keys and values, got []"),
        (b"{}\n", "line 1: event: this key is required"),
        (b'{"event": "replied"}\n', 'line 1: not a recording: its first line must be {"event"'),
        (b'{"event": "began"}\n', "line 1: format: this key is required"),
        (b'{"event": "began", "format": 2}\n', "line 1: format: must be 1, got 2"),
        (BEGAN + b'{"event": "rep\n{"event": "opened"}\n', "line 2: not JSON: "),
        (BEGAN + b"\n" + BEGAN, "line 2: not JSON: "),
        (BEGAN + b"\xff\n" + BEGAN, "line 2: not JSON: "),
        (
            BEGAN + b'{"event": "replied", "verb": "CALL"}\n',
            "line 2: service: this key is required",
        ),
        (
            BEGAN
            + b'{"event":"replied","verb":"CALL","service":"a","args":[1],"sent":[],"tag":"a"}\n',
            'line 2: args[0]: must be text, or {"b64": "..."}, got 1',
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_line(octets: bytes, says: str) -> None:
    with pytest.raises(RecordingError) as raised:
        read_recording(octets)
    assert str(raised.value).startswith(says)


def test_events_that_nobody_knows_yet_are_passed_over() -> None:
    assert read_recording(BEGAN + b'{"event": "paused", "verb": "CALL"}\n') == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (BEGAN, True),
        (BEGAN[:-1], False),
        (b"", False),
        (b"# notes\n", False),
        (b'{"event": "began", "format": 2}\n', False),
    ],
)
def test_a_recording_is_recognised(line: bytes, *, is_one: bool) -> None:
    assert is_recording(line) is is_one


# ---- replaying ---------------------------------------------------------------------------------


def test_answers_in_order_and_the_last_for_ever() -> None:
    recorded = Recorded()
    for number, sent in enumerate([b"OK 1", b"OK 1", b"ERR busy soon", b"OK 2", b"OK 2"]):
        recorded.call(b"t%d CALL price x" % number, b"t%d %b\n" % (number, sent))
    assert chain(recorded.replayed()) == [
        ([], (b"1",), 2),
        ([], (b"busy", b"soon"), None),
        ([], (b"2",), None),
    ]


def test_what_ended_before_its_answer_is_left_out() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK 1\n")
    recorded.call(b"b CALL price", b"b ERR closing\n")
    recorded.call(b"c CALL price", b"c ERR cancelled\n")
    recorded.call(b"d CALL %FF", b"d ERR unknown-service\n")
    portal = recorded.replayed()
    assert chain(portal) == [([], (b"1",), None)]
    assert portal.script.stubs.names == [b"price"]


def test_what_a_fault_kept_or_changed_is_replayed_as_it_was() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a DATA x\na OK 1\n", FAULTED)
    assert chain(recorded.replayed()) == [([(b"x",)], (b"1",), None)]


def test_over_udp_a_call_that_was_sent_again_counts_once() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK 1\n", transport="udp")
    recorded.call(b"a CALL price", b"a OK 1\n", REPLAYED, transport="udp")
    recorded.call(b"b CALL price", b"b OK 2\n", transport="udp")
    assert [args for _, args, _ in chain(recorded.replayed())] == [(b"1",), (b"2",)]


@pytest.mark.parametrize("state", [REPLAYED, REPLIED])
def test_over_udp_who_asked_again_with_room_got_the_answer(state: str) -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a ERR too-large 100 pad\n", transport="udp")
    recorded.call(b"a CALL price ####", b"a OK 1\n", state, transport="udp")
    recorded.call(b"a CALL price ####", b"a OK 1\n", REPLAYED, transport="udp")
    assert chain(recorded.replayed()) == [([], (b"1",), None)]


def test_the_words_of_a_carrier_count_only_where_nothing_else_is_known() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price 1", b"a ERR use-tcp\n", transport="udp")
    recorded.call(b"b CALL price 1", b"b OK 1\n")
    recorded.call(b"c CALL feed", b"c ERR too-large 0 use-tcp\n", transport="udp")
    portal = recorded.replayed()
    assert chain(portal) == [([], (b"1",), None)]
    assert chain(portal, "feed") == [([], (b"too-large", b"0", b"use-tcp"), None)]


def test_an_answer_that_is_too_long_for_this_portal() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK %b\n" % (b"x" * 1000))
    assert len(chain(recorded.replayed())) == 1
    with pytest.raises(RecordingError, match="line 3: an answer has a line of 1006 bytes, and"):
        recorded.replayed(max_line=600)


def test_an_answer_that_fits_with_a_short_tag_alone_is_measured_when_it_is_given() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK %b\n" % (b"x" * 594))
    assert chain(recorded.replayed(max_line=600)) == [([0.0], (b"x" * 594,), None)]
