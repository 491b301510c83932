"""A recording of any protocol: every byte of each side, in order."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from esps_portal.journal.journal import Journal
from esps_portal.journal.record_file import RecordFile
from esps_portal.journal.records import MAX_SIDE
from tests.journal.recorded_units import joined, units

REMOTE = ("127.0.0.1", 50_001)
MEGABYTE = random.Random(1).randbytes(1 << 20)


def record(path: Path, *said: tuple[str, bytes], reads: int = 40_000) -> None:
    """Record one exchange; each side says its bytes in reads of that size."""
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        connection = journal.opened(REMOTE, 0.5)
        exchange = journal.began("tcp", REMOTE, connection, 1, 1)
        for number, (sender, data) in enumerate(said):
            for start in range(0, len(data), reads):
                journal.sent(exchange, sender, data[start : start + reads], number + 1)
        journal.exchange_ended(exchange, 9, complete=True)
        journal.closed(connection, "client", "fin", 10)


def test_the_lines_of_an_exchange(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    record(path, ("client", b"PING\r\n"), ("server", b"\xff\r\n"))
    _, opened, request, reply, ended, closed = map(json.loads, path.read_text().splitlines())
    assert (opened["event"], closed["event"]) == ("opened", "closed")
    where = {"transport": "tcp", "remote": list(REMOTE), "connection": 1, "exchange": 1}
    assert request == {"event": "unit", "at": 1, **where, "from": "client", "data": "PING\r\n"}
    assert reply == {"event": "unit", "at": 2, **where, "from": "server", "data": {"b64": "/w0K"}}
    assert ended == {
        "event": "replied",
        "at": 9,
        **where,
        "request_size": 6,
        "reply_size": 3,
        "complete": True,
        "overlapped": False,
        "fault": "",
    }


@pytest.mark.parametrize("size", [0, 1, MAX_SIDE, MAX_SIDE + 1, 2 * MAX_SIDE, len(MEGABYTE)])
def test_a_long_unit_is_parts(tmp_path: Path, size: int) -> None:
    path = tmp_path / "units.jsonl"
    data = MEGABYTE[:size]
    record(path, ("client", b"GET"), ("server", data))
    lines = path.read_text().splitlines()
    assert joined(lines).get((*REMOTE, "server"), b"") == data
    parts = [value.get("continues", False) for value in units(lines)[1:]]
    assert parts == [True] * (len(parts) - 1) + [False] * bool(parts)


@pytest.mark.parametrize("cut", [0, 1, 7, 50_000, 87_000])
def test_it_is_continued_after_a_long_unit_and_a_cut_line(tmp_path: Path, cut: int) -> None:
    """As a process leaves it that is killed; a line is longer than a block that is searched."""
    path = tmp_path / "units.jsonl"
    record(path, ("client", MEGABYTE))
    with path.open("rb+") as file:
        lines = file.read().splitlines(keepends=True)
        file.seek(0)
        file.truncate()
        kept = next(n for n, line in enumerate(lines) if b'"continues"' in line) + 3
        whole = b"".join(lines[:kept])
        file.write(whole + lines[kept][: len(lines[kept]) - cut if cut else 0])
    record(path, ("client", b"again"), ("server", MEGABYTE))
    text = path.read_bytes()
    assert text.startswith(whole)
    found = joined(text.decode().splitlines())
    assert found[*REMOTE, "client"] == MEGABYTE[: 3 * MAX_SIDE] + b"again"
    assert found[*REMOTE, "server"] == MEGABYTE


def test_a_frame_is_a_unit_at_once(tmp_path: Path) -> None:
    """Its end is known, and two in a row are two; a long one is parts."""
    path = tmp_path / "units.jsonl"
    journal = Journal()
    said = [b"a\n", b"b\n", MEGABYTE]
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        exchange = journal.began("tcp", REMOTE, journal.opened(REMOTE, 0), 1, 0)
        for frame in said:
            journal.sent(exchange, "server", frame, 0, is_whole=True)
        found = units(path.read_text().splitlines())
    ends = [value for value in found if not value.get("continues")]
    assert [value["data"] for value in ends[:2]] == ["a\n", "b\n"]
    assert len(ends) == len(said)
    assert joined(path.read_text().splitlines())[*REMOTE, "server"] == b"".join(said)


def test_what_goes_on_is_flushed_as_parts(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        exchange = journal.began("tcp", REMOTE, journal.opened(REMOTE, 0), 1, 0)
        for number, part in enumerate((b"1", b"2")):
            journal.sent(exchange, "server", part, number)
            journal.flush()
            journal.flush()  # nothing has come
        journal.exchange_ended(exchange, 9, complete=True)
    found = units(path.read_text().splitlines())
    assert [(unit["at"], unit["data"], unit.get("continues")) for unit in found] == [
        (0, "1", True),
        (1, "2", True),
        (1, "", None),
    ]
