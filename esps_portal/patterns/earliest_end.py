"""Finds the earliest end of a match of a regular expression, in one pass over the bytes.

`re` can neither continue where it stopped nor say which bytes were the first that match, and some
patterns take it exponential time. A set of states that moves on with each byte solves both
(Thompson, 1968). The sets that were reached are cached, up to a number of them, with the set that
each byte leads to.

Nothing here knows frames. Parts of a pattern that depend on the next byte, such as ``$``, are
refused.
"""

from __future__ import annotations

import re

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

# Sets of states that are kept, and the states in all of them: together some megabytes.
_MAX_SETS = 500
_MAX_KEPT = 50_000

_NEWLINE = 0x0A
# Assertions that the bytes so far decide, and whether they hold after LF.
_AFTER_NEWLINE = {"AT_BEGINNING_STRING": False, "AT_BEGINNING": False, "AT_BEGINNING_LINE": True}


@attrs.define(eq=False)
class StateSet:
    """A set of states that the bytes so far may have led to, and where each next byte leads.

    Attributes:
        moves: those of the set that take a byte.
        accepts: whether a match ends here.
        following: the sets that have come up, by byte.
    """

    moves: list[Consume]
    accepts: bool
    following: dict[int, StateSet] = attrs.field(factory=dict, repr=False)


class Automaton:
    """Finds where the first match of a pattern ends. It keeps no place: a `StateSet` is one."""

    __slots__ = ("_begin", "_first", "_kept", "_known", "_states")

    def __init__(self, states: list[State], begin: int) -> None:
        self._states = states
        self._begin = begin
        self._known: dict[frozenset[int], StateSet] = {}
        # The number of states in all sets that are known.
        self._kept = 0
        self._first = self._make(self._reach([begin], None))

    @property
    def size(self) -> int:
        """The number of states of the pattern."""
        return len(self._states)

    @property
    def first(self) -> StateSet:
        """The set before any byte."""
        return self._first

    def follow(self, current: StateSet, byte: int) -> StateSet:
        """Return the set that a byte leads to, and keep it."""
        targets = [move.target for move in current.moves if byte in move.allowed]
        # A match may begin at each byte.
        reached = self._reach([*targets, self._begin], byte)
        found = self._known.get(reached)
        if found is None:
            if len(self._known) >= _MAX_SETS or self._kept >= _MAX_KEPT:
                self._forget()
            found = self._known[reached] = self._make(reached)
            self._kept += len(reached)
        current.following[byte] = found
        return found

    def _forget(self) -> None:
        # A set that a search is at stays alive through it, and leads to new ones.
        for state_set in [self._first, *self._known.values()]:
            state_set.following.clear()
        self._known.clear()
        self._kept = 0

    def _make(self, reached: frozenset[int]) -> StateSet:
        moves = [state for index in reached if isinstance(state := self._states[index], Consume)]
        return StateSet(moves, ACCEPT in reached)

    def _reach(self, targets: list[int], previous: int | None) -> frozenset[int]:
        """Return the states that are reached from ``targets`` without a further byte."""

        def holds(assertion: Assertion) -> bool:
            return previous is None or (_AFTER_NEWLINE[assertion.name] and previous == _NEWLINE)

        return frozenset(reached_from(targets, self._states, holds))


def build_automaton(pattern: re.Pattern[bytes]) -> Automaton | None:
    """Return the automaton of a pattern; ``None``: it is not regular, or too large."""
    try:
        states, begin = build_states(parse_pattern(pattern.pattern, pattern.flags))
    except (NotRegularError, RecursionError):
        return None
    names = {state.name for state in states if isinstance(state, Assertion)}
    return Automaton(states, begin) if names <= _AFTER_NEWLINE.keys() else None


def min_width(pattern: re.Pattern[bytes]) -> int:
    """Return the length of the shortest match in bytes, or less."""
    try:
        least: int = parse_pattern(pattern.pattern, pattern.flags).getwidth()[0]
    except NotRegularError:  # pragma: no cover - every supported Python has the parser
        return 0 if pattern.search(b"") else 1
    return least
