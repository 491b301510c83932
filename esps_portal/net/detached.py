"""Tasks that nobody has to wait for: those of a test's own functions, which may ignore their end.

Trio cannot end a task against its will, and a nursery waits for all of its own. So these run in one
beside the program's: it is cancelled like any other, but left behind when it does not end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context

import trio

#: Seconds that tasks get to end once they are cancelled: own choice. They have little to clean up.
CANCELLED = 0.5


@asynccontextmanager
async def detached_nursery() -> AsyncIterator[trio.Nursery]:
    """Have a nursery until the block ends; then cancel it, and wait for it within a bound.

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


def _is_cancelled(error: BaseException) -> bool:
    """Whether it says nothing but that the whole program ends."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
