"""A pattern of a stranger means what it means to `re`, and takes a bounded time."""

from __future__ import annotations

import random
import re
import time
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.patterns import linear as linear_module
from esps_portal.patterns.linear import (
    MAX_LENGTH,
    LinearPattern,
    PatternError,
    TooSlowError,
    _Automaton,
)

_forget = _Automaton._forget  # noqa: SLF001 - what is kept is nowhere else to be seen

_ATOMS = (
    *(r"a", r"b", r"B", r".", r"\n", r"\d", r"\W", r"\s", r"[ab]", r"[^a]", r"[^\WA-C1]", r"[\D]"),
    *(r"^", r"\A", r"$", r"\Z", r"\b", r"\B", r"(?m:^)", r"(?m:$)", r"(?a:\b)", r"(?a:\w)"),
    *(
        r"(?i:a)",
        r"(?s:.)",
        r"(?-i:b)",
        r"[^B]",
        r"é",
        r"(?i:É)",
        r"[à-ü]",
        r"(?-i:[\x80-\uffff])",
        r"(?-i:[^\x80-\uffff])",
        r"(?-i:[B\x80-\uffff\d])",
        r"(?i:[S-s])",
        r"_",
    ),
)
_QUANTIFIERS = ("", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0}", "{1,3}", "{,2}")


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.builds(lambda x, q: f"(?:{x}){q}", inner, st.sampled_from(_QUANTIFIERS))
    named = st.builds(lambda x, q: f"({x}){q}", inner, st.sampled_from(_QUANTIFIERS))
    joined = st.lists(inner, min_size=1, max_size=4).map("".join)
    either = st.lists(inner, min_size=1, max_size=3).map("|".join)
    return repeated | named | joined | either


regexes = st.builds(
    lambda flags, body: flags + body,
    st.sampled_from(["", "", "(?i)", "(?m)", "(?s)", "(?ims)", "(?a)", "(?x)"]),
    st.recursive(st.sampled_from(_ATOMS), _larger, max_leaves=8),
)
# The long s and the sign of Kelvin are an s and a k where case is ignored.
texts = st.lists(st.sampled_from("aabBC1 \nx_éÉ\u017f\u212a"), max_size=12).map("".join)


@given(regex=regexes, text=texts)
@example(r"a$", "a\n")
@example(r"a$", "a\n\n")
@example(r"a\Z", "a\n")
@example(r"(?m)a$", "a\nb")
@example(r"(?m)^", "a\n")
@example(r"\b", "")
@example(r"\B", "")
@example(r"\ba\b", "é a")
@example(r"(?i)k", "\u212a")
@example(r"(?i)[s]", "\u017f")
@example(r"a|ab", "ab")
@example(r"a*?", "aa")
@example(r"a$\n", "a\n")
@example(r"a\b$|b", "a\n")
@example(r"", "")
def test_text_matches_where_re_says(regex: str, text: str) -> None:
    expected, pattern = re.compile(regex), LinearPattern.of(regex)
    assert pattern.search(text) is (expected.search(text) is not None)
    assert pattern.fullmatch(text) is (expected.fullmatch(text) is not None)
    assert pattern.flags == expected.flags


@given(regex=regexes, text=texts)
@example(r"[à-ü]\b", "é")
@example(r"(?i)É", "é")
def test_bytes_match_where_re_says(regex: str, text: str) -> None:
    source, data = regex.replace("uffff", "xff").encode("latin-1"), text.encode()
    expected, pattern = re.compile(source), LinearPattern.of(source)
    assert pattern.search(data) is (expected.search(data) is not None)
    assert pattern.fullmatch(data) is (expected.fullmatch(data) is not None)


def test_what_is_learned_is_forgotten_in_time() -> None:
    pattern = LinearPattern.of("a.{6}b")
    with (
        mock.patch.multiple(linear_module, _MAX_SETS=3, _MAX_KEPT=20, _MAX_MOVES=5),
        mock.patch.object(_Automaton, "_forget", autospec=True, side_effect=_forget) as forgotten,
    ):
        for number in range(300):
            text = f"{number:09b}".replace("1", "a").replace("0", "b")
            assert pattern.search(text) is (re.search("a.{6}b", text) is not None)
    assert forgotten.call_count > 100


# ---- bounded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "regex", [r"(a+)+$", r"^(a|a)+$", r"^(a*)*\Z", r"^(?:a?){30}a{30}$", r"^(a|aa)+$", r"a*a*a*a*c"]
)
@pytest.mark.parametrize("method", ["search", "fullmatch"])
def test_what_takes_re_an_age_ends_at_once(regex: str, method: str) -> None:
    pattern = LinearPattern.of(regex)
    before = time.process_time()
    assert not getattr(pattern, method)("a" * 40 + "b")
    assert not getattr(pattern, method)("a" * 100_000 + "b")
    assert time.process_time() - before < 5


def test_a_search_gives_up_when_it_has_looked_at_too_many_states() -> None:
    # Each symbol leads to a new set of up to 4,000 states.
    pattern = LinearPattern.of("(a|b)*a(a|b){1,1300}c")
    before = time.process_time()
    with pytest.raises(TooSlowError, match="the pattern takes too long"):
        pattern.search("".join(random.Random(1).choices("ab", k=60_000)))
    assert time.process_time() - before < 10


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(", "not a regular expression: missing ), unterminated subpattern"),
        ("a" * (MAX_LENGTH + 1), "longer than 1000 characters"),
        ("(" * 900 + ")" * 900, "longer than 1000 characters"),
        ("a{99999999999}", "not a regular expression: the repetition number is too large"),
        ("(?=a)b", "cannot be searched in one pass: ASSERT"),
        ("(?<!a)b", "cannot be searched in one pass: ASSERT_NOT"),
        (r"(a)\1", "cannot be searched in one pass: GROUPREF"),
        ("(?>a)", "cannot be searched in one pass: ATOMIC_GROUP"),
        ("a*+", "cannot be searched in one pass: POSSESSIVE_REPEAT"),
        (r"(a)(?(1)b|c)", "cannot be searched in one pass: GROUPREF_EXISTS"),
        ("(a{100}){100}", "cannot be searched in one pass: too many states"),
        ("(?i)[\0-\uffff]", "ranges too large to ignore the case in them"),
    ],
)
def test_what_cannot_be_bounded_is_refused(regex: str, message: str) -> None:
    before = time.process_time()
    with pytest.raises(PatternError, match=re.escape(message)):
        LinearPattern.of(regex)
    assert time.process_time() - before < 5


@pytest.mark.parametrize("regex", [rb"(?L)a", rb"\xe9(?=a)"])
def test_so_are_bytes(regex: bytes) -> None:
    with pytest.raises(PatternError, match="cannot be searched in one pass"):
        LinearPattern.of(regex)
