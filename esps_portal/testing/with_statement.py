"""What does nothing until a ``with`` statement enters it, and warns where none does."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import ParamSpec, TypeVar

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")
_Arguments = ParamSpec("_Arguments")


class WithStatement(AbstractContextManager[_Value, bool | None]):
    """A block that warns when it is dropped and was never entered, as a coroutine does.

    Args:
        block: what it does.
        statement: how it is used, for the warning.
    """

    def __init__(self, block: AbstractContextManager[_Value, bool | None], statement: str) -> None:
        self._block = block
        self._statement = statement
        self._is_entered = False

    def __enter__(self) -> _Value:
        """Begin.

        Raises:
            RuntimeError: it was entered before.
        """
        if self._is_entered:
            raise RuntimeError(f"this block was entered before: write {self._statement} again")
        self._is_entered = True
        return self._block.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._block.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._is_entered:
            text = f"nothing was done: use it in a with block: {self._statement}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        return f"<use it in a with block: {self._statement}>"


def in_with_statement(
    statement: str,
) -> Callable[
    [Callable[_Arguments, AbstractContextManager[_Value, bool | None]]],
    Callable[_Arguments, WithStatement[_Value]],
]:
    """Have a function return its context manager as a `WithStatement`."""

    def decorate(
        function: Callable[_Arguments, AbstractContextManager[_Value, bool | None]],
    ) -> Callable[_Arguments, WithStatement[_Value]]:
        @functools.wraps(function)
        def decorated(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> WithStatement[_Value]:
            return WithStatement(function(*args, **kwargs), statement)

        return decorated

    return decorate
