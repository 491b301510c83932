"""The states of a regular expression, for a search in one pass.

A pattern without lookaround, references and the like describes a regular language. Its states are
built from the syntax tree of `re` itself, and `re` says which symbols each part matches, so a
pattern means the same here as there. A symbol is a byte, or the code point of a character.

Nothing here knows how the states are searched. A pattern with an unknown part is refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Container, Iterable, Sequence
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
# Characters of all ranges in text whose case is ignored: `re` takes some 300 ns for each of them.
_MAX_FOLDED = 2_000
# Characters of a range in text that `re` is asked about; of a wider one the ends are compared.
_MAX_RANGE = 256

_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
#: The flags whose meaning is known here, or that matter to the parser alone.
_KNOWN_FLAGS = (
    re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII | re.UNICODE | re.DEBUG
)
# Those that decide which symbols a part takes.
_CLASS_FLAGS = re.IGNORECASE | re.DOTALL | re.ASCII

#: The number of the state at which a match ends.
ACCEPT = 0


class NotRegularError(Exception):
    """The pattern has something that these states cannot say, or needs too many of them."""


@attrs.frozen
class Consume:
    """Moves on with one of these symbols."""

    allowed: Container[int]
    target: int


@attrs.frozen
class Fork:
    """Moves on to each of these without a symbol."""

    targets: list[int]


@attrs.frozen
class Assertion:
    r"""Moves on without a symbol where something holds.

    Attributes:
        name: as in `re`: ``AT_BEGINNING`` and ``AT_BEGINNING_LINE`` (``^``),
            ``AT_BEGINNING_STRING`` (``\A``), and so on.
        is_ascii: only ASCII characters make words.
    """

    name: str
    is_ascii: bool
    target: int


State = Consume | Fork | Assertion


def reached_from(
    starts: Iterable[int], states: Sequence[State], holds: Callable[[Assertion], bool]
) -> set[int]:
    """Return the numbers of the states that are reached without a further symbol.

    Args:
        holds: whether an assertion does at this place.
    """
    reached: set[int] = set()
    waiting = list(starts)
    while waiting:
        number = waiting.pop()
        if number in reached:
            continue
        reached.add(number)
        state = states[number]
        if isinstance(state, Fork):
            waiting += state.targets
        elif isinstance(state, Assertion) and holds(state):
            waiting.append(state.target)
    return reached


def parse_pattern(pattern: str | bytes, flags: int = 0) -> Any:  # noqa: ANN401 - a class of re
    """Return the syntax tree of a pattern.

    Raises:
        NotRegularError: this Python has no such parser.
        re.error, OverflowError, RecursionError: it is not a regular expression.
    """
    if _parser is None:  # pragma: no cover - see above
        raise NotRegularError("this Python cannot parse it")
    # What only a compiled text pattern has is implied by the text.
    return _parser.parse(pattern, flags & ~re.UNICODE)


def build_states(tree: Any) -> tuple[list[State], int]:  # noqa: ANN401 - a class of re
    """Return the states of a syntax tree, and the number of the one where it begins.

    Raises:
        NotRegularError: it is not regular, or too large.
        RecursionError: it is nested too deeply.
    """
    builder = _Builder(is_text=isinstance(tree.state.str, str))
    begin = builder.sequence(tree, _checked_flags(tree.state.flags), ACCEPT)
    return builder.states, begin


class _Builder:
    """Builds the states of a syntax tree, from its end to its start."""

    def __init__(self, *, is_text: bool) -> None:
        self.states: list[State] = [Fork([])]  # that of ACCEPT
        self._is_text = is_text
        self._classes: dict[tuple[str, int], Container[int]] = {}
        # The characters of ranges whose case is ignored.
        self._folded = 0
        self._operations: dict[str, Callable[[Any, int, int], int]] = {
            "LITERAL": lambda value, flags, to: self._consume(_escape(value), flags, to),
            "NOT_LITERAL": lambda value, flags, to: self._consume(
                f"[^{_escape(value)}]", flags, to
            ),
            "ANY": lambda _, flags, to: self._consume(".", flags, to),
            "IN": self._set,
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
                raise NotRegularError(operation.name)
            target = build(value, flags, target)
        return target

    def _add(self, state: State) -> int:
        if len(self.states) >= _MAX_STATES:
            raise NotRegularError("too many states")
        self.states.append(state)
        return len(self.states) - 1

    def _consume(self, source: str, flags: int, target: int) -> int:
        """Add what takes one symbol, of those that this pattern takes."""
        key = source, flags & _CLASS_FLAGS
        if key not in self._classes:
            self._classes[key] = _symbols(*key, is_text=self._is_text)
        return self._add(Consume(self._classes[key], target))

    def _set(self, items: Iterable[tuple[Any, Any]], flags: int, target: int) -> int:
        is_negated, parts, wide = False, [], []
        for operation, value in items:
            match operation.name:
                case "NEGATE":
                    is_negated = True
                case "LITERAL":
                    parts.append(_escape(value))
                case "RANGE" if self._is_wide(value[1] - value[0], flags):
                    wide.append(range(value[0], value[1] + 1))
                case "RANGE":
                    parts.append(f"{_escape(value[0])}-{_escape(value[1])}")
                case "CATEGORY" if value.name in _CATEGORIES:
                    parts.append(_CATEGORIES[value.name])
                case _:
                    raise NotRegularError(operation.name)
        if not wide:
            return self._consume(f"[{'^' * is_negated}{''.join(parts)}]", flags, target)
        rest = re.compile(f"[{''.join(parts)}]", flags & _CLASS_FLAGS) if parts else None
        return self._add(Consume(_WideSet(tuple(wide), rest, is_negated=is_negated), target))

    def _is_wide(self, width: int, flags: int) -> bool:
        """Whether a range is compared, and not asked about."""
        if not (self._is_text and flags & re.IGNORECASE):
            return width > _MAX_RANGE
        self._folded += width
        if self._folded > _MAX_FOLDED:
            raise NotRegularError("ranges too large to ignore the case in them")
        return False

    def _branch(self, value: tuple[None, list[Any]], flags: int, target: int) -> int:
        return self._add(Fork([self.sequence(tree, flags, target) for tree in value[1]]))

    def _group(self, value: tuple[Any, int, int, Any], flags: int, target: int) -> int:
        _, added, removed, tree = value
        return self.sequence(tree, _checked_flags(flags & ~removed | added), target)

    def _repeat(self, value: tuple[int, int, Any], flags: int, target: int) -> int:
        # Greedy or not is the same: what is looked for is whether, or how soon, a match ends.
        least, most, tree = value
        if most == _parser.MAXREPEAT:
            fork = Fork([target])
            target = self._add(fork)
            fork.targets.append(self.sequence(tree, flags, target))
        else:
            end = target
            for _ in range(most - least):
                target = self._add(Fork([end, self.sequence(tree, flags, target)]))
        for _ in range(least):
            before = len(self.states)
            target = self.sequence(tree, flags, target)
            if len(self.states) == before:
                break  # the repeated part is empty
        return target

    def _at(self, where: Any, flags: int, target: int) -> int:  # noqa: ANN401 - a constant of re
        name: str = where.name
        if flags & re.MULTILINE and name in ("AT_BEGINNING", "AT_END"):
            name += "_LINE"
        is_ascii = not self._is_text or bool(flags & re.ASCII)
        return self._add(Assertion(name, is_ascii, target))


def _checked_flags(flags: int) -> int:
    if flags & ~_KNOWN_FLAGS:
        raise NotRegularError(f"flags {flags}")
    return flags


def _escape(code: int) -> str:
    return re.escape(chr(code))


def _symbols(source: str, flags: int, *, is_text: bool) -> Container[int]:
    """Return what a pattern of one symbol takes."""
    if is_text:
        return _Characters(re.compile(source, flags))
    find = re.compile(source.encode("latin-1"), flags)
    return frozenset(byte for byte in range(256) if find.fullmatch(bytes((byte,))))


@attrs.frozen
class _Characters:
    """The code points of the characters that a pattern of one takes."""

    pattern: re.Pattern[str]

    def __contains__(self, code: object) -> bool:
        return isinstance(code, int) and self.pattern.fullmatch(chr(code)) is not None


@attrs.frozen(kw_only=True)
class _WideSet:
    """The code points in ranges, and of the characters that a pattern of one takes; or the rest."""

    ranges: tuple[range, ...] = attrs.field(kw_only=False)
    rest: re.Pattern[str] | None = attrs.field(kw_only=False)
    is_negated: bool

    def __contains__(self, code: object) -> bool:
        is_found = any(code in each for each in self.ranges) or (
            self.rest is not None and code in _Characters(self.rest)
        )
        return is_found != self.is_negated
