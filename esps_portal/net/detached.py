"""Tasks that nobody waits for. They run functions of the test, which may ignore their cancellation.

Trio cannot end a task against its will, and a nursery waits for all its tasks. So these tasks run
in a nursery beside the program's. It is cancelled like any other, but left behind if it does not
end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TypeVar

import trio

T = TypeVar("T")

#: Seconds that tasks get to end once they are cancelled: own choice. They have little to clean up.
CANCELLED = 0.5


@asynccontextmanager
async def detached_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery; at the end of the block cancel it, and wait for it only within a bound.

    Example::

        async with detached_nursery() as nursery:
            nursery.start_soon(function_of_a_test)
            await serve()

    Raises:
        BaseExceptionGroup: a task has raised something, which also cancels the block.
    """
    opened, ended = trio.Event(), trio.Event()
    nursery: trio.Nursery
    failure: BaseException | None = None

    async def hold() -> None:
        nonlocal nursery, failure
        try:
            async with trio.open_nursery() as nursery:
                opened.set()
                await trio.sleep_forever()
        except BaseException as error:
            if _is_cancelled(error):
                raise
            failure = error
            scope.cancel()
        finally:
            ended.set()

    with trio.CancelScope() as scope:
        trio.lowlevel.spawn_system_task(hold, context=copy_context())
        with trio.CancelScope(shield=True):
            await opened.wait()
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCELLED):
                await ended.wait()
    if failure is not None:
        raise failure


async def run_detached(
    nursery: trio.Nursery, awaitable: Awaitable[T], on_ignored: Callable[[], None]
) -> T:
    """Await something as a task of its own; return its result, or raise what it raises.

    Args:
        nursery: a `detached_nursery`, which is cancelled only once nobody waits here.
        on_ignored: called where the task ignores its cancellation, and is left behind.
    """
    scope, ended = trio.CancelScope(), trio.Event()
    results: list[T] = []
    failures: list[BaseException] = []

    async def run() -> None:
        try:
            with scope:
                results.append(await awaitable)
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            failures.append(error)
        finally:
            ended.set()

    nursery.start_soon(run)
    try:
        await ended.wait()
    except trio.Cancelled:
        scope.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCELLED):
            await ended.wait()
        if not ended.is_set():
            on_ignored()
        raise
    for failure in failures:
        raise failure
    return results[0]


def _is_cancelled(error: BaseException) -> bool:
    """Whether an error only says that the whole program is being cancelled."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
