"""Each framing with bytes, the frames in them, and what is left: one table for all readers."""

from __future__ import annotations

from hypothesis import strategies as st

from esps_portal.framings.framing import Frame, Framing
from esps_portal.testing import delimited, fixed, length_prefixed, lines, matching

MODBUS = b"\0\1\0\0\0\6\1\3\0\0\0\1"
POSTGRES = b"Q\0\0\0\x0dselect 1\0"
MYSQL = b"\1\0\0\0\x0e"
TPKT = b"\3\0\0\7\2\xf0\x80"
# A packet without a payload, and one of 300 bytes (MQTT 5.0, section 1.5.5).
MQTT_PING = b"\xc0\0"
MQTT_LONG = b"\x30\xac\2" + b"x" * 300
AMQP = b"\1\0\0\0\0\0\2hi\xce"


def same(*frames: bytes) -> list[Frame]:
    """Frames that stubs see whole."""
    return [Frame(frame, frame) for frame in frames]


#: A framing, the bytes, the frames, and the rest.
Case = tuple[Framing, bytes, list[Frame], bytes]
CASES: dict[str, Case] = {
    "lf": (
        lines(),
        b"a\n\nb\r\nc",
        [Frame(b"a", b"a\n"), Frame(b"", b"\n"), Frame(b"b\r", b"b\r\n")],
        b"c",
    ),
    "crlf": (
        lines("\r\n"),
        b"a\nb\r\n\r\r\n\r\n\r",
        [Frame(b"a\nb", b"a\nb\r\n"), Frame(b"\r", b"\r\r\n"), Frame(b"", b"\r\n")],
        b"\r",
    ),
    "cr": (lines(b"\r"), b"?V\r\n", [Frame(b"?V", b"?V\r")], b"\n"),
    "delimiter that overlaps itself": (
        delimited(b"aab"),
        b"aaabaabaa",
        [Frame(b"a", b"aaab"), Frame(b"", b"aab")],
        b"aa",
    ),
    "netconf": (
        delimited(b"]]>]]>"),
        b"<x/>]]]>]]>]]>]]",
        [Frame(b"<x/>]", b"<x/>]]]>]]>")],
        b"]]>]]",
    ),
    "dns": (
        length_prefixed(2),
        b"\0\2hi\0\0\1\0" + b"x" * 256 + b"\0",
        [Frame(b"hi", b"\0\2hi"), Frame(b"", b"\0\0"), Frame(b"x" * 256, b"\1\0" + b"x" * 256)],
        b"\0",
    ),
    "modbus": (
        length_prefixed(2, at=4),
        MODBUS + MODBUS + MODBUS[:5],
        same(MODBUS, MODBUS),
        MODBUS[:5],
    ),
    "postgres": (
        length_prefixed(4, at=1, extra=-4),
        POSTGRES * 2 + b"X",
        same(POSTGRES, POSTGRES),
        b"X",
    ),
    "amqp": (length_prefixed(4, at=3, extra=1), AMQP + AMQP[:-1], same(AMQP), AMQP[:-1]),
    "mysql": (length_prefixed(3, extra=1, order="little"), MYSQL * 2, same(MYSQL, MYSQL), b""),
    "tpkt": (length_prefixed(2, at=2, extra=-4), TPKT * 2, same(TPKT, TPKT), b""),
    "little": (
        length_prefixed(3, order="little"),
        b"\1\0\0x\2\0\0y",
        [Frame(b"x", b"\1\0\0x")],
        b"\2\0\0y",
    ),
    "eight": (length_prefixed(8), b"\0" * 7 + b"\1zz", [Frame(b"z", b"\0" * 7 + b"\1z")], b"z"),
    "mqtt": (
        length_prefixed("varint", at=1),
        MQTT_PING + MQTT_LONG + MQTT_LONG[:2],
        same(MQTT_PING, MQTT_LONG),
        MQTT_LONG[:2],
    ),
    "protobuf": (
        length_prefixed("varint"),
        b"\2hi\0" + b"\x80\2" + b"x" * 256 + b"\x80",
        [
            *(Frame(b"hi", b"\2hi"), Frame(b"", b"\0")),
            Frame(b"x" * 256, b"\x80\2" + b"x" * 256),
        ],
        b"\x80",
    ),
    "fixed": (fixed(3), b"abcdefgh", same(b"abc", b"def"), b"gh"),
    "one byte": (fixed(1), b"ab", same(b"a", b"b"), b""),
    "smtp": (
        matching(rb"(?m)^\d{3} .*\r\n"),
        b"250-a\r\n250 b\r\n354 c\r\n25",
        same(b"250-a\r\n250 b\r\n", b"354 c\r\n"),
        b"25",
    ),
    "earliest": (matching(rb"END|ENDS|x+"), b"ENDSxx", same(b"END", b"Sx", b"x"), b""),
    "start of a frame": (matching(rb"\Aa|b"), b"aabcab", same(b"a", b"a", b"b", b"cab"), b""),
    "lookahead": (matching(rb"\n(?=>)"), b">a\nb\n>c\n", same(b">a\nb\n"), b">c\n"),
    "lookbehind": (matching(rb"(?<=\r)\n"), b"a\nb\r\n\n\r\n", same(b"a\nb\r\n", b"\n\r\n"), b""),
    "reference": (matching(rb"(ab?)-\1;"), b"ab-a;ab-ab;x", same(b"ab-a;ab-ab;"), b"x"),
}

# Bytes of which these framings make frames often.
_FRAGMENTS = [
    b"\n",
    b"\r\n",
    b"\r",
    b"a",
    b"aab",
    b"]]>]]>",
    b"\0\1",
    b"\0",
    b"\1",
    b"250 ",
    b">",
    b"-a;",
]
noise = st.lists(st.sampled_from(_FRAGMENTS), max_size=20).map(b"".join) | st.binary(max_size=40)
