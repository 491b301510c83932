"""Context managers that say what to write if they are used without a ``with`` statement."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Never, ParamSpec, TypeVar

from esps_portal.no_attributes import NoAttributes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")
_Arguments = ParamSpec("_Arguments")


class _Block(NoAttributes):
    """What the blocks have in common: any other use of one is an error that says what to write.

    Args:
        statement: how it is used: ``with connect(url) as portal: ...``.
    """

    def __init__(self, statement: str) -> None:
        kind = "an async with" if statement.startswith("async") else "a with"
        self._usage = f"use it in {kind} block: {statement}"
        self._statement = statement
        self._is_entered = False

    def _enter_once(self) -> None:
        """Note that the block begins; it cannot begin a second time."""
        if self._is_entered:
            raise RuntimeError(f"this block was entered before: write {self._statement} again")
        self._is_entered = True

    def __repr__(self) -> str:
        return f"<{self._usage}>"

    def _how_to_get(self, name: str) -> str:  # noqa: ARG002 - it has none
        return self._usage

    if not TYPE_CHECKING:  # a type checker finds these by itself

        def __iter__(self) -> Never:
            raise TypeError(self._usage)

        __await__ = __aiter__ = __iter__


class WithBlock(_Block, AbstractContextManager[_Value, None]):
    """A ``with`` statement made of two functions: ``enter`` returns the value, ``leave`` takes it.

    Like `contextlib.contextmanager`, except that a failing test's traceback hides its frames.

    Args:
        statement: how it is used, for an error and for the repr.
    """

    def __init__(
        self, enter: Callable[[], _Value], leave: Callable[[_Value], None], statement: str
    ) -> None:
        super().__init__(statement)
        self._enter = enter
        self._leave = leave
        self._values: list[_Value] = []

    def __enter__(self) -> _Value:
        self._values.append(self._enter())
        return self._values[-1]

    def __exit__(self, *_: object) -> None:
        self._leave(self._values.pop())


class AsyncWithBlock(_Block, AbstractAsyncContextManager[_Value, None]):
    """An ``async with`` statement.

    Args:
        block: what it does.
        statement: how it is used, for an error and for the repr.
    """

    def __init__(
        self, block: AbstractAsyncContextManager[_Value, bool | None], statement: str
    ) -> None:
        super().__init__(statement)
        self._block = block

    async def __aenter__(self) -> _Value:
        """Begin.

        Raises:
            RuntimeError: it was entered before.
        """
        self._enter_once()
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._block.__aexit__(kind, error, traceback)

    if not TYPE_CHECKING:

        def __enter__(self) -> Never:
            raise TypeError(self._usage)

        def __exit__(self, *_: object) -> None:
            """Never called; without it Python does not ask `__enter__`."""


class WarningWithBlock(_Block, AbstractContextManager[_Value, bool | None]):
    """A ``with`` statement that warns if it is dropped and was never entered, as a coroutine does.

    Args:
        block: what it does.
        statement: how it is used, for the warning, an error and the repr.
    """

    def __init__(self, block: AbstractContextManager[_Value, bool | None], statement: str) -> None:
        super().__init__(statement)
        self._block = block

    def __enter__(self) -> _Value:
        """Begin.

        Raises:
            RuntimeError: it was entered before.
        """
        self._enter_once()
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
            warnings.warn(f"nothing was done: {self._usage}", RuntimeWarning, stacklevel=2)


def warns_without_with(
    statement: str,
) -> Callable[
    [Callable[_Arguments, AbstractContextManager[_Value, bool | None]]],
    Callable[_Arguments, WarningWithBlock[_Value]],
]:
    """Have a function return its context manager as a `WarningWithBlock`."""

    def decorate(
        function: Callable[_Arguments, AbstractContextManager[_Value, bool | None]],
    ) -> Callable[_Arguments, WarningWithBlock[_Value]]:
        @functools.wraps(function)
        def decorated(
            *args: _Arguments.args, **kwargs: _Arguments.kwargs
        ) -> WarningWithBlock[_Value]:
            return WarningWithBlock(function(*args, **kwargs), statement)

        return decorated

    return decorate


def needs_async_with(
    statement: str,
) -> Callable[
    [Callable[_Arguments, AbstractAsyncContextManager[_Value, bool | None]]],
    Callable[_Arguments, AsyncWithBlock[_Value]],
]:
    """Have a function return its async context manager as an `AsyncWithBlock`."""

    def decorate(
        function: Callable[_Arguments, AbstractAsyncContextManager[_Value, bool | None]],
    ) -> Callable[_Arguments, AsyncWithBlock[_Value]]:
        @functools.wraps(function)
        def decorated(
            *args: _Arguments.args, **kwargs: _Arguments.kwargs
        ) -> AsyncWithBlock[_Value]:
            return AsyncWithBlock(function(*args, **kwargs), statement)

        return decorated

    return decorate
