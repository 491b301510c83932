"""Makes ``spec/sample.pcap`` from two transcripts: ``python -m tests.spec.sample_capture``.

The transcripts are run against a portal like all others. As packets they are in the examples'
network of RFC 5737, ten milliseconds apart. What one side sends without waiting is one segment, but
a line over 80 bytes is cut into two.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from esps_portal.journal.pcap import Capture, Side
from esps_portal.protocol.registry import PORT
from tests.spec.documents import SPEC

FILE = SPEC / "sample.pcap"
SIDES: dict[str, Side] = {"C": "client", "S": "server"}

_SERVER = ("192.0.2.1", PORT)
_TCP_CLIENT, _UDP_CLIENT = ("192.0.2.7", 50_001), ("192.0.2.7", 50_002)
_START = 1_767_225_600  # 2026-01-01T00:00:00Z
_STEP = 0.01
_LONG = 80


def lines(name: str) -> list[tuple[Side, bytes]]:
    """Return the lines of a transcript, each with its LF."""
    text = (SPEC / "transcripts" / f"{name}.txt").read_text(encoding="ascii")
    rows = [row for row in text.splitlines() if not row.startswith("#")]
    return [(SIDES[row[0]], row[3:].encode() + b"\n") for row in rows]


def segments() -> Iterator[tuple[Side, bytes]]:
    """Yield what each side of the connection says, one after the other."""
    for side, said in itertools.groupby(lines("sample"), key=lambda line: line[0]):
        data = b"".join(line for _, line in said)
        yield from ((side, part) for part in (data[:_LONG], data[_LONG:]) if part)


def datagrams() -> Iterator[tuple[Side, bytes]]:
    """Yield each request, and the lines of its reply together."""
    for side, said in itertools.groupby(lines("udp-sample"), key=lambda line: line[0]):
        replies = [line for _, line in said]
        yield from ((side, d) for d in (replies if side == "client" else [b"".join(replies)]))


def sample_capture() -> bytes:
    """Return the capture."""
    capture, at = Capture(_SERVER), itertools.count(_START * 100)
    parts = [capture.header(), capture.opened(1, _TCP_CLIENT, next(at) * _STEP)]
    parts += [capture.unit(1, _TCP_CLIENT, s, data, next(at) * _STEP) for s, data in segments()]
    parts += [
        capture.closed(1, _TCP_CLIENT, s, "fin", next(at) * _STEP) for s in ("server", "client")
    ]
    parts += [capture.datagram(_UDP_CLIENT, s, data, next(at) * _STEP) for s, data in datagrams()]
    return b"".join(parts)


if __name__ == "__main__":
    FILE.write_bytes(sample_capture())
