"""A portal in a test suite, recorded and replayed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from esps_portal import blocking
from esps_portal.journal.append_file import CannotRecordError
from esps_portal.journal.recording import RecordingError
from esps_portal.testing import PlannedFault, lines, proxy_in_thread, serve_in_thread


def test_a_block_is_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with serve_in_thread() as portal:
        portal.stub("price", "sku-1").reply("9.99").reply("8.99")
        with blocking.connect(portal.url) as client:
            with portal.record(path):
                assert client.call("price", "sku-1") == (b"9.99",)
                assert client.call("price", "sku-1") == (b"8.99",)
            client.call("echo", "after the block")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "began",
        *("received", "replied"),
        *("received", "replied"),
    ]
    with serve_in_thread() as portal, blocking.connect(portal.url) as client:
        portal.replay(str(path))
        assert client.call("price", "sku-1") == (b"9.99",)
        assert client.call("price", "sku-1") == (b"8.99",)
        assert portal.problems() == []
        portal.reset()
        assert portal.problems() == []


def test_what_is_no_with_block_says_so(tmp_path: Path) -> None:
    with proxy_in_thread("tcp://127.0.0.1:9", framing=lines()) as server:
        for begin, statement in (
            (lambda: server.record(tmp_path / "calls"), "with portal.record(path): ..."),
            (lambda: server.pcap(tmp_path / "pcap"), "with proxy.pcap(path): ..."),
            (lambda: server.faults([PlannedFault("reset")]), "with proxy.faults(schedule): ..."),
        ):
            with pytest.warns(RuntimeWarning, match=re.escape(statement)) as warned:
                begin()
            assert warned[0].filename == __file__
    assert list(tmp_path.iterdir()) == []


def test_a_with_block_that_is_entered_again(tmp_path: Path) -> None:
    with proxy_in_thread("tcp://127.0.0.1:9", framing=lines()) as server:
        for block in (server.record(tmp_path / "calls"), server.faults([PlannedFault("reset")])):
            with block:
                pass
            with pytest.raises(RuntimeError, match="this block was entered before: write with "):
                block.__enter__()


def test_a_recording_that_outlives_its_portal(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with serve_in_thread() as portal, portal.record(path):
        with blocking.connect(portal.url) as client:
            client.call("echo", "hi")
        portal.stop()
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events[0] == "began"
    assert {"received", "replied"} <= set(events)


def test_what_cannot_be_recorded_or_replayed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine\n")
    with serve_in_thread() as portal:
        with pytest.raises(CannotRecordError), portal.record(path):
            pytest.fail("not reached")
        with pytest.raises(RecordingError):
            portal.replay(path)
        empty = tmp_path / "empty.jsonl"
        with portal.record(empty):
            pass
        with pytest.raises(RecordingError, match="holds no call of ESPS/1"):
            portal.replay(empty)
