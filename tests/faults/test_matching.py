"""What selects a unit by its bytes."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.faults.matching import LiteralScanner, Match, Matchable


@pytest.mark.parametrize(
    ("given_", "matches", "does_not"),
    [
        ("INCR", b"x INCR y", b"x incr y"),
        ("é", "né".encode(), b"n\xe9"),
        (b"\x00\x01", b"a\x00\x01", b"\x00a\x01"),
        (re.compile(b"^a.c$"), b"abc", b"xabc"),
        (re.compile("^a.c$"), b"a\xffc", b"abcd"),
        (re.compile("(?i)get"), b"GET /", b"PUT /"),
        (re.compile(rb"(a+)+$"), b"baa", b"a" * 40 + b"b"),  # `re` would take years
        (re.compile("^(a|aa)+$"), b"aaa", b"a" * 60 + b"b"),
        (bytes.isdigit, b"123", b"12a"),
        (lambda unit: len(unit) > 3, b"1234", b"123"),
    ],
)
def test_what_matches(given_: Matchable, matches: bytes, does_not: bytes) -> None:
    match = Match.of("match", given_)
    assert match.matches(matches)
    assert not match.matches(does_not)
    assert match.given is given_


@pytest.mark.parametrize(
    ("given_", "error"),
    [
        ("", "match must not be empty: leave it out to match anything"),
        (b"", "match must not be empty: leave it out to match anything"),
        (3, "match must be text, bytes, a compiled regular expression or a function of bytes, got"),
        (["a"], "match must be text"),
    ],
)
def test_what_is_none(given_: object, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        Match.of("match", given_)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("INCR", "'INCR'"),
        ("it's", '"it\'s"'),
        (b"\x1b[2J", "hex:1b5b324a"),
        (b"\xff", "hex:ff"),
        (re.compile(r"^\d"), r"re:'^\d'"),
        (re.compile("^a"), "re:'^a'"),
        (re.compile(b"\x1b"), r"re:'\x1b'"),
        (bytes.isdigit, "isdigit"),
    ],
)
def test_as_text(given_: Matchable, shown: str) -> None:
    """Nothing of it reaches a terminal unescaped."""
    assert str(Match.of("match", given_)) == shown


@given(
    data=st.text("ab", max_size=30).map(str.encode),
    literal=st.text("ab", min_size=1, max_size=4).map(str.encode),
    cuts=st.lists(st.integers(0, 30)),
)
def test_a_substring_is_found_at_the_same_byte_in_any_pieces(
    data: bytes, literal: bytes, cuts: list[int]
) -> None:
    start = data.find(literal)
    expected = None if start < 0 else start + len(literal) - 1
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    scanner, found = LiteralScanner(literal), None
    for begin, end in itertools.pairwise(places):
        place = scanner.feed(data[begin:end])
        if place is not None:
            found = begin + place
            break
    assert found == expected
