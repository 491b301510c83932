"""The limits of a splitter: the size of a frame, memory, and the work for each byte."""

from __future__ import annotations

from typing import Any, SupportsIndex

import pytest

from esps_portal.framings import splitter as splitter_module
from esps_portal.framings.framing import BuiltInFraming, Frame
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.testing import (
    FramingError,
    delimited,
    fixed,
    length_prefixed,
    lines,
    matching,
    until_close,
)
from tests.protocol.strategies import byte_by_byte

# ---- the size of a frame -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framing", "fits", "excess"),
    [
        (lines(), b"1234\n", b"12345"),
        (lines("\r\n"), b"123\r\n", b"1234\r"),
        (length_prefixed(1), b"\4abcd", b"\5"),
        (length_prefixed(4), b"\0\0\0\1x", b"\xff\xff\xff\xff"),
        (length_prefixed(1, at=2), b"ab\2xy", b"ab\3"),
        (length_prefixed("varint"), b"\4abcd", b"\x85\1"),
        (fixed(5), b"12345", None),
        (fixed(6), None, b"12345"),
        (matching(rb"\n"), b"1234\n", b"12345"),
        (matching(rb"(?<=4)\n"), b"1234\n", b"12345"),
    ],
    ids=str,
)
def test_max_frame(framing: BuiltInFraming, fits: bytes | None, excess: bytes | None) -> None:
    if fits:
        assert [f.wire for f in FrameSplitter(framing, 5).feed(fits * 3)] == [fits] * 3
    if excess is None:
        return
    # A length field says at once what is too long; otherwise the first byte over it does.
    too_long = excess if isinstance(framing, type(length_prefixed(1))) else excess + b"6"
    splitter = FrameSplitter(framing, 5)
    for byte in byte_by_byte(too_long[:-1]):
        assert splitter.feed(byte) == []
    with pytest.raises(FramingError, match="a frame is longer than max_frame, 5 bytes"):
        splitter.feed(too_long[-1:])
    assert splitter.rest == too_long


def test_until_close_is_bounded() -> None:
    splitter = FrameSplitter(until_close(), 5)
    assert splitter.feed(b"12345") == []
    with pytest.raises(FramingError, match="'until-close': a frame is longer"):
        splitter.feed(b"6")
    with pytest.raises(FramingError, match="'until-close': a frame is longer"):
        splitter.finish()
    assert splitter.rest == b"123456"


@pytest.mark.parametrize("framing", [length_prefixed("varint"), length_prefixed("varint", at=1)])
def test_what_is_no_varint_is_an_error_at_its_fifth_byte(framing: BuiltInFraming) -> None:
    splitter = FrameSplitter(framing)
    start = b"\x30" * (framing == length_prefixed("varint", at=1))
    assert splitter.feed(start + b"\x80" * 4) == []
    with pytest.raises(FramingError, match="the length has more than 5 bytes: it is not a varint"):
        splitter.feed(b"\xff")


def test_a_varint_may_have_more_bytes_than_it_needs() -> None:
    """As protocols that leave room for it, and fill it in later, have."""
    assert length_prefixed("varint").split(b"\x82\x80\0hi\1") == ([b"hi"], b"\1")


def test_a_length_that_ends_before_its_field_is_an_error_at_once() -> None:
    splitter = FrameSplitter(length_prefixed(2, extra=-2))
    assert splitter.feed(b"\0") == []
    with pytest.raises(FramingError, match="the length field says 1: with extra=-2"):
        splitter.feed(b"\1")
    assert splitter.rest == b"\0\1"


def test_frames_before_an_error_come_first() -> None:
    splitter = FrameSplitter(lines(), 4)
    assert splitter.feed(b"a\nb\ntoo long\nc\n") == [Frame(b"a", b"a\n"), Frame(b"b", b"b\n")]
    assert splitter.rest == b"too long\nc\n"
    assert "longer than max_frame" in str(splitter.error)
    with pytest.raises(FramingError) as fed:
        splitter.feed(b"d\n")
    with pytest.raises(FramingError) as finished:
        splitter.finish()
    assert fed.value is finished.value is splitter.error
    # A stream that has failed takes no more memory.
    assert splitter.rest == b"too long\nc\n"


def test_an_error_tells_no_raw_byte() -> None:
    splitter = FrameSplitter(matching(b"\x1b"), 1)
    with pytest.raises(FramingError, match="max_frame") as caught:
        splitter.feed(b"ab")
    assert str(caught.value).isprintable()


# ---- the work for each byte --------------------------------------------------------------------

SIZE = 1 << 14


class CountingBuffer(bytearray):
    """Counts the bytes that are looked at."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:  # noqa: ANN401 - as bytearray
        end = len(self) if end is None else end
        found = super().find(sub, start, end)
        type(self).looked_at += max(0, (end if found < 0 else found + len(sub)) - start)
        return found

    def __getitem__(self, place: SupportsIndex | slice) -> Any:  # noqa: ANN401 - as bytearray
        found = super().__getitem__(place)
        type(self).looked_at += len(found) if isinstance(found, bytes | bytearray) else 1
        return found


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> type[CountingBuffer]:
    monkeypatch.setattr(CountingBuffer, "looked_at", 0)
    monkeypatch.setattr(splitter_module, "bytearray", CountingBuffer, raising=False)
    return CountingBuffer


@pytest.mark.parametrize(
    "framing",
    [
        *(lines(), lines("\r\n"), delimited(b"aaab"), length_prefixed(4), fixed(SIZE)),
        *(until_close(), matching(rb"\r\n\.\r\n"), matching(rb"(?:a+)+b"), matching(rb"a.*b")),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [1, 7, SIZE])
def test_the_work_is_linear(
    framing: BuiltInFraming, size: int, looked_at: type[CountingBuffer]
) -> None:
    # One frame that does not end; a length field says nearly SIZE.
    data = b"\0\0\x3f\xfc" + b"a" * (SIZE - 5)
    splitter = FrameSplitter(framing, SIZE)
    for start in range(0, len(data), size):
        splitter.feed(data[start : start + size])
    assert looked_at.looked_at <= 6 * SIZE


@pytest.mark.parametrize(
    ("framing", "frame"),
    [
        (lines(), b"\n"),
        (lines("\r\n"), b"\r\r\n"),
        (length_prefixed(2), b"\0\1x"),
        (length_prefixed("varint", at=1), b"\x30\1x"),
        (fixed(2), b"ab"),
        (matching(rb"(?:a+)+b"), b"aab"),
        (matching(rb"(?m)^\d+ .*\n"), b"1-a\n1 b\n"),
    ],
    ids=str,
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_many_small_frames_cost_no_more(
    framing: BuiltInFraming, frame: bytes, looked_at: type[CountingBuffer], *, bytewise: bool
) -> None:
    count = 5_000
    data = frame * count
    splitter = FrameSplitter(framing)
    pieces = byte_by_byte(data) if bytewise else [data]
    assert [found.wire for piece in pieces for found in splitter.feed(piece)] == [frame] * count
    assert 0 < looked_at.looked_at <= 6 * len(data)


def test_what_follows_a_frame_that_is_too_long_is_not_looked_at(
    looked_at: type[CountingBuffer],
) -> None:
    splitter = FrameSplitter(matching(rb"(a)\1b"), 100)  # which is searched again for each byte
    with pytest.raises(FramingError, match="max_frame"):
        splitter.feed(b"a" * SIZE)
    assert looked_at.looked_at <= 101
    assert splitter.rest == b"a" * SIZE
