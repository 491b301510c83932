"""What Hypothesis generates for these tests: messages, noise, and places to cut bytes."""

from __future__ import annotations

from hypothesis import strategies as st

from esps_portal.protocol.messages import DATA, ERR, OK, Notice, Reply, Request

LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = LOWER + LOWER.upper()
TAG_CHARACTERS = LETTERS + "0123456789-._"

tags = st.text(TAG_CHARACTERS, min_size=1, max_size=32).map(str.encode)
verbs = st.text(LETTERS, min_size=1, max_size=16).map(str.encode)
names = st.builds(
    lambda first, rest: (first + rest).encode(),
    st.sampled_from(LOWER),
    st.text(LOWER + "0123456789-._", max_size=63),
)
args = st.tuples() | st.lists(st.binary(max_size=12) | names, max_size=4).map(tuple)

requests = st.builds(Request, tags, verbs, args)
errors = st.builds(lambda tag, code, text: Reply(tag, ERR, (code, *text)), tags, names, args)
replies = st.builds(Reply, tags, st.sampled_from([OK, DATA]), args) | errors
notices = st.builds(Notice, st.sampled_from([b"ESPS/1", ERR, b"BYE"]), args)

# What lines are made of, good and bad: together often a line, or nearly one.
_FRAGMENTS = [
    *(b"\n", b"\n", b"\r\n", b"\r", b" ", b" ", b" ", b"  ", b"\t", b"\x16", b"\xff", b"\x00"),
    *(b"1", b"2", b"a", b"PING", b"CALL", b"CANCEL", b"QUIT", b"LIST", b"HELLO", b"ping"),
    *(b"OK", b"DATA", b"ERR", b"*", b"* ", b"BYE", b"ESPS/1", b"GET / HTTP/1.1", b"busy"),
    *(b'""', b'"', b"%41", b"%4", b"%", b"#", b"###", b"t" * 32, b"x" * 600),
    *(b"1 PING\n", b"1 CALL a\n", b"2 CALL b\n", b"3 CANCEL 1\n", b"4 QUIT\n", b"1 OK\n"),
]
noise = st.binary(max_size=60) | st.lists(st.sampled_from(_FRAGMENTS), max_size=14).map(b"".join)

places = st.lists(st.integers(0, 2000), max_size=12)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut ``data`` at these places; no piece is empty, as with a socket."""
    ends = sorted({place % len(data) for place in at} - {0}) if data else []
    found = [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    return [piece for piece in found if piece]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Cut ``data`` everywhere."""
    return [bytes((byte,)) for byte in data]
