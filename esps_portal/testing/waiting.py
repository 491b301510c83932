"""Waiting from outside the portal's loop: in a plain thread, under asyncio, anyio or trio."""

from __future__ import annotations

import concurrent.futures
import math
import sys
from collections.abc import Callable
from typing import Protocol, TypeVar

import attrs
import trio

from esps_portal.journal.journal import KEPT
from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


class Runs(Protocol):
    """What runs a function in the portal's loop."""

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run it, and return its result."""


@attrs.define
class Wait:
    """One wait, for calls or for a fault to strike.

    Attributes:
        waiters: those of what is waited for.
        begin: begins to wait, in the portal's loop; it is given what to call in the end.
    """

    loop: Runs
    waiters: Waiters
    begin: Callable[[Callable[[], None]], Waiter]

    def block(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most; return whether it has happened."""
        future, watch = self._begun()
        try:
            # Not `Future.result`: its TimeoutError looks like one that a signal handler raises.
            concurrent.futures.wait([future], timeout)
            return future.done()
        finally:
            self.loop.run(lambda: self.waiters.remove(watch))

    async def pause(self, timeout: float) -> bool:  # noqa: ASYNC109 - the blocking one has it
        """Do the same in a coroutine."""
        future, watch = self._begun()
        try:
            return await _wait(future, timeout)
        finally:
            self.loop.run(lambda: self.waiters.remove(watch))

    def _begun(self) -> tuple[concurrent.futures.Future[None], Waiter]:
        future: concurrent.futures.Future[None] = concurrent.futures.Future()

        def met() -> None:
            # Also if the portal has died: the waiter is woken, asks it, and gets an error. And an
            # asyncio waiter that gave up has cancelled it.
            if future.set_running_or_notify_cancel():
                future.set_result(None)

        return future, self.loop.run(lambda: self.begin(met))


def check_service(service: object) -> None:
    """Raise `TypeError` where that is not the name of a service, and not ``None``, for any."""
    if service is not None and not isinstance(service, str):
        raise TypeError(f"service must be a str, or None for any, got {service!r}")


def check_loop(name: str) -> None:
    """Raise `RuntimeError` where an event loop runs in this thread, which waiting would block.

    Args:
        name: what has the method that waits, ``portal`` or ``fault``.
    """
    library = running_library()
    if library:
        raise RuntimeError(
            f"wait_for would block the {library} loop that runs here: use"
            f" `await {name}.wait_for_async(...)`"
        )


def check_kept(count: int) -> None:
    """Raise `ValueError` where so many calls are not kept."""
    if count > KEPT:
        raise ValueError(f"count must be at most {KEPT}, the number of calls kept, got {count}")


def check(count: object, timeout: object) -> None:
    """Check how often, and how long, somebody waits.

    Raises:
        TypeError, ValueError: one of them makes no sense.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"count must be a positive integer, got {count!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
    if not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds, 0 or more, got {timeout!r}")


def running_library() -> str:
    """Return whose event loop runs in this thread: ``trio``, ``asyncio``, or nobody's: empty."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        # If asyncio was never imported none of its loops runs.
        asyncio = sys.modules.get("asyncio")
        return "asyncio" if asyncio is not None and asyncio._get_running_loop() else ""  # noqa: SLF001 - documented, for such as us
    return "trio"


async def _wait(future: concurrent.futures.Future[None], timeout: float) -> bool:  # noqa: ASYNC109
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
