"""The PROXY header, version 1 and 2: what is taken, what is refused, however it is cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.net.proxy_header import MAX_SIZE, ProxyHeader, ProxyHeaderError
from tests.cases import cases
from tests.protocol.strategies import byte_by_byte

START = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4 = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 4000, 2867)
TCP6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + struct.pack("!HH", 4000, 2867)


def v2(command: int, family: int, rest: bytes) -> bytes:
    return START + struct.pack("!BBH", command, family, len(rest)) + rest


GOOD = {
    "v1-tcp4": (b"PROXY TCP4 192.0.2.1 192.0.2.9 4000 2867\r\n", ("192.0.2.1", 4000)),
    "v1-tcp6": (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", ("2001:db8::1", 1)),
    "v1-tcp6-long": (b"PROXY TCP6 2001:DB8:0::1 ::1 1 65535\r\n", ("2001:db8::1", 1)),
    "v1-unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1-unknown-rest": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "v1-longest": (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    "v2-tcp4": (v2(0x21, 0x11, TCP4), ("192.0.2.1", 4000)),
    "v2-tcp6": (v2(0x21, 0x21, TCP6), ("::1", 4000)),
    "v2-extensions": (v2(0x21, 0x11, TCP4 + b"\x04\x00\x01x"), ("192.0.2.1", 4000)),
    "v2-longest": (v2(0x21, 0x11, TCP4 + bytes(MAX_SIZE - 28)), ("192.0.2.1", 4000)),
    "v2-local": (v2(0x20, 0x00, b""), None),
    "v2-local-with-addresses": (v2(0x20, 0x11, TCP4), None),
    "v2-unspecified": (v2(0x21, 0x00, b"whatever"), None),
    "v2-unix": (v2(0x21, 0x31, bytes(216)), None),
    "v2-unix-datagrams": (v2(0x21, 0x32, bytes(216)), None),
    "v2-udp4": (v2(0x21, 0x12, TCP4), None),
    "v2-udp6": (v2(0x21, 0x22, TCP6), None),
    "v2-local-of-any-family": (v2(0x20, 0xFF, b"whatever"), None),
    "v2-local-longest": (v2(0x20, 0x00, bytes(MAX_SIZE - 16)), None),
}

BAD = {
    "nothing-like-it": b"1 PING\n",
    "http": b"GET / HTTP/1.1\r\n",
    "lower-case": b"proxy UNKNOWN\r\n",
    "v1-no-cr": b"PROXY UNKNOWN\n",
    "v1-too-long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1-endless": b"PROXY " + b"x" * 200,
    "v1-two-spaces": b"PROXY  TCP4 192.0.2.1 192.0.2.9 4000 2867\r\n",
    "v1-other-family": b"PROXY TCP4 ::1 ::1 4000 2867\r\n",
    "v1-no-address": b"PROXY TCP4 192.0.2.256 192.0.2.9 4000 2867\r\n",
    "v1-port": b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 2867\r\n",
    "v1-port-of-destination": b"PROXY TCP4 192.0.2.1 192.0.2.9 1 99999\r\n",
    "v1-port-with-a-zero": b"PROXY TCP4 192.0.2.1 192.0.2.9 01 2867\r\n",
    "v1-udp": b"PROXY UDP4 192.0.2.1 192.0.2.9 4000 2867\r\n",
    "v1-missing": b"PROXY TCP4 192.0.2.1\r\n",
    "v2-version": v2(0x11, 0x11, TCP4),
    "v2-command": v2(0x22, 0x11, TCP4),
    "v2-family": v2(0x21, 0x41, TCP4),
    "v2-local-too-long": v2(0x20, 0x00, bytes(MAX_SIZE - 15)),
    "v2-short": v2(0x21, 0x11, TCP4[:-1]),
    "v2-too-long": v2(0x21, 0x11, TCP4 + bytes(MAX_SIZE - 27)),
    "v2-start": START[:-1] + b"X",
}


def fed(pieces: list[bytes]) -> tuple[ProxyHeader, int]:
    header = ProxyHeader()
    return header, sum(header.feed(piece) for piece in pieces)


@cases(("data", "source"), GOOD.values())
def test_a_header_names_the_client(data: bytes, source: tuple[str, int] | None) -> None:
    # ESPS-TCP-17, ESPS-TCP-19, ESPS-TCP-21
    for pieces in ([data], byte_by_byte(data), [data + b"1 PING\n"], [data + data]):
        header, taken = fed(pieces)
        assert header.is_complete
        assert header.source == source
        assert taken == len(data)  # and none of what follows


@cases("data", BAD.values())
def test_what_is_not_valid(data: bytes) -> None:  # ESPS-TCP-18, ESPS-TCP-22, ESPS-TCP-23
    for pieces in ([data], byte_by_byte(data), [data + b"more" * 100]):
        with pytest.raises(ProxyHeaderError):
            fed(pieces)


def test_no_other_family_is_valid() -> None:  # ESPS-TCP-18
    for family in {*range(256)} - {0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32}:
        with pytest.raises(ProxyHeaderError):
            fed([v2(0x21, family, bytes(216))])


@cases("data", [data for data, _ in GOOD.values()])
def test_a_part_of_a_header_is_none(data: bytes) -> None:
    header, taken = fed([data[:-1]])
    assert not header.is_complete
    assert header.source is None
    assert taken == len(data) - 1


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", START]))
def test_any_bytes_are_a_header_or_refused(data: bytes, start: bytes) -> None:
    header = ProxyHeader()
    try:
        assert header.feed(start + data) <= MAX_SIZE
    except ProxyHeaderError:
        assert not header.is_complete
