"""The grammar of `spec/esps-1.abnf`, loaded by an ABNF parser that is not ours.

It tells whether a text is what a rule says, and makes up texts that are.
"""

from __future__ import annotations

import functools
import string
from pathlib import Path
from typing import Any

from abnf import ParseError
from abnf.parser import Alternation, Concatenation, Literal, Option, Repetition, Rule
from hypothesis import strategies as st

SPEC = Path(__file__).resolve().parents[2] / "spec"
GRAMMAR = (SPEC / "esps-1.abnf").read_text(encoding="ascii")
# What `1*x` may repeat over what it must: enough to find what goes wrong at the second.
_MORE = 6

Texts = st.SearchStrategy[str]


class Grammar(Rule):  # type: ignore[misc, unused-ignore]
    """The rules of ESPS/1, apart from those of any other grammar in this process."""


Grammar.load_grammar(GRAMMAR)


def matches(rule: str, text: str | bytes) -> bool:
    """Whether all of ``text`` is a ``rule``; each octet counts as one character."""
    source = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        Grammar(rule).parse_all(source)
    except ParseError:
        return False
    return True


@functools.cache  # to build one takes longer than to draw from it
def generated(rule: str) -> Texts:
    """Return a strategy for everything that a rule derives, within reason of length."""
    return _texts(Grammar(rule))


def _texts(parser: Any) -> Texts:  # noqa: ANN401 - the library's parsers have no common type
    alphabet = _alphabet(parser)
    if alphabet is not None:
        return st.sampled_from(alphabet)
    while isinstance(parser, Rule):
        parser = parser.definition
    if isinstance(parser, Alternation):
        return st.one_of([_texts(choice) for choice in parser.parsers])
    if isinstance(parser, Concatenation):
        return st.tuples(*[_texts(part) for part in parser.parsers]).map("".join)
    if isinstance(parser, Option):
        return st.just("") | _texts(parser.alternation)
    if isinstance(parser, Repetition):
        return _repeated(parser)
    assert isinstance(parser, Literal), parser
    assert parser.case_sensitive or not set(parser.value) & set(string.ascii_letters)
    return st.just(str(parser.value))


def _repeated(parser: Any) -> Texts:  # noqa: ANN401 - the same
    least, most = parser.repeat.min, parser.repeat.max
    bounds = {"min_size": least, "max_size": least + _MORE if most is None else most}
    alphabet = _alphabet(parser.element)
    if alphabet is not None:
        return st.text(alphabet, **bounds)
    return st.lists(_texts(parser.element), **bounds).map("".join)


def _alphabet(parser: Any) -> str | None:  # noqa: ANN401 - the same
    """Return the characters of which a parser takes exactly one, if it is so simple."""
    if isinstance(parser, Rule):
        return _alphabet(parser.definition)
    if isinstance(parser, Alternation):
        found = [_alphabet(choice) for choice in parser.parsers]
        return None if None in found else "".join(filter(None, found))
    if isinstance(parser, Literal):
        if isinstance(parser.value, tuple):
            first, last = map(ord, parser.value)
            return "".join(map(chr, range(first, last + 1)))
        if len(parser.value) == 1:
            both = {parser.value, parser.value.lower(), parser.value.upper()}
            return parser.value if parser.case_sensitive else "".join(sorted(both))
    return None
