"""The file of a recording: its first line, errors, and reopening."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from pathlib import Path

import pytest

from esps_portal.journal.append_file import CannotRecordError
from esps_portal.journal.journal import Journal
from esps_portal.journal.record_file import RecordFile
from esps_portal.journal.recording import read_recording
from esps_portal.journal.records import REPLIED
from esps_portal.protocol.messages import readable_request
from tests.journal.files import largest_file


def record(path: Path, *answers: bytes) -> None:
    """Record calls of a service, one for each answer."""
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        for answer in answers:
            note(journal, answer)


def incomplete() -> contextlib.AbstractContextManager[object]:
    """Expect that a recording says at its end that something could not be written."""
    return pytest.raises(CannotRecordError, match="the recording is not complete")


def note(journal: Journal, answer: bytes) -> None:
    request = readable_request(b"a CALL price")
    call = journal.received("tcp", ("127.0.0.1", 1), None, b"a CALL price", request, 0)
    journal.ended(call, REPLIED, b"a OK %b\n" % answer, 0)


def answers(path: Path) -> list[bytes]:
    return [answer.final.args[0] for answer in read_recording(path.read_bytes())]


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    record(path, b"1", b"2")
    first, *_ = path.read_text().splitlines()
    began = json.loads(first)
    assert (began["event"], began["product"], began["format"]) == ("began", "test/1", 1)
    assert began["time"].endswith("Z")
    assert answers(path) == [b"1", b"2"]


def test_only_its_owner_can_read_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    before = os.umask(0)
    try:
        record(path, b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_recording_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    record(path, b"1")
    record(path, b"2")
    assert answers(path) == [b"1", b"2"]


@pytest.mark.parametrize("length", [1, 100_000])
def test_an_incomplete_last_line_is_cut_off(tmp_path: Path, length: int) -> None:
    path = tmp_path / "calls.jsonl"
    record(path, b"1")
    with path.open("ab") as file:
        file.write(b"{" * length)
    record(path, b"2")
    assert answers(path) == [b"1", b"2"]


@pytest.mark.parametrize("text", ["my thesis\n", "{}", '{"event": "began", "format": 2}\n'])
def test_a_file_that_is_no_recording_is_not_changed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text(text)
    with pytest.raises(CannotRecordError) as raised:
        RecordFile(path, "test/1")
    reason = "the file exists and is not a recording"
    assert str(raised.value) == f"cannot record to {path}: {reason}"
    assert path.read_text() == text


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with (
        RecordFile(path, "test/1"),
        pytest.raises(CannotRecordError, match="this process or another one records to it already"),
    ):
        RecordFile(path, "test/1")
    record(path, b"1")
    assert answers(path) == [b"1"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/dev/full", "cannot record to /dev/full: No space left on device"),
        ("/dev", "cannot record to /dev: Is a directory"),
        ("/nowhere/calls.jsonl", "cannot record to /nowhere/calls.jsonl: No such file or direc"),
    ],
)
def test_an_unusable_path_is_refused_at_once(path: str, message: str) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(CannotRecordError) as raised:
        RecordFile(Path(path), "test/1")
    assert str(raised.value).startswith(message)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_full_disk_ends_the_recording_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "calls.jsonl"
    with caplog.at_level(logging.ERROR), largest_file(1000), incomplete():
        record(path, *[b"%d" % number for number in range(100)])
    assert caplog.messages == [f"the recording to {path} has ended: File too large"]
    assert path.stat().st_size <= 1000
    found = answers(path)
    assert found == [b"%d" % number for number in range(len(found))]
    assert 0 < len(found) < 100


def test_a_full_pipe_ends_the_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with caplog.at_level(logging.ERROR), incomplete():
        record(path, *[b"x" * 4000] * 100)
    assert len(caplog.messages) == 1


def test_who_records_is_told_that_it_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    answers = [b"%d" % number for number in range(100)]
    with pytest.raises(CannotRecordError, match="not complete: File too large"), largest_file(1000):
        record(path, *answers)
    record(tmp_path / "short.jsonl", b"1")


def test_what_fails_in_the_block_is_not_hidden(tmp_path: Path) -> None:
    journal = Journal()
    path = tmp_path / "calls.jsonl"

    def fill_and_fail() -> None:
        with largest_file(1000), RecordFile(path, "test/1") as file:
            journal.sinks.append(file.write)
            while file.is_open:
                note(journal, b"x" * 100)
            raise KeyError

    with pytest.raises(KeyError):
        fill_and_fail()


def test_nothing_is_created_where_a_link_leads(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(CannotRecordError, match="a link to a file that does not exist"):
        RecordFile(link, "test/1")
    assert not target.exists()
    target.touch()
    record(link, b"1")
    assert answers(target) == [b"1"]


# ---- reopened ----------------------------------------------------------------------------------


def test_after_a_rename_a_new_file_is_begun(tmp_path: Path) -> None:
    path, old = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.1"
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        note(journal, b"1")
        path.rename(old)
        note(journal, b"2")
        file.reopen()
        note(journal, b"3")
    assert (answers(old), answers(path)) == ([b"1", b"2"], [b"3"])
    # Times are counted from the start of the portal, which has not started again.
    assert path.read_text().splitlines()[0] == old.read_text().splitlines()[0]


def test_an_unmoved_recording_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        note(journal, b"1")
        file.reopen()
        note(journal, b"2")
        assert [line.count('"began"') for line in path.read_text().splitlines()].count(1) == 1
        os.truncate(path, 0)
        file.reopen()
        note(journal, b"3")
    assert answers(path) == [b"3"]


def test_if_reopening_fails_the_old_file_is_continued(tmp_path: Path) -> None:
    path, old = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.1"
    journal = Journal()
    with RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        path.rename(old)
        path.write_text("my thesis\n")
        with pytest.raises(CannotRecordError, match="is not a recording"):
            file.reopen()
        note(journal, b"1")
    assert answers(old) == [b"1"]
    assert path.read_text() == "my thesis\n"


def test_a_recording_that_ended_restarts(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    journal = Journal()
    with largest_file(1000), incomplete(), RecordFile(path, "test/1") as file:
        journal.sinks.append(file.write)
        while file.is_open:
            note(journal, b"x" * 100)
        path.unlink()
        file.reopen()
        note(journal, b"1")
    assert answers(path) == [b"1"]
