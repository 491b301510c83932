"""The dissector on captures that are damaged: no error of Lua, nothing unescaped."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from esps_portal.journal.pcap import HEADER_SIZE, RECORD_HEADER_SIZE
from tests.signatures.dissection import Said, packets_of, run_tshark, tcp_capture, udp_capture
from tests.signatures.test_wireshark import SESSION

pytestmark = pytest.mark.heavy

PIECES = [
    b"\x16\x03\x01\x00\x05\x01",
    b"\n\x17\x03\x03\x00\x01\x00",
    *(data for _, data in SESSION),
    *(
        b" ",
        b"\n",
        b"\r\n",
        b"#",
        b"%",
        b"%4",
        b'"',
        b"*",
        b"\0",
        b"\x1b[31m",
        b"\xff\xfe",
        b"\xc2\x9b",
    ),
    *(b"* ERR ", b"* ERR tag-in-use ", b"* ERR tag-in-use\n", b"1 OK ESPS/1\n", b"1 HELLO\n"),
    *(b"1 ERR too-large 99999999999999999999\n", b"1 ERR too-large\n", b"2 CALL\n", b"x" * 40),
]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some are changed, lost, or put between."""
    changed = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(changed) + 1)
        changed[at : at + rng.choice((0, 0, 1, 5))] = rng.choice((*PIECES, rng.randbytes(3)))
    return bytes(changed)


def conversation(rng: random.Random) -> list[Said]:
    """Return pieces of what both sides send, cut anywhere, in any order."""
    said: list[Said] = []
    for _ in range(rng.randrange(1, 12)):
        side, data = rng.choice(SESSION)
        data, cut = damaged(data, rng), rng.randrange(8)
        said += [(side, part) for part in (data[:cut], data[cut:]) if part]
    return said


def with_lost_and_cut_packets(capture: bytes, rng: random.Random) -> bytes:
    """Return the capture without some packets, and with only the start of others."""
    kept = [capture[:HEADER_SIZE]]
    for packet in packets_of(capture):
        record, chance = packet, rng.random()
        if chance < 0.05:
            continue
        if chance < 0.1:
            header = packet[:RECORD_HEADER_SIZE]
            seconds, micros, size, original = struct.unpack("<4I", header)
            size = max(20, size - rng.randrange(30))
            header = struct.pack("<4I", seconds, micros, size, original)
            record = header + record[RECORD_HEADER_SIZE:][:size]
        kept.append(record)
    return b"".join(kept)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_error_of_lua(seed: int, tool: Callable[[str], str], tmp_path: Path) -> None:
    rng = random.Random(seed)
    capture = tcp_capture(*(conversation(rng) for _ in range(60)))
    capture += udp_capture(*(conversation(rng) for _ in range(60)))[HEADER_SIZE:]
    capture = with_lost_and_cut_packets(capture, rng)
    shown = run_tshark(tool("tshark"), tmp_path, capture, "-O", "esps").decode()
    assert shown.count("ESPS/1, ") > 500
    for part in ("Malformed line", "Tag in use", "Retransmission", "is not visible ASCII"):
        assert part in shown
    assert [c for c in set(shown) if not c.isprintable() and c != "\n"] == []
