"""A user's own framing: well-behaved ones read like ours, ill-behaved ones lose no byte."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.framings.delimiters import Lines
from esps_portal.framings.framing import Frame, Framing
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.testing import FramingError, lines
from tests.cases import cases
from tests.protocol.strategies import byte_by_byte, cut, places


class Semicolons:
    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        *frames, rest = buffer.split(b";")
        return frames, rest

    def join(self, frame: bytes) -> bytes:
        return frame + b";"


class Stripped(Semicolons):
    """Its frames are not what is between the bytes: join gives other lengths than came."""

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        *frames, rest = buffer.split(b";")
        return [frame.strip().lower() for frame in frames if frame.strip()], rest


class Objects:
    """JSON objects one after the other, and a frame's end is known by its own bytes."""

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        frames: list[bytes] = []
        text = buffer.decode("latin-1")
        while text.lstrip():
            try:
                value, end = json.JSONDecoder().raw_decode(text.lstrip())
            except json.JSONDecodeError:
                break
            frames.append(json.dumps(value).encode())
            text = text.lstrip()[end:]
        return frames, text.encode("latin-1")

    def join(self, frame: bytes) -> bytes:
        return frame


class Pairs:
    """Two frames end with the same byte."""

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        whole = len(buffer) // 4 * 4
        return [buffer[at : at + 2] for at in range(0, whole, 2)], buffer[whole:]

    def join(self, frame: bytes) -> bytes:
        return frame


class Checksummed(Pairs):
    """Two frames end with the same byte, and what is joined is not part of what came."""

    def join(self, frame: bytes) -> bytes:
        return frame + b"!"


def feed(framing: Framing, pieces: list[bytes]) -> tuple[list[Frame], bytes]:
    splitter = FrameSplitter(framing)
    return [frame for piece in pieces for frame in splitter.feed(piece)], splitter.rest


@pytest.mark.parametrize(
    ("framing", "data", "frames", "rest"),
    [
        (Semicolons(), b"a;;bc;d", [(b"a", b"a;"), (b"", b";"), (b"bc", b"bc;")], b"d"),
        (Stripped(), b" A ;;  ; b;;", [(b"a", b" A ;"), (b"b", b";  ; b;")], b";"),
        (
            Objects(),
            b'{"a":1} {"b":2}\n{"c',
            [(b'{"a": 1}', b'{"a":1}'), (b'{"b": 2}', b' {"b":2}')],
            b'\n{"c',
        ),
        (
            Pairs(),
            b"abcdefghi",
            [(b"ab", b"ab"), (b"cd", b"cd"), (b"ef", b"ef"), (b"gh", b"gh")],
            b"i",
        ),
        (Checksummed(), b"abcdef", [(b"ab", b"abcd"), (b"cd", b"")], b"ef"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_frames_and_wires(
    framing: Framing, data: bytes, frames: list[tuple[bytes, bytes]], rest: bytes
) -> None:
    expected = ([Frame(*frame) for frame in frames], rest)
    for pieces in ([data], byte_by_byte(data), *([data[:n], data[n:]] for n in range(len(data)))):
        assert feed(framing, pieces) == expected


@pytest.mark.parametrize(
    "framing",
    [Semicolons(), Stripped(), Objects(), Pairs(), Checksummed()],
    ids=lambda framing: type(framing).__name__,
)
@given(data=st.lists(st.sampled_from(list(b'aB {}1;; "')), max_size=30).map(bytes), at=places)
def test_any_bytes_in_any_pieces(framing: Framing, data: bytes, at: list[int]) -> None:
    frames, rest = feed(framing, [data])
    assert b"".join(frame.wire for frame in frames) + rest == data
    assert feed(framing, cut(data, at)) == feed(framing, byte_by_byte(data)) == (frames, rest)


def test_a_subclass_of_ours_is_asked_itself() -> None:
    class Upper(Lines):  # type: ignore[misc]  # it is final for a type checker only
        def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
            frames, rest = super().split(buffer)
            return [frame.upper() for frame in frames], rest

    assert feed(Upper(b"\n"), [b"a\nb"]) == ([Frame(b"A", b"a\n")], b"b")


class Counting(Semicolons):
    def __init__(self) -> None:
        self.asked = 0

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        self.asked += len(buffer)
        return super().split(buffer)


@pytest.mark.parametrize("size", [1, 10, 1000, 20_000])
def test_many_frames_in_one_chunk_cost_little_more_than_one_pass(size: int) -> None:
    framing = Counting()
    data = (b"x" * (size - 1) + b";") * (20_000 // size)
    (frames, rest) = feed(framing, [data])
    assert (len(frames), rest) == (20_000 // size, b"")
    assert framing.asked <= 25 * len(data)  # twice the logarithm of the longest frame, at most


def test_no_more_than_max_frame_is_asked_about() -> None:
    framing = Counting()
    splitter = FrameSplitter(framing, max_frame=64)
    with pytest.raises(FramingError, match="a frame is longer than max_frame, 64 bytes"):
        splitter.feed(b"x" * 100_000)
    assert framing.asked <= 64 * 3
    assert splitter.rest == b"x" * 100_000


# ---- ill-behaved ones --------------------------------------------------------------------------


def framing_of(split: Callable[[bytes], Any], join: Callable[[bytes], Any] = bytes) -> Any:  # noqa: ANN401
    class Own:
        def __repr__(self) -> str:
            return "<own>"

        def split(self, buffer: bytes) -> Any:  # noqa: ANN401 - it may be wrong
            return split(buffer)

        def join(self, frame: bytes) -> Any:  # noqa: ANN401 - it may be wrong
            return join(frame)

    return Own()


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (lambda _: ([], b"\x1b]0;"), r"a rest that is not the end of the bytes: b'\\x1b\]0;'"),
        (lambda data: ([data[:1]], data), "found a frame that takes no bytes"),
        (lambda data: data.split(b"c"), r"must return a list of frames and the rest, got list"),
        (lambda _: None, "must return a list of frames and the rest, got NoneType"),
        (lambda data: ([], data, 1), "got a tuple of list, bytes, int"),
        (lambda data: ([], data.decode()), "got a tuple of list, str"),
        (lambda data: (data, b""), "got a tuple of bytes, bytes"),
        (lambda _: (["ab"], b""), "must return frames of bytes, got str"),
        (lambda data: data[9], r"raised IndexError\('index out of range'\)"),
        (lambda _: (_ for _ in ()).throw(ValueError("\x1b")), r"raised ValueError\('\\x1b'\)"),
    ],
)
@cases("bytewise", [False, True])
def test_a_split_that_misbehaves(
    split: Callable[[bytes], Any], message: str, *, bytewise: bool
) -> None:
    splitter = FrameSplitter(framing_of(split))
    data = b"abc"
    for piece in byte_by_byte(data) if bytewise else [data]:
        with contextlib.suppress(FramingError):
            splitter.feed(piece)
    assert re.search(rf"^split\(\) of <own> .*{message}$", str(splitter.error))
    assert data.startswith(splitter.rest)
    assert splitter.rest


def test_a_framing_error_of_the_users_own_passes_as_it_is() -> None:
    own = FramingError("no magic number")

    def split(data: bytes) -> tuple[list[bytes], bytes]:
        if data.startswith(b"x"):
            raise own
        return Semicolons().split(data)

    splitter = FrameSplitter(framing_of(split))
    assert splitter.feed(b"a;xb") == [Frame(b"a", b"a;")]
    assert (splitter.error, splitter.rest) == (own, b"xb")
    with pytest.raises(FramingError) as caught:
        splitter.feed(b";")
    assert caught.value is own


@pytest.mark.parametrize(
    ("join", "message"),
    [(lambda _: 1 // 0, "raised ZeroDivisionError"), (lambda _: None, "raised TypeError")],
)
def test_a_join_that_misbehaves(join: Callable[[bytes], Any], message: str) -> None:
    splitter = FrameSplitter(framing_of(Pairs().split, join))
    with pytest.raises(FramingError, match=rf"^join\(\) of <own> {message}"):
        splitter.feed(b"abcd")
    assert splitter.rest == b"abcd"


def test_frames_and_rest_of_other_kinds_of_bytes_are_taken() -> None:
    def split(data: bytes) -> tuple[tuple[bytearray, ...], memoryview]:
        frames, rest = Semicolons().split(data)
        return tuple(map(bytearray, frames)), memoryview(rest)

    frames, rest = feed(framing_of(split), [b"a;b"])
    assert (frames, rest) == ([Frame(b"a", b"a;")], b"b")
    assert type(frames[0].payload) is bytes


@pytest.mark.parametrize("framing", [None, "lines:crlf", b"\n", object(), lines, Semicolons])
def test_what_is_no_framing(framing: Any) -> None:  # noqa: ANN401 - it is wrong
    with pytest.raises(FramingError, match="an object with the methods split and join, got "):
        FrameSplitter(framing)
