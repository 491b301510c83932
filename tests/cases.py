"""Many small cases in one test, each with its own name where it fails.

``pytest.mark.parametrize`` makes a test of each, which costs some milliseconds in each worker:
more than what many of them do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable

import pytest

_NAME = 80  # characters of a case, in a report


def cases(
    names: str | tuple[str, ...], values: Iterable[object]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a test called for each of the values, as subtests: those after one that fails run too.

    Args:
        names: of the arguments, as `pytest.mark.parametrize` has them.
        values: of the argument, or a tuple for each case.

    Example:
        >>> @cases("text", ["", "a"])
        ... def test_upper(text: str) -> None:
        ...     assert text.upper().lower() == text
    """
    every = [*values]
    assert every, "a test of no case cannot fail"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_cases(*, subtests: pytest.Subtests, **fixtures: object) -> None:
            for value in every:
                given = (
                    {names: value}
                    if isinstance(names, str)
                    else dict(zip(names, value, strict=True))  # type: ignore[call-overload]
                )
                with subtests.test(ascii(value)[:_NAME]):
                    test(**fixtures, **given)

        taken = {names} if isinstance(names, str) else {*names}
        own = inspect.signature(test).parameters
        assert taken <= own.keys(), "it takes no such argument"
        fixtures = [own[name] for name in own if name not in taken]
        asked = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        all_cases.__signature__ = inspect.Signature([*fixtures, asked])  # type: ignore[attr-defined]
        return all_cases

    return decorate
