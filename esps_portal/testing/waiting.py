"""Waiting outside the server's loop: in a plain thread, under asyncio, anyio or trio."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable

import attrs
import trio

from esps_portal.given_numbers import is_seconds, shown_value
from esps_portal.journal.journal import MAX_KEPT
from esps_portal.journal.waiters import AnyWaiter, Waiters
from esps_portal.testing.portal_loop import FunctionRunner, PortalEndedError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.define
class Wait:
    """One wait: for calls, for exchanges, or for a fault to strike.

    Attributes:
        loop: the portal's.
        waiters: where the wait is removed in the end.
        begin: adds the wait, in the portal's loop; it gets what to call once it is over.
    """

    loop: FunctionRunner
    waiters: Waiters
    begin: Callable[[Callable[[], None]], AnyWaiter]

    def block(self, timeout: float) -> bool:
        """Wait for at most ``timeout`` seconds; return whether it has happened.

        Raises:
            PortalEndedError: the portal has ended, or the test that waits.
        """
        future, waiter = self._begin()
        try:
            # Not `Future.result`: its TimeoutError looks like one that a signal handler raises.
            concurrent.futures.wait([future], min(timeout, threading.TIMEOUT_MAX))
            is_met = future.done()
        finally:
            self._end(waiter)
        return _unless_abandoned(waiter, is_met=is_met)

    async def pause(self, timeout: float) -> bool:  # noqa: ASYNC109 - the blocking one has it
        """Wait as `block` does, in a coroutine."""
        future, waiter = self._begin()
        try:
            is_met = await _wait(future, timeout)
        finally:
            self._end(waiter)
        return _unless_abandoned(waiter, is_met=is_met)

    def _end(self, waiter: AnyWaiter) -> None:
        if not waiter.is_abandoned:
            self.loop.access(lambda: self.waiters.remove(waiter))

    def _begin(self) -> tuple[concurrent.futures.Future[None], AnyWaiter]:
        future: concurrent.futures.Future[None] = concurrent.futures.Future()

        def met() -> None:
            # Also called when the portal has died: the waiter then asks the loop, which raises.
            # Maybe called twice, where a predicate has failed.
            # An asyncio task that gave up has cancelled the future.
            if not future.done() and future.set_running_or_notify_cancel():
                future.set_result(None)

        return future, self.loop.access(lambda: self.begin(met))


def _unless_abandoned(waiter: AnyWaiter, *, is_met: bool) -> bool:
    if waiter.is_abandoned:
        raise PortalEndedError("the test that waits here has ended")
    return is_met


def check_service(service: object) -> None:
    """Raise `TypeError` for what is neither the name of a service nor ``None``, for any."""
    if service is not None and not isinstance(service, str):
        raise TypeError(f"service must be a str, or None for any, got {shown_value(service)}")


def check_loop(name: str, method: str = "wait_for") -> None:
    """Raise `RuntimeError` if an event loop runs in this thread: waiting would block it.

    Args:
        name: for the message, what has the methods that wait: ``portal``, ``proxy`` or ``fault``.
        method: the one that waits; that for coroutines has ``_async`` after its name.
    """
    library = running_library()
    if library:
        raise RuntimeError(
            f"{method} would block the {library} loop that runs here: use"
            f" `await {name}.{method}_async(...)`"
        )


def check_records(what: str, count: int, timeout: float) -> None:
    """Check what is waited for: no more calls, exchanges or connections than the journal keeps.

    Raises:
        TypeError, ValueError: one of them is not valid.
    """
    check(count, timeout)
    if count > MAX_KEPT:
        raise ValueError(
            f"count must be at most {MAX_KEPT}, the number of {what} kept, got {shown_value(count)}"
        )


def check(count: object, timeout: object) -> None:
    """Check what is waited for.

    Args:
        count: how often it must happen.
        timeout: seconds.

    Raises:
        TypeError, ValueError: one of them is not valid.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"count must be a positive integer, got {shown_value(count)}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, got {shown_value(timeout)}")
    if not is_seconds(timeout):
        raise ValueError(
            f"timeout must be a number of seconds, 0 or more, got {shown_value(timeout)}"
        )


def running_library() -> str:
    """Return whose event loop runs in this thread, ``trio`` or ``asyncio``; empty without one."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        # If asyncio was never imported none of its loops runs.
        asyncio = sys.modules.get("asyncio")
        return "asyncio" if asyncio is not None and asyncio._get_running_loop() else ""  # noqa: SLF001 - documented, for such libraries
    return "trio"


async def _wait(future: concurrent.futures.Future[None], timeout: float) -> bool:  # noqa: ASYNC109
    """Wait for a future of another thread; return whether it was done in ``timeout`` seconds."""
    if running_library() == "trio":
        return await _wait_in_trio(future, timeout)
    import asyncio  # noqa: PLC0415 - its loop runs, so it is imported already

    try:
        await asyncio.wait_for(asyncio.wrap_future(future), timeout)
    except TimeoutError:
        return False
    return True


async def _wait_in_trio(future: concurrent.futures.Future[None], seconds: float) -> bool:
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def notify(_: object) -> None:
        if token is not None:
            token.run_sync_soon(done.set)

    future.add_done_callback(notify)
    with trio.move_on_after(seconds):
        await done.wait()
    return done.is_set()
