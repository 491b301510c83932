r"""Searches regular expressions of strangers in bounded time.

`re` takes ``(a+)+$`` exponential time, and nothing else in the process runs meanwhile. Here a set
of states moves on with each symbol (Thompson, 1968), as in `esps_portal.patterns.earliest_end`. But
a set is only complete once the next symbol is known, so that ``$`` and ``\b`` have their meaning. A
pattern may still have thousands of states that are all examined for each symbol: a search that has
examined too many ends with an error.

RE2 does the same faster, but has no wheel for each platform, and ``\d``, ``\Z``, ``$`` and case
mean other things there: a scenario that a test has written would match other calls.

Nothing here knows what is searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import attrs

from esps_portal.patterns.states import (
    ACCEPT,
    Assertion,
    Consume,
    NotRegularError,
    State,
    build_states,
    parse_pattern,
    reached_from,
)
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: Characters, or bytes, of a pattern: own choice, more than a person writes. The longest is read in
#: some 20 ms.
MAX_LENGTH = 1_000
# States that a search looks at before it gives up: half a second of the slowest pattern. Sets that
# are known already cost none, so a usual pattern needs a few hundred.
_MAX_VISITS = 150_000
# Sets of states that are kept, the states in all of them, and the symbols that lead from one to
# another: together some megabytes for each pattern.
_MAX_SETS = 500
_MAX_KEPT = 50_000
_MAX_MOVES = 50_000

_NEWLINE = 0x0A
# Symbols besides bytes and characters: LF as the last one of all, and the end.
_LAST_NEWLINE = -1
_END = -2


class PatternError(ValueError):
    """A pattern cannot be searched in bounded time; the text says why."""


class TooSlowError(Exception):
    """A search has looked at too many states, so nothing is known of what was searched."""


# ---- what an assertion holds between ----------------------------------------------------------

# Before Python 3.14 there is no place in nothing.
_HAS_PLACE_IN_NOTHING = re.search(r"\B", "") is not None


def _is_word(code: int | None, *, is_ascii: bool) -> bool:
    if code is None or code < 0:
        return False
    character = chr(code)
    return (character.isalnum() or character == "_") and (character.isascii() or not is_ascii)


def _is_boundary(state: Assertion, previous: int | None, following: int) -> bool:
    before, after = (_is_word(code, is_ascii=state.is_ascii) for code in (previous, following))
    return before != after


def _is_no_boundary(state: Assertion, previous: int | None, following: int) -> bool:
    if previous is None and following == _END and not _HAS_PLACE_IN_NOTHING:
        return False
    return not _is_boundary(state, previous, following)


_ASSERTIONS: dict[str, Callable[[Assertion, int | None, int], bool]] = {
    "AT_BEGINNING": lambda _, previous, __: previous is None,
    "AT_BEGINNING_LINE": lambda _, previous, __: previous in (None, _NEWLINE),
    "AT_BEGINNING_STRING": lambda _, previous, __: previous is None,
    "AT_BOUNDARY": _is_boundary,
    "AT_END": lambda _, __, following: following in (_END, _LAST_NEWLINE),
    "AT_END_LINE": lambda _, __, following: following in (_END, _LAST_NEWLINE, _NEWLINE),
    "AT_END_STRING": lambda _, __, following: following == _END,
    "AT_NON_BOUNDARY": _is_no_boundary,
}


# ---- the search --------------------------------------------------------------------------------


@attrs.define(eq=False)
class _StateSet:
    """States that the symbols so far may have led to, and where each next one leads.

    Attributes:
        numbers: the states, without those that need no further symbol.
        previous: the last symbol; ``None``: there was none.
        following: the sets that have come up, by symbol; ``None``: a match ends before it.
    """

    numbers: frozenset[int]
    previous: int | None
    following: dict[int, _StateSet | None] = attrs.field(factory=dict, repr=False)


class _Automaton:
    """Says whether a pattern is found. It keeps what it has learned, and no place."""

    def __init__(self, states: list[State], begin: int, *, is_whole: bool) -> None:
        self._states = states
        self._begin = begin
        self._is_whole = is_whole
        # Without assertions it is the same what came before.
        self._asserts = any(isinstance(state, Assertion) for state in states)
        self._forget()

    def finds(self, symbols: Iterable[int]) -> bool:
        """Return whether there is a match; with ``is_whole``, one of all symbols.

        Raises:
            TooSlowError: it takes too long.
        """
        current = self._first
        visits = 0
        for symbol in symbols:
            try:
                found = current.following[symbol]
            except KeyError:
                found, visited = self._follow(current, symbol)
                visits += visited
                if visits > _MAX_VISITS:
                    raise TooSlowError("the pattern takes too long") from None
            if found is None:
                return True
            current = found
        return False

    def _follow(self, current: _StateSet, symbol: int) -> tuple[_StateSet | None, int]:
        """Return the set that a symbol leads to, and how many states were looked at; keep it."""
        if self._moves >= _MAX_MOVES:
            self._forget()
        starts = set(current.numbers)
        if not self._is_whole or current.previous is None:
            starts.add(self._begin)  # a match may begin here
        reached = self._reach(starts, current.previous, symbol)
        found = None
        if symbol == _END:
            found = None if ACCEPT in reached else self._kept_set(frozenset(), symbol)
        elif self._is_whole or ACCEPT not in reached:
            code = _NEWLINE if symbol == _LAST_NEWLINE else symbol
            moves = (self._states[number] for number in reached)
            targets = frozenset(
                move.target for move in moves if isinstance(move, Consume) and code in move.allowed
            )
            found = self._kept_set(targets, code)
        self._moves += 1
        current.following[symbol] = found
        return found, len(reached)

    def _reach(self, starts: set[int], previous: int | None, following: int) -> set[int]:
        """Return the states that are reached without a further symbol."""

        def holds(assertion: Assertion) -> bool:
            return _ASSERTIONS[assertion.name](assertion, previous, following)

        return reached_from(starts, self._states, holds)

    def _kept_set(self, numbers: frozenset[int], previous: int) -> _StateSet:
        key = numbers, previous if self._asserts else 0
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_SETS or self._kept >= _MAX_KEPT:
                self._forget()
            found = self._known[key] = _StateSet(numbers, key[1])
            self._kept += len(numbers)
        return found

    def _forget(self) -> None:
        # A set that a search is at stays alive through it, and leads to new ones.
        self._first = _StateSet(frozenset(), None)
        self._known: dict[tuple[frozenset[int], int], _StateSet] = {}
        self._kept = self._moves = 0


@attrs.frozen
class LinearPattern:
    """A regular expression that anybody may give, with the methods of one of `re` used here.

    Attributes:
        pattern: its source, of text or of bytes.
        flags: those of `re`, with what the source says itself.
    """

    pattern: str | bytes
    flags: int
    _part: _Automaton = attrs.field(repr=False, eq=False)
    _whole: _Automaton = attrs.field(repr=False, eq=False)

    @classmethod
    def of(cls, source: str | bytes, flags: int = 0) -> LinearPattern:
        """Return a pattern of text or of bytes.

        Example: ``LinearPattern.of(r"(a+)+$").search("a" * 40 + "b")`` is False, at once.

        Raises:
            PatternError: it is not a regular expression, is too long, or has a part that cannot be
                searched in one pass: lookaround, a reference to a group, an atomic group.
        """
        if len(source) > MAX_LENGTH:
            raise PatternError(f"longer than {MAX_LENGTH} characters")
        try:
            tree = parse_pattern(source, flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternError(f"not a regular expression: {error}") from error
        try:
            states, begin = build_states(tree)
        except (NotRegularError, RecursionError) as error:
            raise PatternError(f"cannot be searched in one pass: {error}") from error
        automata = (_Automaton(states, begin, is_whole=is_whole) for is_whole in (False, True))
        return cls(source, tree.state.flags, *automata)

    def search(self, subject: Any) -> bool:  # noqa: ANN401 - as the source: str or bytes
        """Return whether the pattern matches somewhere.

        Raises:
            TooSlowError: it takes too long to say.
        """
        return self._part.finds(_symbols(subject))

    def fullmatch(self, subject: Any) -> bool:  # noqa: ANN401 - as the source: str or bytes
        """Return whether the pattern matches all of it.

        Raises:
            TooSlowError: it takes too long to say.
        """
        return self._whole.finds(_symbols(subject))


def _symbols(subject: str | bytes) -> Iterable[int]:
    codes = map(ord, subject[:-1]) if isinstance(subject, str) else subject[:-1]
    last = [ord(subject[-1:])] if subject else []
    return chain(codes, [_LAST_NEWLINE if code == _NEWLINE else code for code in last], [_END])
