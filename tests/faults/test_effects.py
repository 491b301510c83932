"""What each fault makes of a unit: at the same byte, however its pieces fall."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esps_portal.faults.actions import Action, End, Pause, Send, merge_sends
from esps_portal.faults.changed_bytes import corrupt, overwrite
from esps_portal.faults.effects import Piece, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.faults.plan import FaultPlan
from tests.cases import cases
from tests.faults.timelines import STREAM, UNIT, Timeline

OFFSETS = (0, 1, 7, 25, 26, 27)


def fed(fault: Fault, pieces: Sequence[bytes]) -> Timeline:
    plan = FaultPlan.of(fault)  # which lets the offset pass
    actions: list[Action] = []
    for piece in pieces:
        actions += plan.feed(Piece(piece))
    return Timeline.of(actions)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


@cases(("kind", "options"), STREAM)
def test_byte_by_byte(kind: str, options: dict[str, Any]) -> None:
    for offset in OFFSETS:
        fault = Fault.create(kind, offset=offset, **options)
        whole = fed(fault, [UNIT])
        assert fed(fault, one_by_one(UNIT)) == whole
        assert whole.data[:offset] == UNIT[: min(offset, len(whole.data))]


@given(
    case=st.sampled_from(STREAM),
    offset=st.integers(0, 30),
    cuts=st.lists(st.integers(0, 26)),
)
@settings(max_examples=300)
def test_in_random_pieces(case: tuple[str, dict[str, Any]], offset: int, cuts: list[int]) -> None:
    """Empty ones among them."""
    kind, options = case
    fault = Fault.create(kind, offset=offset, **options)
    places = [0, *sorted(cuts), 26]
    pieces = [UNIT[begin:end] for begin, end in itertools.pairwise(places)]
    # An effect that ends acts on an empty piece too: the unit begins with its first byte.
    pieces = [piece for number, piece in enumerate(pieces) if piece or any(pieces[:number])]
    assert fed(fault, pieces) == fed(fault, [UNIT])


@given(cuts=st.sets(st.integers(1, 25)), rate=st.integers(1, 5000), offset=st.integers(0, 27))
def test_a_rate_takes_the_same_time_in_any_pieces(cuts: set[int], rate: int, offset: int) -> None:
    fault = Fault.create("bandwidth", bytes_per_second=rate, offset=offset)
    places = [0, *sorted(cuts), 26]
    found = fed(fault, [UNIT[a:b] for a, b in itertools.pairwise(places)])
    assert found.data == UNIT
    assert found.waited == pytest.approx(max(0, 26 - offset) / rate)


def test_places_are_counted_from_the_offset() -> None:
    assert fed(Fault.create("truncate", offset=3, bytes=2), [UNIT]).data == b"ABCDE"
    assert fed(Fault.create("patch", offset=3, at=1, hex="2323"), [UNIT]).data[:7] == b"ABCD##G"
    sliced = fed(Fault.create("slice", offset=3, at=2, pause=1), [UNIT])
    assert sliced.events == [(5, Pause(1))]
    every = fed(Fault.create("slice", offset=20, every=2, pause=1), [UNIT])
    assert every.events == [(22, Pause(1)), (24, Pause(1))]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("close", "close"),
        ("reset", "reset"),
        ("half-close", "half-close"),
        ("stall", "stall"),
        ("garbage", "close"),
        ("truncate", "close"),
        ("deaf", "deaf"),
    ],
)
@cases("offset", [0, 4, 26])
def test_where_it_ends(kind: str, how: str, offset: int) -> None:
    found = fed(Fault.create(kind, offset=offset), [UNIT])
    extra = {"garbage": 64, "truncate": 1 if offset < 26 else 0}.get(kind, 0)
    if kind == "truncate" and offset == 26:
        assert found.ends == []  # a byte of the rest comes first, and there is none
    else:
        assert found.ends == [(offset + extra, how)]
    assert found.data[offset + extra :] == (UNIT[offset:] if kind == "deaf" else b"")


def test_nothing_more_comes_after_an_end() -> None:
    for kind in ("close", "reset", "half-close", "stall", "garbage"):
        effect = effect_of(Fault.create(kind))
        assert effect.feed(Piece(b"a"))
        assert effect.feed(Piece(b"b")) == []


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, options) for kind, options in STREAM if not FAULT_TYPES[kind].ends),
        ("coalesce", {}),
        ("bandwidth", {"bytes_per_second": 1}),
        ("no-terminator", {}),
        ("duplicate", {}),  # which only a datagram can suffer
    ],
)
def test_an_empty_piece_is_nothing_to_change(kind: str, options: dict[str, Any]) -> None:
    actions = merge_sends(effect_of(Fault.create(kind, **options)).feed(Piece(b"")))
    assert actions == ([End("deaf")] if kind == "deaf" else [])


def test_what_only_a_datagram_can_suffer_changes_no_stream() -> None:
    assert effect_of(Fault.create("duplicate")).feed(Piece(b"x")) == [Send(b"x")]


def test_one_that_changes_bytes_keeps_their_number() -> None:
    for kind, options in STREAM:
        if kind in ("corrupt", "patch"):
            assert len(fed(Fault.create(kind, **options), [UNIT]).data) == 26


def test_corrupt_from_a_place_changes_each_of_its_bytes() -> None:
    found = fed(Fault.create("corrupt", at=3, bytes=5), [UNIT]).data
    assert [n for n in range(26) if found[n] != UNIT[n]] == [3, 4, 5, 6, 7]


def test_corrupt_a_frame_leaves_its_terminator() -> None:
    fault = Fault.create("corrupt", bytes=99)
    effect = effect_of(fault)
    line = Piece(b"abcdef\r\n", is_frame=True, ends_frame=True, ends_unit=True, terminator=2)
    (found,) = effect.feed(line)
    assert isinstance(found, Send)
    assert found.data.endswith(b"\r\n")
    assert all(a != b for a, b in zip(found.data[:6], b"abcdef", strict=True))
    assert effect.feed(line) == [Send(line.data)]  # of a reply only one frame


@pytest.mark.parametrize(
    ("at", "cut"), [("middle", 4), ("before-lf", 7), (1, 1), (7, 7), (8, None), (9, None)]
)
def test_each_frame_is_cut(at: int | str, cut: int | None) -> None:
    effect = effect_of(Fault.create("slice", at=at, pause=1))
    line = Piece(b"a OK xy\n", is_frame=True, ends_frame=True, terminator=1)
    for _ in range(2):
        found = Timeline.of(effect.feed(line))
        assert found.data == line.data
        assert found.events == ([] if cut is None else [(cut, Pause(1))])


def test_pieces_of_a_size_are_counted_from_the_start_of_each_frame() -> None:
    effect = effect_of(Fault.create("slice", every=3, pause=1))
    line = Piece(b"a OK xy\n", is_frame=True, ends_frame=True, terminator=1)
    for _ in range(2):
        assert Timeline.of(effect.feed(line)).events == [(3, Pause(1)), (6, Pause(1))]


def test_before_lf_is_before_the_terminator_of_any_framing() -> None:
    effect = effect_of(Fault.create("slice", at="before-lf", pause=1))
    piece = Piece(b"abc\0\0", is_frame=True, ends_frame=True, terminator=2)
    assert Timeline.of(effect.feed(piece)).events == [(3, Pause(1))]


def test_no_terminator_takes_the_whole_terminator_of_the_last_frame() -> None:
    effect = effect_of(Fault.create("no-terminator"))
    line = Piece(b"ab\r\n", is_frame=True, ends_frame=True, terminator=2)
    assert effect.feed(line) == [Send(b"ab\r\n")]
    last = Piece(b"ab\r\n", is_frame=True, ends_frame=True, ends_unit=True, terminator=2)
    assert effect.feed(last) == [Send(b"ab")]


def test_each_stream_fault_is_here() -> None:
    framed = {"no-terminator", "coalesce", "bandwidth", "accept-close", "certificate"}
    assert {kind for kind, _ in STREAM} | framed == {
        kind for kind, fault_type in FAULT_TYPES.items() if "tcp" in fault_type.transports
    }


@given(data=st.binary(max_size=40), start=st.integers(-50, 50), new=st.binary(max_size=20))
def test_overwrite_keeps_the_length(data: bytes, start: int, new: bytes) -> None:
    found = overwrite(data, start, new)
    assert len(found) == len(data)
    for place, byte in enumerate(found):
        is_new = 0 <= place - start < len(new)
        assert byte == (new[place - start] if is_new else data[place])


@given(data=st.binary(max_size=40), count=st.integers(0, 50), seed=st.integers(0, 9))
def test_corrupt_changes_so_many(data: bytes, count: int, seed: int) -> None:
    found = corrupt(data, count, seed)
    changed = sum(a != b for a, b in zip(found, data, strict=True))
    assert changed == min(count, len(data))
    assert found == corrupt(data, count, seed)


def test_a_byte_may_become_any_other() -> None:
    zeros = bytes(5000)
    effect = effect_of(Fault.create("corrupt", at=0, bytes=5000))
    (sent,) = effect.feed(Piece(zeros))
    assert isinstance(sent, Send)
    assert set(sent.data) == set(corrupt(zeros, 5000, 0)) == set(range(1, 256))


def test_garbage_is_what_its_seed_says() -> None:
    found = fed(Fault.create("garbage", bytes=5, seed=3), [UNIT])
    assert found.data == random.Random(3).randbytes(5)
