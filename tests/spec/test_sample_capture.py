"""``spec/sample.pcap``: it is what its transcripts say, and tshark reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.signatures.dissection import lines_of, run_tshark
from tests.spec.sample_capture import FILE, lines, sample_capture


def test_it_is_made_from_the_transcripts() -> None:
    assert FILE.read_bytes() == sample_capture(), "run: python -m tests.spec.sample_capture"
    assert FILE.stat().st_size < 10_000


def test_tshark_reads_it(tool: Callable[[str], str], tmp_path: Path) -> None:
    pdml = run_tshark(tool("tshark"), tmp_path, FILE.read_bytes(), "-T", "pdml")
    shown = list(lines_of(pdml))
    said = [*lines("sample"), *lines("udp-sample")]
    assert [line.size for line in shown] == [len(data) for _, data in said]
    for line, (side, data) in zip(shown, said, strict=True):
        assert (line.get("kind") == "request") is (side == "client"), data
        if side == "client" and line.get("response_in") is None:
            assert data == b"c5a1f00d5eedba15 OK\n"
    assert [line.get("notice") for line in shown if "notice" in line.fields] == [
        *("ESPS/1", "ERR", "ERR", "BYE", "ERR")
    ]
    seen = {name for line in shown for name in line.fields}
    assert seen >= {"bad_line", "tag_reused", "error", "retransmission", "replayed", "padded"}
