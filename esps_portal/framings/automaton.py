"""The earliest end of a match of a regular expression, in one pass over the bytes.

`re` can neither go on where it stopped nor say which bytes were the first that match, and some
patterns take it exponential time. A pattern without lookaround, references and the like describes a
regular language, so a set of states that moves on with each byte answers both (Thompson, 1968):
the states are built from the syntax tree of `re` itself, and the sets that have come up are kept
with where each byte leads, up to a number of them.

It must not know frames. Anything that it does not know makes it refuse the pattern.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

# Python's own parser: not public, so whatever is unexpected in it is refused.
_parser: Any
try:
    _parser = importlib.import_module("re._parser")
except ImportError:  # pragma: no cover - every supported version has it
    _parser = None

# States of one pattern; more come from counted repeats, such as `(a{100}){100}`.
_MAX_STATES = 5_000
# Sets of states that are kept, and the states in all of them: together some megabytes.
_MAX_SETS = 500
_MAX_KEPT = 50_000

_NEWLINE = 0x0A
_ALL_BYTES = frozenset(range(256))
_CATEGORIES = {
    f"CATEGORY_{name}": frozenset(b for b in range(256) if re.fullmatch(text, bytes((b,))))
    for name, text in {
        "DIGIT": rb"\d",
        "NOT_DIGIT": rb"\D",
        "SPACE": rb"\s",
        "NOT_SPACE": rb"\S",
        "WORD": rb"\w",
        "NOT_WORD": rb"\W",
    }.items()
}
#: The flags whose meaning is known here, or that matter to the parser alone.
_KNOWN_FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII

_ACCEPT = 0


class _NotRegularError(Exception):
    """The pattern has something that these states cannot say, or needs too many of them."""


@attrs.frozen
class _Byte:
    """Moves on with one of these bytes."""

    allowed: frozenset[int]
    target: int


@attrs.frozen
class _Fork:
    """Moves on to each of these without a byte."""

    targets: list[int]


@attrs.frozen
class _LineStart:
    """Moves on without a byte at the start, and, where ``multiline``, after LF."""

    multiline: bool
    target: int


class _Builder:
    """Builds the states of a syntax tree, from its end to its start."""

    def __init__(self) -> None:
        self.states: list[_Byte | _Fork | _LineStart] = [_Fork([])]  # that of _ACCEPT
        self._operations: dict[str, Callable[[Any, int, int], int]] = {
            "LITERAL": lambda value, flags, to: self._byte(_folded({value}, flags), to),
            "NOT_LITERAL": lambda value, flags, to: self._byte(
                _ALL_BYTES - _folded({value}, flags), to
            ),
            "ANY": lambda _, flags, to: self._byte(
                _ALL_BYTES if flags & re.DOTALL else _ALL_BYTES - {_NEWLINE}, to
            ),
            "IN": lambda items, flags, to: self._byte(_char_set(items, flags), to),
            "BRANCH": self._branch,
            "SUBPATTERN": self._group,
            "MAX_REPEAT": self._repeat,
            "MIN_REPEAT": self._repeat,
            "AT": self._at,
        }

    def sequence(self, tree: Iterable[tuple[Any, Any]], flags: int, target: int) -> int:
        """Add what matches ``tree`` and then goes on at ``target``; return where it begins."""
        for operation, value in reversed(list(tree)):
            build = self._operations.get(operation.name)
            if build is None:
                raise _NotRegularError(operation.name)
            target = build(value, flags, target)
        return target

    def _add(self, state: _Byte | _Fork | _LineStart) -> int:
        if len(self.states) >= _MAX_STATES:
            raise _NotRegularError("too many states")
        self.states.append(state)
        return len(self.states) - 1

    def _byte(self, allowed: frozenset[int], target: int) -> int:
        return self._add(_Byte(allowed, target))

    def _branch(self, value: tuple[None, list[Any]], flags: int, target: int) -> int:
        return self._add(_Fork([self.sequence(tree, flags, target) for tree in value[1]]))

    def _group(self, value: tuple[Any, int, int, Any], flags: int, target: int) -> int:
        _, added, removed, tree = value
        return self.sequence(tree, _checked_flags(flags & ~removed | added), target)

    def _repeat(self, value: tuple[int, int, Any], flags: int, target: int) -> int:
        # Greedy or not is the same: it is the first end of all matches that is looked for.
        least, most, tree = value
        if most == _parser.MAXREPEAT:
            fork = _Fork([target])
            target = self._add(fork)
            fork.targets.append(self.sequence(tree, flags, target))
        else:
            end = target
            for _ in range(most - least):
                target = self._add(_Fork([end, self.sequence(tree, flags, target)]))
        for _ in range(least):
            before = len(self.states)
            target = self.sequence(tree, flags, target)
            if len(self.states) == before:
                break  # the repeated part is empty
        return target

    def _at(self, where: Any, flags: int, target: int) -> int:  # noqa: ANN401 - a constant of re
        if where.name == "AT_BEGINNING_STRING":
            return self._add(_LineStart(multiline=False, target=target))
        if where.name == "AT_BEGINNING":
            return self._add(_LineStart(multiline=bool(flags & re.MULTILINE), target=target))
        raise _NotRegularError(where.name)


def _checked_flags(flags: int) -> int:
    if flags & ~_KNOWN_FLAGS:
        raise _NotRegularError(f"flags {flags}")
    return flags


def _folded(found: set[int], flags: int) -> frozenset[int]:
    """Return these bytes, with IGNORECASE in both cases; `re` knows case in ASCII only."""
    if not flags & re.IGNORECASE:
        return frozenset(found)
    both = (bytes((byte,)) for byte in found)
    return frozenset(case[0] for byte in both for case in (byte.lower(), byte.upper()))


def _char_set(items: Iterable[tuple[Any, Any]], flags: int) -> frozenset[int]:
    found: set[int] = set()
    negated = False
    for operation, value in items:
        match operation.name:
            case "NEGATE":
                negated = True
            case "LITERAL":
                found.add(value)
            case "RANGE":
                found.update(range(value[0], value[1] + 1))
            case "CATEGORY" if value.name in _CATEGORIES:
                found |= _CATEGORIES[value.name]
            case _:
                raise _NotRegularError(operation.name)
    folded = _folded(found, flags)
    return _ALL_BYTES - folded if negated else folded


# ---- the search --------------------------------------------------------------------------------


@attrs.define(eq=False)
class StateSet:
    """A set of states that the bytes so far may have led to, and where each next byte leads.

    Attributes:
        moves: those of the set that take a byte.
        accepts: whether a match ends here.
        following: the sets that have come up, by byte.
    """

    moves: list[_Byte]
    accepts: bool
    following: dict[int, StateSet] = attrs.field(factory=dict, repr=False)


class Automaton:
    """Finds where the first match of a pattern ends. It keeps no place: a `StateSet` is one."""

    __slots__ = ("_begin", "_first", "_kept", "_known", "_states")

    def __init__(self, states: list[_Byte | _Fork | _LineStart], begin: int) -> None:
        self._states = states
        self._begin = begin
        self._known: dict[frozenset[int], StateSet] = {}
        # The number of states in all sets that are known.
        self._kept = 0
        self._first = self._make(self._reach([begin], None))

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
        moves = [state for index in reached if isinstance(state := self._states[index], _Byte)]
        return StateSet(moves, _ACCEPT in reached)

    def _reach(self, targets: list[int], previous: int | None) -> frozenset[int]:
        """Return the states that are reached from ``targets`` without a further byte."""
        reached: set[int] = set()
        waiting = list(targets)
        while waiting:
            index = waiting.pop()
            if index in reached:
                continue
            reached.add(index)
            state = self._states[index]
            if isinstance(state, _Fork):
                waiting += state.targets
            elif isinstance(state, _LineStart) and (
                previous is None or (state.multiline and previous == _NEWLINE)
            ):
                waiting.append(state.target)
        return frozenset(reached)


def build_automaton(pattern: re.Pattern[bytes]) -> Automaton | None:
    """Return the automaton of a pattern; ``None``: it is not regular, or too large."""
    if _parser is None:  # pragma: no cover - see above
        return None
    builder = _Builder()
    try:
        flags = _checked_flags(pattern.flags)
        tree = _parser.parse(pattern.pattern, pattern.flags)
        return Automaton(builder.states, builder.sequence(tree, flags, _ACCEPT))
    except (_NotRegularError, RecursionError):
        return None


def min_width(pattern: re.Pattern[bytes]) -> int:
    """Return the length of the shortest match in bytes, or less."""
    if _parser is None:  # pragma: no cover - see above
        return 0 if pattern.search(b"") else 1
    least: int = _parser.parse(pattern.pattern, pattern.flags).getwidth()[0]
    return least
