"""A thread with a trio loop in it, which runs functions for other threads.

A caller that waits for a function also watches the loop. If that has ended, has died or is stuck,
the caller gets a `PortalEndedError` that says so; nobody waits indefinitely.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

import attrs
import trio

from esps_portal.net.fork import loop_closed_in_child
from esps_portal.testing.loop_pause import LoopNeededError, LoopPause
from esps_portal.testing.own_thread import OwnThread, check_real
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.steady_clock import SteadyClock
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")

# Seconds (own choice). Everything is cancelled and cleanup is limited: only a machine that is
# stuck needs longer.
_STOP_TIMEOUT = 10.0
# Seconds (own choice). Nothing in the loop may take long, so one that does not respond within this
# time, twice, is stuck.
_RESPONSE_TIMEOUT = 5.0

_PACKAGE = str(Path(__file__).parents[1])


@attrs.frozen
class _Raised:
    """The exception that a function raised instead of returning a result."""

    error: BaseException


# What a thread waits for: one result. (A future of the standard library takes twice as long.)
_Results: TypeAlias = "queue.SimpleQueue[_Result | _Raised]"


class LoopThread:
    """The thread.

    Args:
        name: of what runs in it, for errors.
        main: what the loop runs; `stop` cancels it.
        on_end: called in the thread when the loop has ended, with the error it died of, if it did.
        on_stuck: called when the loop is found to be stuck, by the thread that found it so.
    """

    def __init__(
        self,
        name: str,
        main: Callable[[], Awaitable[None]],
        on_end: Callable[[BaseException | None], None],
        on_stuck: Callable[[], None],
    ) -> None:
        self._name = name
        self._main = main
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._pause = LoopPause()
        self._death: BaseException | None = None
        # The error text once the loop was found to be stuck.
        self._stuck = ""
        # Threads are not forked: in a child process nobody would ever respond.
        self._process = os.getpid()
        # A daemon: a test process that is interrupted must not wait for it.
        self._thread = OwnThread(target=self._run, name="esps-portal", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: gevent has replaced what it needs.
        """
        check_real()
        self._thread.start()

    def stop(self) -> None:
        """Cancel what the loop runs. Returns once the thread has ended, unless it is stuck.

        In a forked child there is nothing to stop.
        """
        if os.getpid() != self._process:
            return
        self._cancel()
        if not self._stuck:
            self._thread.join(_STOP_TIMEOUT)

    @property
    def is_running(self) -> bool:
        """Whether the loop runs, and was not found to be stuck."""
        return self._thread.is_alive() and not self._stuck

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the loop, or while it sleeps: it cannot wait for it."""
        return threading.get_ident() in (self._thread.ident, self._pause.holder)

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the loop, whichever thread asks; return its result.

        Raises:
            PortalEndedError: the loop has ended, or is stuck.
        """
        if self.is_current:
            return function()
        results: _Results[_Result] = queue.SimpleQueue()

        def run() -> None:
            try:
                results.put(function())
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                results.put(_Raised(error))

        return self._wait_for(results, run)

    def run_asleep(self, function: Callable[[], _Result], has_input: Callable[[], bool]) -> _Result:
        """Run a function that uses nothing of trio, while the loop sleeps: see `LoopPause`.

        Args:
            has_input: see `LoopPause.run`.

        Raises:
            LoopNeededError: the loop does not sleep, so that the function was not run.
        """
        if self.is_current:
            return function()
        if os.getpid() != self._process:
            raise LoopNeededError
        return self._pause.run(function, has_input)

    def run_async(self, function: Callable[[], Awaitable[_Result]]) -> _Result:
        """Run an async function in the loop; return its result. Not for the thread itself.

        Raises:
            PortalEndedError: the loop has ended, or is stuck.
        """
        results: _Results[_Result] = queue.SimpleQueue()

        async def run() -> None:
            try:
                results.put(await function())
            except trio.Cancelled as error:
                results.put(_Raised(error))
                raise
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                results.put(_Raised(error))

        def spawn() -> None:
            try:
                trio.lowlevel.spawn_system_task(run)
            except RuntimeError as error:  # the loop has ended: it accepts no more tasks
                results.put(_Raised(trio.RunFinishedError(str(error))))

        return self._wait_for(results, spawn)

    def _wait_for(self, results: _Results[_Result], begin: Callable[[], None]) -> _Result:
        """Let the loop call ``begin``, and wait for the result.

        `trio.from_thread` would refuse: the test that asks may be a trio task itself, whose own
        loop this blocks for some microseconds.
        """
        if os.getpid() != self._process:
            raise PortalEndedError(
                f"the {self._name} runs in the process that this one was forked from"
            )
        if self._stuck:
            raise PortalEndedError(self._stuck)
        if self._token is None:
            raise self._ended() from self._death
        try:
            self._token.run_sync_soon(begin)
            result = self._first(results, self._token)
        except trio.RunFinishedError as error:
            raise self._ended() from self._death or error
        if not isinstance(result, _Raised):
            return result
        if isinstance(result.error, trio.RunFinishedError | trio.Cancelled):
            raise self._ended() from self._death or result.error
        raise result.error

    def _first(
        self, results: _Results[_Result], token: trio.lowlevel.TrioToken
    ) -> _Result | _Raised:
        while True:
            with contextlib.suppress(queue.Empty):
                return results.get(timeout=_RESPONSE_TIMEOUT)
            self._check_response(token)

    def _ended(self) -> PortalEndedError:
        self._thread.join(_STOP_TIMEOUT)
        died = "" if self._death is None else f"the {self._name} has died: {self._death!r}"
        return PortalEndedError(died or f"the {self._name} has ended")

    def _check_response(self, token: trio.lowlevel.TrioToken) -> None:
        """Check that the loop still runs its tasks; otherwise give it up.

        Raises:
            PortalEndedError: that is so.
        """
        responses: queue.SimpleQueue[None] = queue.SimpleQueue()
        token.run_sync_soon(responses.put, None)
        with contextlib.suppress(queue.Empty):
            responses.get(timeout=_RESPONSE_TIMEOUT)
            return
        if not self._thread.is_alive():
            return
        self._stuck = (
            f"the {self._name} is stuck: it has not answered for {_RESPONSE_TIMEOUT:g} s,"
            f" and is in\n{_stack_of(self._thread)}"
        )
        self._cancel()  # it ends if it ever continues
        self._on_stuck()
        raise PortalEndedError(self._stuck)

    def _cancel(self) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)

    def _run(self) -> None:
        try:
            trio.run(self._run_main, clock=SteadyClock(), instruments=[self._pause])
        except BaseException as error:  # noqa: BLE001 - whatever it was, the test gets it
            self._death = _unwrapped(error)
        finally:
            self._on_end(self._death)

    async def _run_main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with loop_closed_in_child(), self._scope:
            await self._main()


def _unwrapped(error: BaseException) -> BaseException:
    """Return the only exception of a group: a nursery wraps whatever leaves it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _stack_of(thread: threading.Thread) -> str:
    """Return where a thread is now, as a traceback shows it: from our last frame inward."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for debugging
    frames = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
    ours = [number for number, entry in enumerate(frames) if entry.filename.startswith(_PACKAGE)]
    return "".join(traceback.format_list(frames[ours[-1] :] if ours else frames)).rstrip()
