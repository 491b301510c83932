"""However bytes are cut they give the same frames; no byte is lost; what is joined is read back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esps_portal.framings.framing import BuiltInFraming, Frame, Framing
from esps_portal.framings.parse import parse_framing
from esps_portal.framings.sizes import LengthPrefixed
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.testing import (
    FramingError,
    datagrams,
    delimited,
    fixed,
    length_prefixed,
    lines,
    matching,
    until_close,
)
from tests.cases import cases
from tests.framings.cases import AMQP, CASES, MODBUS, Case, noise
from tests.protocol.strategies import byte_by_byte, cut, places

MAX_FRAME = 30
table = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


class SplitOnly:
    """A framing of which only the two methods are known."""

    def __init__(self, framing: Framing) -> None:
        self.split = framing.split
        self.join = framing.join


def read(splitter: FrameSplitter, pieces: list[bytes]) -> tuple[list[Frame], bytes, str]:
    """Return the frames, the rest, and the error, if there is one, after all pieces up to it."""
    frames = []
    for piece in pieces:
        with contextlib.suppress(FramingError):
            frames += splitter.feed(piece)
        if splitter.error is not None:
            break
    return frames, splitter.rest, str(splitter.error or "")


@table
def test_split(case: Case) -> None:
    framing, data, frames, rest = case
    assert framing.split(data) == ([frame.payload for frame in frames], rest)
    assert framing.split(b"") == ([], b"")


@table
@cases("custom", [False, True])
def test_pieces(case: Case, *, custom: bool) -> None:
    framing, data, frames, rest = case
    used = SplitOnly(framing) if custom else framing
    for pieces in ([data], byte_by_byte(data), *([data[:n], data[n:]] for n in range(len(data)))):
        splitter = FrameSplitter(used)
        assert read(splitter, pieces) == (frames, rest, "")
        assert splitter.finish() == []
        assert splitter.rest == rest


@table
def test_each_frame_comes_with_its_last_byte(case: Case) -> None:
    framing, data, frames, _ = case
    splitter = FrameSplitter(framing)
    ends = [i for i, byte in enumerate(byte_by_byte(data), 1) for _ in splitter.feed(byte)]
    sizes = [len(frame.wire) for frame in frames]
    lookahead = 1 if "(?=" in str(framing) else 0  # it must see what follows
    assert ends == [sum(sizes[:n]) + lookahead for n in range(1, len(sizes) + 1)]


@table
def test_join_gives_the_wire_back(case: Case) -> None:
    framing, _, frames, _ = case
    if "(?=" in str(framing):
        with pytest.raises(FramingError, match="nothing ends the frame"):
            framing.join(frames[0].payload)
        return
    assert [framing.join(frame.payload) for frame in frames] == [frame.wire for frame in frames]


@table
@settings(max_examples=10)
@given(data=noise, at=places)
def test_any_bytes_in_any_pieces(case: Case, data: bytes, at: list[int]) -> None:
    framing = case[0]
    frames, rest, error = read(FrameSplitter(framing, MAX_FRAME), [data])
    assert b"".join(frame.wire for frame in frames) + rest == data
    assert all(len(frame.wire) <= MAX_FRAME for frame in frames)
    for used in (framing, SplitOnly(framing)):
        for pieces in (cut(data, at), byte_by_byte(data)):
            found, left, other = read(FrameSplitter(used, MAX_FRAME), pieces)
            assert found == frames
            wires = b"".join(frame.wire for frame in found)
            assert data.startswith(wires + left) if other else data == wires + left
            # A length field says what is too long before its bytes come, to those who can read it.
            if used is framing or not isinstance(framing, LengthPrefixed):
                assert bool(other) == bool(error)


JOINED: list[BuiltInFraming] = [
    *(lines(), lines("\r\n"), delimited(b"aab"), delimited(b"\0"), length_prefixed(1)),
    *(length_prefixed(2, order="little"), length_prefixed(2, at=1), fixed(3), datagrams()),
    *(length_prefixed("varint"), length_prefixed("varint", at=1), length_prefixed("varint", 0, -1)),
    *(matching(rb"\r?\n"), matching(rb"(?s)\x01.\x02"), matching(rb"(?<!\\);")),
]


@pytest.mark.parametrize("framing", JOINED, ids=str)
@given(
    frame=st.binary(max_size=8)
    | st.lists(st.sampled_from([b"a", b"b", b"\n", b"\r", b";"])).map(b"".join)
)
def test_what_can_be_joined_is_read_back_and_nothing_else(
    framing: BuiltInFraming, frame: bytes
) -> None:
    try:
        wire = framing.join(frame)
    except FramingError:
        return
    assert framing.split(wire) == ([frame], b"")
    assert FrameSplitter(framing).feed(wire) == [Frame(frame, wire)]


def test_a_datagram_is_a_frame_even_an_empty_one() -> None:
    splitter = FrameSplitter(datagrams(), max_frame=3)
    assert splitter.feed(b"") == [Frame(b"", b"")]
    assert splitter.feed(b"a\nb") == [Frame(b"a\nb", b"a\nb")]
    assert (splitter.finish(), splitter.rest) == ([], b"")
    assert datagrams().split(b"") == ([b""], b"")
    assert datagrams().join(b"") == b""
    assert datagrams().join(bytes(65507)) == bytes(65507)
    with pytest.raises(FramingError, match="a datagram has at most 65507 bytes, got 65508 bytes"):
        datagrams().join(bytes(65508))
    with pytest.raises(FramingError, match="longer than max_frame, 3 bytes"):
        splitter.feed(b"abcdefgh")
    assert splitter.rest == b"abcdefgh"


def test_until_close() -> None:
    splitter = FrameSplitter(until_close())
    assert splitter.feed(b"a") == splitter.feed(b"b") == []
    assert splitter.rest == b"ab"
    assert splitter.finish() == [Frame(b"ab", b"ab")]
    assert (splitter.rest, splitter.finish()) == (b"", [])
    assert FrameSplitter(until_close()).finish() == []
    assert until_close().split(b"ab") == ([], b"ab")
    assert until_close().join(b"ab") == b"ab"


def test_a_framing_is_a_value() -> None:
    assert lines("\r\n") == lines(b"\r\n") != lines()
    assert len({length_prefixed(2), length_prefixed(2, 0), length_prefixed(2, 4)}) == 2


@pytest.mark.parametrize(
    ("framing", "frame", "message"),
    [
        (
            lines(),
            b"a\nb",
            r"'lines:lf'|lines:lf: a frame must not contain its end b'\\n', got b'a\\nb'",
        ),
        (delimited(b"||"), b"a|", "must not contain its end"),  # a||| would end after a
        (delimited(b"\0"), b"x" * 100 + b"\0", r"got b'x{40}'\.\.\.; write it without$"),
        (
            length_prefixed(1),
            b"x" * 256,
            "length-prefixed:1: a frame has at most 255 bytes, got 256",
        ),
        (length_prefixed(2, at=4), b"\0\1\0\0\0", "at least 6 bytes, its length field included"),
        (length_prefixed(2, at=4), MODBUS + b"x", "says that the frame has 12 bytes, it has 13"),
        (length_prefixed(4, at=3, extra=1), AMQP[:-1], "has 10 bytes, it has 9"),
        (length_prefixed(2, extra=-2), b"\0\1", "the length field says 1"),
        (length_prefixed("varint", at=1), b"\x30\x80", "at least 2 bytes, its length field incl"),
        (length_prefixed("varint", at=1), b"\x30\1", "says that the frame has 3 bytes, it has 2"),
        (
            length_prefixed("varint", at=1),
            b"\x30" + b"\x80" * 5,
            "length-prefixed:varint,at=1: the length has more than 5 bytes: it is not a varint",
        ),
        (fixed(3), b"ab", "fixed:3: a frame has 3 bytes, got 2"),
        (matching(rb"END"), b"abc", "nothing ends the frame b'abc'"),
        (matching(rb"END"), b"", "nothing ends the frame b''"),
        (matching(rb"END"), b"ENDx", "the frame ends after 3 of 4 bytes"),
        (matching(rb"END"), b"xENDEND", "the frame ends after 4 of 7 bytes"),
    ],
    ids=str,
)
def test_a_frame_that_cannot_be_said(framing: Framing, frame: bytes, message: str) -> None:
    with pytest.raises(FramingError, match=message):
        framing.join(frame)


@pytest.mark.parametrize("framing", [*JOINED, until_close()], ids=str)
def test_a_frame_is_bytes(framing: BuiltInFraming) -> None:
    text: object = "abc"
    with pytest.raises(FramingError, match="a frame must be bytes, got 'abc'"):
        framing.join(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: lines("\n\r"),
            r"a line ends with .*, got '\\n\\r'; for another end use delimited\(\)",
        ),
        (lambda: lines(""), "got ''"),
        (lambda: lines("é"), "got 'é'"),
        (lambda: delimited(b""), "delimiter must be bytes, at least one, got b''"),
        (lambda: delimited("x"), "got 'x'"),  # type: ignore[arg-type]
        (lambda: length_prefixed(0), "size must be an integer from 1 to 8, got 0"),
        (lambda: length_prefixed(9), "got 9"),
        (lambda: length_prefixed("varin"), "size must be a number of bytes or 'varint', got 'v"),  # type: ignore[arg-type]
        (lambda: length_prefixed("varint", order="little"), "a varint has its own"),
        (lambda: length_prefixed(size=True), "got True"),
        (lambda: length_prefixed(2, at=-1), "at must be an integer from 0 to"),
        (lambda: length_prefixed(2, extra=1.5), "extra must be"),  # type: ignore[arg-type]
        (lambda: length_prefixed(2, order="network"), "order must be 'big' or 'little'"),  # type: ignore[arg-type]
        (lambda: fixed(0), "the size of a frame must be an integer from 1 to"),
        (lambda: matching("x"), "a pattern must be bytes"),  # type: ignore[arg-type]
        (lambda: FrameSplitter(lines(), 0), "max_frame must be an integer from 1 to"),
    ],
)
def test_a_framing_that_cannot_be(make: type[Framing], message: str) -> None:
    with pytest.raises(FramingError, match=message):
        make()


# ---- the documentation -------------------------------------------------------------------------

_EXAMPLE = re.compile(r"``([a-z_]+\(.+?)``\s+is\s+``(.+?)``", re.DOTALL)
DOCUMENTED: list[Callable[..., object]] = [
    *(lines, delimited, length_prefixed, fixed, datagrams, until_close, matching, parse_framing),
]


@pytest.mark.parametrize("function", DOCUMENTED, ids=lambda function: function.__name__)
def test_the_example_of_a_docstring(function: Callable[..., object]) -> None:
    names = {documented.__name__: documented for documented in DOCUMENTED}
    examples = _EXAMPLE.findall(function.__doc__ or "")
    # `length_prefixed` also says which one a protocol "is", without a value.
    assert examples
    for call, value in examples:
        assert eval(call, dict(names)) == eval(value, dict(names)), call  # noqa: S307 - our own
