"""The grammar of `spec/esps-1.abnf`, loaded by an independent ABNF parser.

`matches` checks a text against a rule; `generated` makes texts that match one.
"""

from __future__ import annotations

import functools
import string
from typing import Any

from abnf import ParseError
from abnf.parser import Alternation, Concatenation, Literal, Option, Repetition, Rule
from hypothesis import strategies as st

from tests.spec.documents import SPEC

GRAMMAR = (SPEC / "esps-1.abnf").read_text(encoding="ascii")
# How often `1*x` repeats beyond the minimum.
_MAX_EXTRA = 6

Texts = st.SearchStrategy[str]


class Grammar(Rule):  # type: ignore[misc, unused-ignore]
    """The rules of ESPS/1, separate from other grammars in this process."""


@functools.cache  # it takes a second, which a worker without a test of it need not spend
def grammar() -> type[Grammar]:
    """Return the rules of `GRAMMAR`, each by its name."""
    Grammar.load_grammar(GRAMMAR)
    return Grammar


def matches(rule: str, text: str | bytes) -> bool:
    """Whether all of ``text`` is a ``rule``; each octet counts as one character."""
    source = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        grammar()(rule).parse_all(source)
    except ParseError:
        return False
    return True


@functools.cache  # building one takes longer than using it
def generated(rule: str) -> Texts:
    """Return a strategy for the texts that match a rule, up to a reasonable length."""
    return st.deferred(lambda: _texts(grammar()(rule)))


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
    minimum, maximum = parser.repeat.min, parser.repeat.max
    bounds = {"min_size": minimum, "max_size": minimum + _MAX_EXTRA if maximum is None else maximum}
    alphabet = _alphabet(parser.element)
    if alphabet is not None:
        return st.text(alphabet, **bounds)
    return st.lists(_texts(parser.element), **bounds).map("".join)


def _alphabet(parser: Any) -> str | None:  # noqa: ANN401 - the same
    """Return the characters of which a parser takes exactly one, or None if it takes others."""
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
