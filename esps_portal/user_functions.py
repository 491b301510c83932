"""Whether a function of the user can be called as it will be: said where it is given, not later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def check_predicate(function: Callable[..., Any], parameter: str) -> None:
    """Check that a predicate is sync and takes one argument.

    Args:
        parameter: what it gets, as its text calls it.

    Raises:
        TypeError: it is not.
    """
    if is_async(function):
        raise TypeError("a predicate must be a sync function: what an async one returns is true")
    check_takes(function, "a predicate", parameter)


def check_takes(function: Callable[..., Any], what: str, *parameters: str) -> None:
    """Check that a function can be called with so many arguments by position.

    Args:
        what: what it is, as the text begins.
        parameters: what it gets, as the text calls them.

    Raises:
        TypeError: it cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # it is written in C, and does not say
    try:
        signature.bind(*parameters)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        wanted = ", ".join(parameters)
        raise TypeError(
            f"{what} is called with ({wanted}); {name}{signature} cannot be: {error}"
        ) from None


def is_async(function: object) -> bool:
    """Whether calling it returns a coroutine."""
    # An object may have an async __call__.
    call = getattr(function, "__call__", None)  # noqa: B004 - to look at, not to ask whether
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
