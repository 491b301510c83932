"""What `connect` and `stream` return: it is for a ``with`` statement only, and says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Never, TypeVar

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")

#: The error of a client that is used after that.
CLIENT_CLOSED = "the client is closed: its `with` block is over"


class WithBlock(AbstractContextManager[_Value, None]):
    """A ``with`` statement made of two functions: ``enter`` returns the value, ``leave`` takes it.

    Like `contextlib.contextmanager`, except that a failing test's traceback hides its frames.

    Args:
        statement: how it is used, for an error and for the repr.
    """

    def __init__(
        self, enter: Callable[[], _Value], leave: Callable[[_Value], None], statement: str
    ) -> None:
        self._enter = enter
        self._leave = leave
        self._statement = statement
        self._values: list[_Value] = []

    def __enter__(self) -> _Value:
        self._values.append(self._enter())
        return self._values[-1]

    def __exit__(self, *_: object) -> None:
        self._leave(self._values.pop())

    def __repr__(self) -> str:
        return f"<{_usage(self._statement)}>"

    if not TYPE_CHECKING:  # a type checker finds these by itself

        def __getattr__(self, name: str) -> Never:
            raise _no_attribute(self, name, self._statement)

        def __iter__(self) -> Never:
            raise TypeError(_usage(self._statement))


class AsyncWithBlock(AbstractAsyncContextManager[_Value, None]):
    """An ``async with`` statement.

    Args:
        block: what it does.
        statement: how it is used, for an error and for the repr.
    """

    def __init__(
        self, block: AbstractAsyncContextManager[_Value, bool | None], statement: str
    ) -> None:
        self._block = block
        self._statement = statement
        self._is_entered = False

    async def __aenter__(self) -> _Value:
        """Begin.

        Raises:
            RuntimeError: it was entered before.
        """
        if self._is_entered:
            raise RuntimeError(f"this block was entered before: write {self._statement} again")
        self._is_entered = True
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._block.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<{_usage(self._statement)}>"

    if not TYPE_CHECKING:  # a type checker finds these by itself

        def __getattr__(self, name: str) -> Never:
            raise _no_attribute(self, name, self._statement)

        def __await__(self) -> Never:
            raise TypeError(_usage(self._statement))

        def __aiter__(self) -> Never:
            raise TypeError(_usage(self._statement))

        def __enter__(self) -> Never:
            raise TypeError(_usage(self._statement))

        def __exit__(self, *_: object) -> None:
            """Never called; without it Python does not ask `__enter__`."""


def _usage(statement: str) -> str:
    kind = "async with" if statement.startswith("async") else "with"
    return f"use it in {'an' if kind[0] == 'a' else 'a'} {kind} block: {statement}"


def _no_attribute(block: object, name: str, statement: str) -> AttributeError:
    return AttributeError(_usage(statement), name=name, obj=block)
