"""Searches a test's own compiled pattern: with `re`, unless that might block the interpreter.

`re` tries one way after the other, and nothing else in the process runs meanwhile. With a choice
within a repeat, as in ``(a+)+$``, or with many repeats, there are too many ways to try. Such a
pattern is searched in one pass if that is possible; any other pattern with `re`, which is written
in C.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from esps_portal.patterns.linear import LinearPattern, PatternError
from esps_portal.patterns.states import NotRegularError, parse_pattern

# Repeats that `re` may combine: with two of them, the ways grow as the cube of the length.
_MAX_REPEATS = 2


@functools.lru_cache(maxsize=1024)
def in_bounded_time(pattern: re.Pattern[Any]) -> re.Pattern[Any] | LinearPattern:
    """Return what finds the same as a compiled pattern, in bounded time if there is such.

    Example: ``in_bounded_time(re.compile(r"(a+)+$")).search("a" * 40 + "b")`` is False, at once.
    """
    try:
        if _has_many_ways(parse_pattern(pattern.pattern, pattern.flags)):
            return LinearPattern.of(pattern.pattern, pattern.flags)
    except (PatternError, NotRegularError, RecursionError):
        pass  # there is none
    return pattern


def _has_many_ways(tree: Any) -> bool:  # noqa: ANN401 - of Python's own parser, which has no types
    choices = list(_choices(tree, is_repeated=False))
    return any(choices) or len(choices) > _MAX_REPEATS


def _choices(tree: Any, *, is_repeated: bool) -> Iterator[bool]:  # noqa: ANN401 - see above
    """Yield for each choice that grows with what is searched whether it is within a repeat."""
    for operation, argument in tree:
        name = str(operation)
        is_repeat = name.endswith("REPEAT")
        if is_repeat and argument[0] != argument[1] and argument[1] > 1:
            yield is_repeated
        elif is_repeated and (is_repeat or name == "BRANCH"):
            yield True
        repeats = is_repeated or (is_repeat and argument[1] > 1)
        for part in _parts(argument):
            yield from _choices(part, is_repeated=repeats)


def _parts(argument: Any) -> Iterator[Any]:  # noqa: ANN401 - see above
    """Yield the patterns in what an operation of the tree is about."""
    if isinstance(argument, tuple | list):
        for item in argument:
            yield from _parts(item)
    elif hasattr(argument, "data"):
        yield argument
