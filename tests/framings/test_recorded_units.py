"""Where what clients send in a recording ends, however it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.framings.framing import FramingError
from esps_portal.framings.recorded_units import RecordedUnits, RecordedUnitSplitter


def split(units: list[bytes], *pieces: bytes) -> tuple[list[bytes], RecordedUnitSplitter]:
    splitter = RecordedUnitSplitter(RecordedUnits(units))
    return [frame.payload for piece in pieces for frame in splitter.feed(piece)], splitter


@pytest.mark.parametrize(
    ("units", "pieces", "frames", "rest", "is_waiting"),
    [
        # A unit that begins no other one ends with its last byte.
        ([b"GET a", b"GET b"], [b"GET a"], [b"GET a"], b"", False),
        ([b"GET a", b"GET b"], [b"GET ", b"bGE"], [b"GET b"], b"GE", False),
        # One that does waits.
        ([b"GET", b"GET a"], [b"GET"], [], b"GET", True),
        ([b"GET", b"GET a"], [b"GET", b" a"], [b"GET a"], b"", False),
        ([b"GET", b"GET a"], [b"GET "], [], b"GET ", False),
        # Or what comes next tells which it was.
        ([b"GET", b"GET a", b"SET"], [b"GETSET"], [b"GET", b"SET"], b"", False),
        ([b"GET", b"GET a", b"SET"], [b"GETS"], [b"GET"], b"S", False),
        ([b"a", b"ab", b"abc"], [b"aab"], [b"a"], b"ab", True),
        # What begins none is a frame, as far as it has come.
        ([b"GET"], [b"PUT"], [b"PUT"], b"", False),
        ([b"GET"], [b"G", b"ET", b"PUT"], [b"GET", b"PUT"], b"", False),
    ],
)
def test_where_units_end(
    units: list[bytes], pieces: list[bytes], frames: list[bytes], rest: bytes, *, is_waiting: bool
) -> None:
    found, splitter = split(units, *pieces)
    assert (found, splitter.rest, splitter.is_waiting) == (frames, rest, is_waiting)


def test_what_waits_ends_after_a_while_or_with_the_stream() -> None:
    for end in (RecordedUnitSplitter.flush, RecordedUnitSplitter.finish):
        _, splitter = split([b"GET", b"GET a"], b"GET")
        assert [frame.payload for frame in end(splitter)] == [b"GET"]
        assert splitter.rest == b""
        _, splitter = split([b"GET", b"GET a"], b"GET ")
        assert end(splitter) == []
        assert splitter.rest == b"GET "


def test_a_framing() -> None:
    units = RecordedUnits([b"a", b"", b"bc"])
    assert units.split(b"abcb") == ([b"a", b"bc"], b"b")
    assert units.join(b"x") == b"x"
    with pytest.raises(FramingError):
        units.join("x")  # type: ignore[arg-type]
    assert repr(units) == "<2 recorded units>"


some_units = st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=8)


@given(some_units, st.data())
def test_units_are_found_however_they_come(units: list[bytes], data: st.DataObject) -> None:
    """As long as no unit begins another one, pieces decide nothing."""
    known = RecordedUnits(units)
    alone = sorted(known.units - known.prefixes)
    said = data.draw(st.lists(st.sampled_from(alone), max_size=5))
    splitter = RecordedUnitSplitter(known)
    stream = b"".join(said)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    found += splitter.finish()
    assert b"".join(frame.wire for frame in found) + splitter.rest == b"".join(said)
    if known.prefixes == frozenset():
        assert [frame.payload for frame in found] == said
