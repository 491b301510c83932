"""However bytes are cut, they give the same lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.lines import LineEvent, LineSplitter, TooLong, Unterminated
from tests.protocol.strategies import byte_by_byte, cut, places

Cutter = Callable[[bytes], list[bytes]]

# Small enough to go over them often; longer than the head that a long line leaves.
MAX_LINE, MAX_UNTERMINATED = 40, 100
HEAD = 34

# Runs of one byte, as long as the limits, and a little shorter and longer.
lengths = st.sampled_from([0, 1, 5, 38, 39, 40, 41, 59, 60, 61, 99, 100, 101, 150])
runs = st.builds(lambda byte, n: byte * n, st.sampled_from([b"a", b"\r", b" "]), lengths)
data_with_runs = st.lists(runs | st.just(b"\n") | st.binary(max_size=50), max_size=10).map(b"".join)
LONG: list[LineEvent] = [TooLong(b"a" * HEAD)]


def whole(data: bytes) -> list[bytes]:
    return [data]


def split(pieces: list[bytes]) -> list[LineEvent]:
    splitter = LineSplitter(MAX_LINE, MAX_UNTERMINATED)
    return [event for piece in pieces for event in splitter.feed(piece)]


def expected_events(data: bytes) -> list[LineEvent]:
    """Return what ``data`` holds, in the simplest way."""
    events: list[LineEvent] = []
    line = b""
    for byte in byte_by_byte(data):
        size = len(line) + 1
        if size == MAX_LINE + 1:
            events.append(TooLong((line + byte)[:HEAD]))
        if byte == b"\n":
            events += [line] if size <= MAX_LINE else []
            line = b""
            continue
        line += byte
        events += [Unterminated()] if size == MAX_UNTERMINATED else []
    return events


@given(data_with_runs, places)
def test_any_pieces_give_the_same_lines(data: bytes, at: list[int]) -> None:
    # ESPS-LINE-3, ESPS-LINE-11
    expected = expected_events(data)
    assert split(cut(data, at)) == expected
    assert split(byte_by_byte(data)) == expected
    assert split([data]) == expected


@given(data_with_runs, places)
def test_no_more_is_held_than_one_line(data: bytes, at: list[int]) -> None:
    # ESPS-LINE-17
    splitter = LineSplitter(MAX_LINE, MAX_UNTERMINATED)
    for piece in cut(data, at):
        events = splitter.feed(piece)
        assert len(splitter.unfinished) <= MAX_LINE
        assert all(len(one) < MAX_LINE for one in events if isinstance(one, bytes))
        assert all(len(one.head) <= HEAD for one in events if isinstance(one, TooLong))


@given(st.lists(st.binary(max_size=MAX_LINE - 1).map(lambda line: line.replace(b"\n", b"\r"))))
def test_lines_come_back_as_they_were_sent(lines: list[bytes]) -> None:
    # ESPS-LINE-9
    assert split([b"".join(line + b"\n" for line in lines)]) == lines


@pytest.mark.parametrize("pieces", [whole, byte_by_byte])
class TestLimits:
    def test_a_line_may_be_as_long_as_the_limit_with_its_lf(self, pieces: Cutter) -> None:
        line = b"a" * (MAX_LINE - 1)
        assert split(pieces(line + b"\nb\n")) == [line, b"b"]

    def test_the_lf_itself_can_be_the_first_excess_byte(self, pieces: Cutter) -> None:
        # ESPS-LINE-15
        assert split(pieces(b"a" * MAX_LINE)) == []
        assert split(pieces(b"b\n" + b"a" * MAX_LINE)) == [b"b"]
        assert split(pieces(b"a" * MAX_LINE + b"\n")) == LONG

    def test_too_long_is_reported_before_any_lf(self, pieces: Cutter) -> None:
        # ESPS-LINE-15
        assert split(pieces(b"a" * (MAX_LINE + 1))) == [TooLong(b"a" * HEAD)]

    def test_the_rest_of_a_long_line_is_skipped(self, pieces: Cutter) -> None:
        # ESPS-LINE-16
        data = b"a" * (MAX_UNTERMINATED - 1) + b"\nb\n"
        assert split(pieces(data)) == [*LONG, b"b"]

    def test_two_long_lines_are_two(self, pieces: Cutter) -> None:
        long = b"a" * (MAX_UNTERMINATED - 1) + b"\n"
        assert split(pieces(long * 2 + b"b\n")) == LONG * 2 + [b"b"]

    def test_unterminated_is_reported_once_for_a_line(self, pieces: Cutter) -> None:
        endless = b"a" * MAX_UNTERMINATED * 3
        expected = [TooLong(b"a" * HEAD), Unterminated()]
        assert split(pieces(endless)) == expected
        assert split(pieces(endless + b"\n" + endless)) == [*expected, *expected]


def test_the_size_of_an_unfinished_line() -> None:
    splitter = LineSplitter(MAX_LINE, MAX_UNTERMINATED)
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert len(splitter.unfinished) == 2
    assert splitter.feed(b"o\n") == [b"two"]
    assert len(splitter.unfinished) == 0


def test_an_endless_line_takes_no_memory() -> None:
    # ESPS-LINE-17
    splitter = LineSplitter(MAX_LINE, MAX_UNTERMINATED)
    for _ in range(100):
        splitter.feed(b"a" * 1000)
        assert len(splitter.unfinished) == 0


def test_a_line_that_is_too_long_has_not_ended_before_its_lf() -> None:
    splitter = LineSplitter(MAX_LINE, MAX_UNTERMINATED)
    assert not splitter.is_within_line
    assert splitter.feed(b"a" * (MAX_LINE + 1)) == LONG
    assert splitter.is_within_line
    assert splitter.feed(b"a\n") == []
    assert not splitter.is_within_line
