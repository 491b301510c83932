"""A capture as Wireshark reads it."""

from __future__ import annotations

import csv
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from esps_portal.journal.pcap import Capture

IPV4, IPV6 = ("192.0.2.7", 50_001), ("2001:db8::7", 50_001)
LARGE = 200_000  # bytes: several segments
QUERY = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\5redis\7example\0" + b"\0\1\0\1"
ANSWER = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH4s", 60, 4, bytes([192, 0, 2, 1]))
RESPONSE = struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0) + QUERY[12:] + ANSWER

FIELDS = """
    frame.protocols _ws.malformed
    tcp.stream tcp.analysis.flags tcp.analysis.reused_ports tcp.completeness
    ip.checksum.status tcp.checksum.status udp.checksum.status
    resp.string resp.bulk_string.length resp.error resp.integer
    dns.qry.name dns.a
""".split()

Row = dict[str, str]


def redis_session(capture: Capture, number: int, remote: tuple[str, int], at: float) -> bytes:
    """Return a session of redis-cli: SET, GET, INCR, an error, QUIT."""
    large = b"$%d\r\n%b\r\n" % (LARGE, b"x" * LARGE)
    exchanges = [
        (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n" + large, b"+OK\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", large),
        (b"*2\r\n$4\r\nINCR\r\n$5\r\nsales\r\n", b":42\r\n"),
        (b"*1\r\n$4\r\nSELL\r\n", b"-ERR unknown command\r\n"),
    ]
    written = [capture.opened(number, remote, at)]
    for request, reply in exchanges:
        at += 0.001
        written.append(capture.unit(number, remote, "client", request, at))
        written.append(capture.unit(number, remote, "server", reply, at))
    written.append(capture.closed(number, remote, "client", "fin", at))
    written.append(capture.unit(number, remote, "server", b"+BYE\r\n", at))
    written.append(capture.closed(number, remote, "server", "fin", at))
    return b"".join(written)


def everything() -> bytes:
    """Return a capture with both families, a full window, a reset, a used port, datagrams.

    The unit before the reset has 65,535 bytes, the largest window without scaling.
    """
    redis, dns = Capture(("192.0.2.1", 6379)), Capture(("dns.example", 53))
    other = ("192.0.2.7", 50_002)
    older = ("192.0.2.7", 50_003)
    return b"".join(
        [
            redis.header(),
            redis_session(redis, 1, IPV4, 1000.0),
            redis_session(redis, 2, IPV6, 2000.0),
            redis.opened(3, other, 3000.0),
            redis.unit(3, other, "client", b"PING\r\n", 3000.0),
            redis.unit(3, other, "client", b"*1\r\n$65521\r\n%b\r\n" % bytes(65_521), 3000.0),
            redis.closed(3, other, "server", "rst", 3000.0),
            redis.opened(5, other, 3000.0),
            redis.unit(4, older, "server", b"+PONG\r\n", 4000.0),
            redis.closed(4, older, "client", "fin", 4000.0),
            dns.datagram(IPV4, "client", QUERY, 5000.0),
            dns.datagram(IPV4, "server", RESPONSE, 5000.0),
            dns.datagram(IPV6, "client", QUERY, 5000.0),
            dns.datagram(IPV6, "server", RESPONSE, 5000.0),
        ]
    )


@pytest.fixture(scope="module")
def rows(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Return what tshark says about each packet of a capture with everything."""
    folder: Path = tmp_path_factory.mktemp("tshark")
    path = folder / "everything.pcap"
    path.write_bytes(everything())
    command = [tool("tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "header=y"]
    for protocol in ("ip", "tcp", "udp"):
        command += ["-o", f"{protocol}.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    # Without the preferences of whoever runs the tests.
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    ran = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=100)
    return list(csv.DictReader(ran.stdout.decode().splitlines(), delimiter="\t"))


def column(rows: list[Row], name: str) -> list[str]:
    """Return what a column has, without empty fields."""
    return [row[name] for row in rows if row[name]]


def test_nothing_is_wrong_with_any_packet(rows: list[Row]) -> None:
    assert len(rows) > 50
    for protocol in ("ip", "tcp", "udp"):
        assert set(column(rows, f"{protocol}.checksum.status")) == {"1"}, protocol  # good
    assert column(rows, "_ws.malformed") == []
    # No segment is retransmitted, lost or out of order. As in any capture, a port is used again.
    analysed = [row for row in rows if row["tcp.analysis.flags"]]
    assert [row["tcp.analysis.reused_ports"] for row in analysed] == ["1"]


def test_each_connection_is_a_stream_of_its_own(rows: list[Row]) -> None:
    assert [int(number) for number in dict.fromkeys(column(rows, "tcp.stream"))] == [0, 1, 2, 3, 4]
    for stream in ("0", "1"):
        *_, last = (row for row in rows if row["tcp.stream"] == stream)
        assert last["tcp.completeness"] == "31"  # handshake, data, FIN


@pytest.mark.parametrize("stream", ["0", "1"], ids=["IPv4", "IPv6"])
def test_a_redis_session_is_dissected(rows: list[Row], stream: str) -> None:
    session = [
        row for row in rows if row["tcp.stream"] == stream and "resp" in row["frame.protocols"]
    ]
    assert column(session, "resp.string") == ["OK", "BYE"]
    assert column(session, "resp.integer") == ["42"]
    assert column(session, "resp.error") == ["ERR unknown command"]
    # The last segment of a large unit has the whole.
    lengths = column(session, "resp.bulk_string.length")
    assert lengths[-5:] == [f"3,3,{LARGE}", "3,3", f"{LARGE}", "4,5", "4"]


def test_a_name_query_is_dissected(rows: list[Row]) -> None:
    dns = [row for row in rows if row["frame.protocols"].endswith(":udp:dns")]
    assert [row["dns.qry.name"] for row in dns] == ["redis.example"] * 4
    assert [row["dns.a"] for row in dns] == ["", "192.0.2.1"] * 2
