"""Waiting for calls from outside the portal's loop: in a plain thread, under asyncio or trio."""

from __future__ import annotations

import concurrent.futures
import math
import sys

import attrs
import trio

from esps_portal.portal.journal import KEPT, Journal
from esps_portal.portal.watching import Watch


@attrs.define
class Wait:
    """One wait for calls; the future is done when they have come."""

    future: concurrent.futures.Future[None]
    _journal: Journal
    _watch: Watch

    def give_up(self) -> None:
        """End the wait. To be called in the portal's loop."""
        self._journal.watches.remove(self._watch)


def check_service(service: object) -> None:
    """Raise `TypeError` where that is not the name of a service, and not ``None``, for any."""
    if service is not None and not isinstance(service, str):
        raise TypeError(f"service is a str, or None for any, not {service!r}")


def check(service: object, count: object, timeout: object) -> None:
    """Check the arguments of a wait.

    Raises:
        TypeError, ValueError: one of them makes no sense.
    """
    check_service(service)
    if type(count) is not int or count < 1:
        raise ValueError(f"count is a number from 1 on, not {count!r}")
    if count > KEPT:
        raise ValueError(f"count is at most {KEPT}: so many calls are kept, not {count}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, not {timeout!r}")
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout is a number of seconds, 0 or more, not {timeout!r}")


def begin(journal: Journal, service: str | None, count: int) -> Wait:
    """Begin to wait for ``count`` calls of a service. To be called in the portal's loop."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def met() -> None:
        # Also if the portal has died: the waiter is woken, asks it, and is told. And an asyncio
        # waiter that gave up has cancelled it.
        if future.set_running_or_notify_cancel():
            future.set_result(None)

    return Wait(future, journal, journal.watch(service, count, met))


def running_library() -> str:
    """Return whose event loop runs in this thread: ``trio``, ``asyncio``, or nobody's: empty."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        # If asyncio was never imported none of its loops runs.
        asyncio = sys.modules.get("asyncio")
        return "asyncio" if asyncio is not None and asyncio._get_running_loop() else ""  # noqa: SLF001 - documented, for such as us
    return "trio"


async def wait(future: concurrent.futures.Future[None], timeout: float) -> bool:  # noqa: ASYNC109
    """Wait for a future of another thread; return whether it was done in ``timeout`` seconds."""
    if running_library() == "trio":
        return await _wait_in_trio(future, timeout)
    import asyncio  # noqa: PLC0415 - who is here has imported it; a suite on trio need not

    try:
        await asyncio.wait_for(asyncio.wrap_future(future), timeout)
    except TimeoutError:
        return False
    return True


async def _wait_in_trio(future: concurrent.futures.Future[None], seconds: float) -> bool:
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def tell(_: object) -> None:
        if token is not None:
            token.run_sync_soon(done.set)

    future.add_done_callback(tell)
    with trio.move_on_after(seconds):
        await done.wait()
    return done.is_set()
