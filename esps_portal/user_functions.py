"""Checks, as soon as a user gives a function, whether it can be called as it will be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from esps_portal.given_numbers import shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# What asyncio raises outside of its loop (base_events, events, timeouts), and trio when it is given
# a future of asyncio to wait for.
_ASYNCIO_ERRORS = (
    "no running event loop",
    "There is no current event loop",
    "Timeout should be used inside a task",
    "trio.run received unrecognized yield message",
)


def check_function(function: object, what: str) -> None:
    """Check that something is a function that can answer: it is called, and returns the answer.

    Args:
        what: what it is to be, as the text begins.

    Raises:
        TypeError: it is not a function; or a class, whose calls return instances; or it has a
            ``yield``.
    """
    if not callable(function):
        raise TypeError(f"{what} must be a function, got {shown_value(function)}")
    if inspect.isclass(function):
        name = function.__qualname__
        raise TypeError(f"{what} must be a function, got the class {name}: give an instance of it")
    if yields(function):
        raise TypeError(f"{what} must return its answer: {_name_of(function)} has a yield")


def check_predicate(function: Callable[..., Any], parameter: str) -> None:
    """Check that a predicate is sync, takes one argument, and can return a false value.

    Args:
        parameter: what it gets, as its text calls it.

    Raises:
        TypeError: it is not.
    """
    if is_async(function):
        raise TypeError("a predicate must be a sync function: what an async one returns is true")
    if yields(function):
        raise TypeError("a predicate must return true or false: a generator, from yield, is true")
    if inspect.isclass(function) and not _can_be_false(function):
        raise TypeError(
            f"a predicate must return true or false: an instance of {function.__qualname__} is true"
        )
    check_takes(function, "a predicate", parameter)


def decides(predicate: Callable[[bytes], object], given: bytes) -> bool:
    """Whether a predicate returns a true value for some bytes.

    Raises:
        TypeError: it returns a coroutine or a generator, which are true whatever it means.
    """
    verdict = predicate(given)
    if verdict is True or verdict is False:
        return verdict
    is_generator = inspect.isgenerator(verdict) or inspect.isasyncgen(verdict)
    if not (is_generator or inspect.iscoroutine(verdict)):
        return bool(verdict)
    if inspect.iscoroutine(verdict):
        verdict.close()  # otherwise Python warns, later, that it was never awaited
    kind = type(verdict).__name__.replace("_", " ")
    raise TypeError(f"a predicate must return true or false, not a {kind}, which is true")


def check_takes(function: Callable[..., Any], what: str, *parameters: str) -> None:
    """Check that a function can be called with these arguments by position.

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
        wanted = ", ".join(parameters)
        raise TypeError(
            f"{what} is called with ({wanted}); {_name_of(function)}{signature} cannot be: {error}"
        ) from None


def is_async(function: object) -> bool:
    """Whether calling it returns a coroutine."""
    return any(map(inspect.iscoroutinefunction, _called(function)))


def yields(function: object) -> bool:
    """Whether calling it returns a generator, sync or async."""
    kinds = inspect.isgeneratorfunction, inspect.isasyncgenfunction
    return any(kind(each) for kind in kinds for each in _called(function))


def note_asyncio(error: BaseException, function: object) -> None:
    """Say in an error of a user's function, if it comes from asyncio, that trio runs the function.

    Args:
        error: what it has raised; it gets a note, which a traceback ends with.
    """
    found = [error]
    while found:
        each = found.pop()
        if isinstance(each, BaseExceptionGroup):
            found += each.exceptions
        elif isinstance(each, RuntimeError | TypeError) and _is_of_asyncio(str(each)):
            error.add_note(
                f"{_name_of(function)} runs in trio, not in asyncio: it can wait with"
                " trio.sleep() and what else is trio's or anyio's; code for asyncio runs with"
                " await trio.to_thread.run_sync(asyncio.run, main())"
            )
            return


def _is_of_asyncio(message: str) -> bool:
    return any(known in message for known in _ASYNCIO_ERRORS)


def _called(function: object) -> tuple[object, object]:
    """Return a function, and the method that is called if it is an object with one."""
    return function, getattr(function, "__call__", None)  # noqa: B004 - to look at, not to ask whether


def _can_be_false(kind: type) -> bool:
    return hasattr(kind, "__bool__") or hasattr(kind, "__len__")


def _name_of(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
