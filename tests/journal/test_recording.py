"""A recording: how a journal is written, and how its calls are read."""

from __future__ import annotations

import pytest

from esps_portal.journal.recording import (
    RecordingError,
    is_recording,
    read_recording,
)
from esps_portal.journal.records import ABORTED, FAULTED, REPLIED
from esps_portal.protocol.messages import ERR, OK, readable_request
from tests.cases import cases
from tests.journal.recorded import BEGAN, PEER, Recorded

# ---- writing -----------------------------------------------------------------------------------


def test_a_request_has_a_line_when_it_comes_and_one_when_it_ends() -> None:
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


def test_bytes_that_are_not_text_and_an_incomplete_line() -> None:
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
    assert recorded.data.isascii()


# ---- reading -----------------------------------------------------------------------------------


def test_calls_with_a_reply_are_read() -> None:
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
def test_a_call_without_a_reply_is_left_out(line: bytes, sent: bytes, state: str) -> None:
    recorded = Recorded()
    recorded.call(line, sent, state)
    assert recorded.answers() == []


def test_calls_are_in_the_order_in_which_they_came() -> None:
    recorded = Recorded()
    journal = recorded.journal
    lines = [b"a CALL price", b"b CALL price"]
    records = [
        journal.received("tcp", PEER, None, line, readable_request(line), 1) for line in lines
    ]
    journal.ended(records[1], REPLIED, b"b OK second\n", 2)
    journal.ended(records[0], REPLIED, b"a OK first\n", 3)
    assert [answer.final.args for answer in recorded.answers()] == [(b"first",), (b"second",)]
    # A continued recording counts from 1 again.
    again = Recorded()
    again.call(b"c CALL price", b"c OK third\n")
    both = read_recording(recorded.data + again.data)
    assert [answer.final.args for answer in both] == [(b"first",), (b"second",), (b"third",)]


def test_every_prefix_of_a_recording_can_be_read() -> None:
    """A process that is killed leaves such a recording."""
    recorded = Recorded()
    recorded.call(b"a CALL price 1", b"a OK 1\n")
    recorded.call(b"b CALL price 2", b"b OK 2\n")
    lengths = range(len(BEGAN), len(recorded.data) + 1)
    counts = [len(read_recording(recorded.data[:length])) for length in lengths]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


@cases(
    ("data", "message"),
    [
        (b"", "line 1: not a recording: it is empty"),
        (BEGAN[:-5], "line 1: not a recording: its first line must be"),
        (b"a line of text", "line 1: not a recording: its first line must be"),
        (b"one line\nanother\n", "line 1: not a recording: its first line must be"),
        (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "line 1: not a recording: its first line must be"),
        (b"\n", "line 1: not a recording: its first line must be"),
        (b"[]\n", "line 1: not a recording: its first line must be"),
        (b"{}\n", "line 1: not a recording: its first line must be"),
        (BEGAN + b"[]\n", "line 2: must be a table of keys and values, got []"),
        (BEGAN + b"{}\n", "line 2: event: this key is required"),
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
def test_an_error_names_its_line(data: bytes, message: str) -> None:
    with pytest.raises(RecordingError) as raised:
        read_recording(data)
    assert str(raised.value).startswith(message)


def test_a_file_that_an_editor_on_windows_has_saved() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL echo hi", b"a OK hi\n")
    data = recorded.data
    (answer,) = read_recording(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    assert answer == read_recording(data)[0]


def test_unknown_events_are_ignored() -> None:
    assert read_recording(BEGAN + b'{"event": "paused", "verb": "CALL"}\n') == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (BEGAN, True),
        (b"\xef\xbb\xbf" + BEGAN, True),
        (BEGAN[:-1], False),
        (b"", False),
        (b"# notes\n", False),
        (b'{"event": "began", "format": 2}\n', False),
    ],
)
def test_the_first_line_shows_a_recording(line: bytes, *, is_one: bool) -> None:
    assert is_recording(line) is is_one
