"""The bytes of a capture, read by a reader of the tests' own."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esps_portal.journal.pcap import MAX_SEGMENT, Capture, Side
from tests.journal.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Packet,
    read_capture,
    read_records,
    read_streams,
)

V4, V6 = ("192.0.2.7", 50_001), ("2001:db8::7", 50_001)
UPSTREAMS = {V4: ("192.0.2.1", 6379), V6: ("2001:db8::1", 6379)}
NOW = 1_795_000_000.25
SIDES: tuple[Side, Side] = ("client", "server")

remotes = pytest.mark.parametrize("remote", [V4, V6], ids=["IPv4", "IPv6"])


def packets(*records: bytes) -> list[Packet]:
    return list(read_records(b"".join(records)))


def flags(*records: bytes) -> list[int]:
    return [packet.flags for packet in packets(*records)]


def test_the_header() -> None:
    assert read_capture(Capture(("127.0.0.1", 6379)).header()) == []


@remotes
def test_a_connection_from_handshake_to_end(remote: tuple[str, int]) -> None:
    upstream = UPSTREAMS[remote]
    capture = Capture(upstream)
    records = [
        capture.opened(1, remote, NOW),
        capture.unit(1, remote, "client", b"PING\r\n", NOW + 1),
        capture.unit(1, remote, "server", b"+PONG\r\n", NOW + 2),
        capture.closed(1, remote, "client", "fin", NOW + 3),
        capture.unit(1, remote, "server", b"+BYE\r\n", NOW + 4),
        capture.closed(1, remote, "server", "fin", NOW + 5),
    ]
    assert [flags(record) for record in records] == [
        [SYN, SYN | ACK, ACK],
        [PSH | ACK, ACK],
        [PSH | ACK, ACK],
        [FIN | ACK, ACK],
        [PSH | ACK, ACK],
        [FIN | ACK, ACK],
    ]
    found = packets(*records)
    assert [packet.seconds for packet in found[::2]] == [
        NOW,
        *(NOW + n for n in (0, 1, 2, 3, 4, 5)),
    ]
    (stream,) = read_streams(found)
    assert (stream.client, stream.server) == (remote, upstream)
    assert stream.said() == (b"PING\r\n", b"+PONG\r\n+BYE\r\n")
    assert stream.ended == [("client", "fin"), ("server", "fin")]


@pytest.mark.parametrize("by", SIDES)
def test_a_reset(by: Side) -> None:
    capture = Capture(UPSTREAMS[V4])
    records = [
        capture.opened(1, V4, NOW),
        capture.unit(1, V4, "client", b"GET x\r\n", NOW),
        capture.closed(1, V4, by, "rst", NOW),
    ]
    assert flags(records[-1]) == [RST | ACK]
    (stream,) = read_streams(packets(*records))
    assert stream.ended == [(by, "rst")]


def test_a_reset_after_a_fin() -> None:
    capture = Capture(UPSTREAMS[V4])
    records = [
        capture.opened(1, V4, NOW),
        capture.closed(1, V4, "client", "fin", NOW),
        capture.closed(1, V4, "client", "rst", NOW),
    ]
    (stream,) = read_streams(packets(*records))
    assert stream.ended == [("client", "fin"), ("client", "rst")]


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_end_is_written_once(how: Literal["fin", "rst"]) -> None:
    capture = Capture(UPSTREAMS[V4])
    capture.opened(1, V4, NOW)
    for side in SIDES:
        capture.closed(1, V4, side, how, NOW)
    assert capture.closed(1, V4, "client", how, NOW) == b""
    assert capture.closed(1, V4, "server", how, NOW) == b""
    assert capture.closed(2, V4, "client", how, NOW) == b"", "never seen"
    capture.opened(3, V4, NOW)
    assert capture.closed(3, V4, "client", "fin", NOW)
    assert capture.closed(3, V4, "client", "fin", NOW) == b""


def test_a_connection_older_than_the_capture_has_no_handshake() -> None:
    capture = Capture(UPSTREAMS[V4])
    first = packets(capture.unit(5, V4, "server", b"+PONG\r\n", NOW))
    second = packets(
        capture.unit(5, V4, "client", b"PING\r\n", NOW), capture.closed(5, V4, "client", "fin", NOW)
    )
    assert [packet.flags for packet in first + second] == [PSH | ACK, ACK] * 2 + [FIN | ACK, ACK]
    assert first[0].source == UPSTREAMS[V4]
    assert second[0].ack == first[0].sequence + 7
    assert second[2].sequence == second[0].sequence + 6


def test_an_empty_unit_is_no_packet() -> None:
    capture = Capture(UPSTREAMS[V4])
    capture.opened(1, V4, NOW)
    assert capture.unit(1, V4, "client", b"", NOW) == b""


# ---- units of any size -------------------------------------------------------------------------


@remotes
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_large_unit_is_several_segments(remote: tuple[str, int], extra: int) -> None:
    data = bytes(range(256)) * (3 * MAX_SEGMENT // 256 + 1)
    data = data[: 3 * MAX_SEGMENT + extra]
    capture = Capture(UPSTREAMS[remote])
    opened = capture.opened(1, remote, NOW)
    found = packets(capture.unit(1, remote, "server", data, NOW))
    *segments, last, acknowledgement = found
    assert {segment.flags for segment in segments} == {ACK}
    assert last.flags == PSH | ACK
    assert acknowledgement.flags == ACK
    assert len(segments) == (3 if extra == 1 else 2)
    (stream,) = read_streams(packets(opened) + found)
    assert stream.said() == (b"", data)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([V4, V6]),
    st.lists(
        st.tuples(st.sampled_from(SIDES), st.integers(0, 3 * MAX_SEGMENT), st.binary(max_size=9))
    ),
    st.floats(0, 2**32 - 1),
)
@example(V6, [("client", MAX_SEGMENT, b""), ("server", MAX_SEGMENT + 1, b"\xff")], 0.0)
@example(V4, [("client", 5000, b"x")], 17_179.612784)  # a sequence number wraps around at once
def test_units_of_any_size(
    remote: tuple[str, int], units: list[tuple[Side, int, bytes]], at: float
) -> None:
    capture = Capture(UPSTREAMS[remote])
    records = [capture.header(), capture.opened(1, remote, at)]
    sent = {"client": b"", "server": b""}
    for sender, size, tail in units:
        data = bytes(size) + tail
        records.append(capture.unit(1, remote, sender, data, at))
        sent[sender] += data
    (stream,) = read_streams(read_capture(b"".join(records)))
    assert stream.said() == (sent["client"], sent["server"])


# ---- many connections --------------------------------------------------------------------------


def test_connections_at_the_same_time() -> None:
    capture = Capture(UPSTREAMS[V4])
    remotes = {number: ("192.0.2.7", 40_000 + number) for number in range(100)}
    records = [capture.opened(number, remote, NOW) for number, remote in remotes.items()]
    for word in (b"one ", b"two"):
        for number, remote in remotes.items():
            records += [
                capture.unit(number, remote, side, b"%b%d" % (word, number), NOW) for side in SIDES
            ]
    streams = read_streams(packets(*records))
    assert [stream.client for stream in streams] == list(remotes.values())
    assert [stream.said() for stream in streams] == [
        (b"one %dtwo%d" % (number, number),) * 2 for number in remotes
    ]


@pytest.mark.parametrize(
    ("number", "later"), [(2, 0), (1, 0.001)], ids=["same time", "capture continued"]
)
def test_connections_from_the_same_port_have_other_sequence_numbers(
    number: int, later: float
) -> None:
    first, second = Capture(UPSTREAMS[V4]), Capture(UPSTREAMS[V4])
    found = [
        packets(first.opened(1, V4, NOW)),
        packets(second.opened(number, V4, NOW + later)),
    ]
    for before, after in zip(*found, strict=True):
        assert before.sequence != after.sequence


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "remote", "shown"),
    [
        ("redis.example", "192.0.2.7", "127.0.0.1"),
        ("redis.example", "2001:db8::7", "::1"),
        ("2001:db8::1", "192.0.2.7", "127.0.0.1"),
        ("192.0.2.1", "2001:db8::7", "::1"),
        ("192.0.2.1", "::ffff:192.0.2.7", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.7", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::7%eth0", "fe80::1"),
    ],
)
def test_both_ends_are_of_the_clients_family(upstream: str, remote: str, shown: str) -> None:
    capture = Capture((upstream, 53))
    client = remote.removeprefix("::ffff:").partition("%")[0]
    found = packets(
        capture.opened(1, (remote, 1234), NOW),
        capture.datagram((remote, 1234), "client", b"x", NOW),
    )
    for packet in (found[0], found[2], found[3]):
        assert (packet.source, packet.destination) == ((client, 1234), (shown, 53))
    assert (found[1].source, found[1].destination) == ((shown, 53), (client, 1234))


# ---- datagrams ---------------------------------------------------------------------------------


@remotes
@pytest.mark.parametrize("size", [0, 1, 2, 1999, 65_507])
def test_datagrams(remote: tuple[str, int], size: int) -> None:
    upstream, data = UPSTREAMS[remote], b"\xfe" * size
    capture = Capture(upstream)
    request, reply = packets(
        capture.datagram(remote, "client", data, NOW),
        capture.datagram(remote, "server", data, NOW + 0.000001),
    )
    assert (request.protocol, request.data, reply.data) == ("udp", data, data)
    assert (request.source, request.destination) == (remote, upstream)
    assert (reply.source, reply.destination) == (upstream, remote)
    assert round((reply.seconds - request.seconds) * 1e6) == 1


@remotes
def test_a_checksum_of_zero(remote: tuple[str, int]) -> None:
    # The two bytes of data are what the sum lacks of being all ones, of which zero is the
    # complement. Over UDP zero would mean no checksum; over TCP Wireshark warns of all ones.
    def datagram(data: bytes) -> bytes:
        return Capture(UPSTREAMS[remote]).datagram(remote, "client", data, NOW)[-4:-2]

    def segment(data: bytes) -> bytes:
        unit = Capture(UPSTREAMS[remote]).unit(1, remote, "client", data, NOW)
        acknowledgement = len(unit) // 2 - 1  # as long as the segment, without its two bytes
        return unit[:-acknowledgement][-6:-4]

    assert datagram(datagram(bytes(2))) == b"\xff\xff"
    assert segment(segment(bytes(2))) == b"\0\0"
