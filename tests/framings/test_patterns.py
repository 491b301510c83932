"""A frame of `matching` ends at the earliest bytes that match, found in one pass where possible."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from esps_portal.framings.splitter import FrameSplitter
from esps_portal.patterns import earliest_end as automaton_module
from esps_portal.patterns.earliest_end import Automaton, StateSet, build_automaton, min_width
from esps_portal.testing import FramingError, matching
from tests.protocol.strategies import byte_by_byte


def first_end(regex: bytes, data: bytes) -> int | None:
    """Return where the first match ends, in the simplest way: of growing starts of the bytes."""
    for size in range(1, len(data) + 1):
        found = re.search(regex, data[:size])
        if found is not None:
            return found.end()
    return None


# ---- the automaton finds what `re` finds -------------------------------------------------------

_ATOMS = [
    *(
        rb"a",
        rb"b",
        rb"B",
        rb".",
        rb"\n",
        rb"\d",
        rb"\W",
        rb"\s",
        rb"^",
        rb"\A",
        rb"[ab]",
        rb"[^a]",
    ),
    *(
        rb"[^\WA-C1]",
        rb"[\D]",
        rb"[1-3x]",
        rb"(?i:a)",
        rb"(?s:.)",
        rb"(?m:^)",
        rb"(?-i:b)",
        rb"[^B]",
    ),
]
_QUANTIFIERS = [
    b"",
    b"",
    b"",
    b"*",
    b"+",
    b"?",
    b"*?",
    b"+?",
    b"??",
    b"{2}",
    b"{0}",
    b"{1,3}",
    b"{,2}",
]


def _larger(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    repeated = st.builds(lambda x, q: b"(?:" + x + b")" + q, inner, st.sampled_from(_QUANTIFIERS))
    named = st.builds(lambda x, q: b"(" + x + b")" + q, inner, st.sampled_from(_QUANTIFIERS))
    joined = st.lists(inner, min_size=1, max_size=4).map(b"".join)
    either = st.lists(inner, min_size=1, max_size=3).map(b"|".join)
    return repeated | named | joined | either


regexes = st.builds(
    lambda flags, body: flags + body,
    st.sampled_from([b"", b"", b"(?i)", b"(?m)", b"(?s)", b"(?ims)"]),
    st.recursive(st.sampled_from(_ATOMS), _larger, max_leaves=8),
)
data = st.lists(st.sampled_from(list(b"aabBC1 \nx")), max_size=14).map(bytes)


@given(regex=regexes, data=data)
@example(rb"(?m)^a|^\d+", b"x\n1")
@example(rb"^a|\d", b"\na")
@example(rb"(?:a*)*b", b"aaab")
@example(rb"(?i)[^a]", b"Aab")
@example(rb"(?i)[B-b]", b"[")
def test_one_pass_finds_the_earliest_end(regex: bytes, data: bytes) -> None:
    if min_width(re.compile(regex)) == 0:
        with pytest.raises(FramingError, match="may match no byte at all"):
            matching(regex)
        return
    framing = matching(regex)
    assert framing.is_regular
    end = first_end(regex, data)
    assert framing.new_search().find_end(data, 0, len(data)) == end
    splitter = FrameSplitter(framing)
    sizes = [n for n, byte in enumerate(byte_by_byte(data), 1) for _ in splitter.feed(byte)]
    assert sizes[:1] == ([] if end is None else [end])


@given(regex=regexes)
def test_what_may_match_nothing_is_refused(regex: bytes) -> None:
    assume(re.search(regex, b"") is not None)
    with pytest.raises(FramingError, match="may match no byte at all: no frame would end"):
        matching(regex)


@pytest.mark.parametrize(
    "regex",
    [
        rb".",
        rb"\d",
        rb"\w",
        rb"\S",
        rb"(?i)[k-m]",
        rb"(?i)[^\x4b\xe9]",
        rb"(?i)\xe9",
        rb"[\x80-\xff]",
    ],
)
def test_every_byte_of_a_class(regex: bytes) -> None:
    framing = matching(regex)
    for one in map(int.to_bytes, range(256)):
        assert bool(framing.split(one)[0]) == bool(re.search(regex, one)), one


def test_every_byte_as_it_is() -> None:
    for one in map(int.to_bytes, range(256)):
        assert matching(re.escape(one)).split(one) == ([one], b"")


# ---- what needs more than one pass, and what would take too long -------------------------------


@pytest.mark.parametrize(
    ("regex", "data", "frames"),
    [
        (rb"a$", b"aab", [b"a", b"a"]),
        (rb"a\b", b"ab", [b"a"]),
        (rb"\n(?! )", b"a\n b\n", [b"a\n", b" b\n"]),
        (rb"(?<!\\);", rb"a\;b;c", [rb"a\;b;"]),
        (rb"<(\w+)>.*</\1>", b"<a><b></b></a>", [b"<a><b></b>"]),
        (rb"(?>a|ab)c", b"abcac", [b"abcac"]),
        (rb"a++b", b"aab", [b"aab"]),
        (rb"a{6000}", b"a" * 6001, [b"a" * 6000]),
        (rb"(?L)\w", b"-a", [b"-a"]),
        (rb"(a)?b(?(1)c|d)", b"abdabcabd", [b"abd", b"abc", b"abd"]),
    ],
)
def test_a_pattern_that_is_not_regular(regex: bytes, data: bytes, frames: list[bytes]) -> None:
    framing = matching(regex)
    assert not framing.is_regular
    expected, rest = [], data
    while (end := first_end(regex, rest)) is not None:
        expected.append(rest[:end])
        rest = rest[end:]
    assert framing.split(data) == (expected, rest)
    assert expected == frames
    splitter = FrameSplitter(framing)
    assert [f.wire for byte in byte_by_byte(data) for f in splitter.feed(byte)] == frames


@pytest.mark.parametrize("regex", [rb"(?:a+)+b", rb"(?:a|aa)*b", rb"(?:a*)*b", rb"(?:.*a){20}b"])
def test_a_pattern_that_takes_re_exponential_time(regex: bytes) -> None:
    splitter = FrameSplitter(matching(regex), max_frame=2000)
    assert splitter.feed(b"a" * 1999) == []
    (frame,) = splitter.feed(b"b")
    assert len(frame.wire) == 2000
    with pytest.raises(FramingError, match="longer than max_frame, 2000 bytes"):
        splitter.feed(b"a" * 5000)


def test_what_is_kept_of_a_pattern_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each history of a and b of the last 14 bytes is a set of states of its own.
    regex = rb"a[ab]{14}c"
    bits = "".join(f"{n:012b}" for n in range(0, 3000, 3)).translate({48: "a", 49: "b"}).encode()
    monkeypatch.setattr(automaton_module, "_MAX_SETS", 20)
    made: list[StateSet] = []
    make = Automaton._make

    def counted(automaton: Automaton, reached: frozenset[int]) -> StateSet:
        made.append(make(automaton, reached))
        return made[-1]

    monkeypatch.setattr(Automaton, "_make", counted)
    automaton = build_automaton(re.compile(regex))
    assert automaton is not None
    state = automaton.first
    for place, byte in enumerate(bits):
        if place % 40 == 0:  # as for the next frame
            state = automaton.first
        state = state.following.get(byte) or automaton.follow(state, byte)
    assert len(made) > 2000
    assert reachable(automaton) <= 2 * 20
    assert matching(regex).split(bits + b"a" + b"b" * 14 + b"c") == (
        [bits + b"a" + b"b" * 14 + b"c"],
        b"",
    )


def reachable(automaton: Automaton) -> int:
    """Return how many sets are kept, however they are reached."""
    seen: dict[int, object] = {}
    waiting = [automaton.first]
    while waiting:
        state_set = waiting.pop()
        if id(state_set) not in seen:
            seen[id(state_set)] = state_set
            waiting += state_set.following.values()
    return len(seen)


# ---- patterns and flags ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compiled", "text"),
    [
        (re.compile(rb"end"), rb"end"),
        (re.compile(rb"end", re.IGNORECASE | re.MULTILINE), rb"(?im)end"),
        (re.compile(rb"(?i)end"), rb"(?i)end"),
        (re.compile(rb"(?i)a.", re.DOTALL), rb"(?is)(?i)a."),
        (re.compile(b"a # (the start\n b", re.VERBOSE), b"(?x)a # (the start\n b"),
        (re.compile(rb"\w", re.LOCALE), rb"(?L)\w"),
    ],
)
def test_a_compiled_pattern_keeps_its_flags(compiled: re.Pattern[bytes], text: bytes) -> None:
    framing = matching(compiled)
    assert framing.regex == text
    assert re.compile(text).flags == compiled.flags
    assert framing == matching(text)


def test_flags_decide_what_matches() -> None:
    assert matching(re.compile(rb"a.b", re.IGNORECASE | re.DOTALL)).split(b"xA\nBc")[1] == b"c"
    assert matching(rb"a.b").split(b"xA\nBc") == ([], b"xA\nBc")


@pytest.mark.parametrize(
    "regex",
    [rb"", rb"a*", rb"a|", rb"$", rb"\b", rb"^", rb"(?=a)", rb"(?<=\n)", rb"(?m)^", rb"(a?)\1"],
)
def test_a_pattern_that_may_match_nothing(regex: bytes) -> None:
    with pytest.raises(FramingError, match="may match no byte at all"):
        matching(regex)


@pytest.mark.parametrize(
    "regex", [rb"(", rb"[a", rb"*", rb"\q", rb"(?P<1>a)", b"(?<\x1b\n)", rb"a{3,2}", rb"(?u)a"]
)
def test_what_is_no_regular_expression(regex: bytes) -> None:
    with pytest.raises(FramingError, match="is not a regular expression: ") as caught:
        matching(regex)
    assert str(caught.value).isprintable()


def test_a_pattern_of_text_is_refused() -> None:
    for text in ("END", re.compile("END")):
        with pytest.raises(FramingError, match="must be bytes or a compiled pattern of bytes"):
            matching(text)  # type: ignore[arg-type]
