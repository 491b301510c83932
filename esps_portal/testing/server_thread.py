"""A server in a thread of its own, for its controller and for tests that borrow it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import trio

from esps_portal.net.listeners import Listeners
from esps_portal.net.port_outage import OutageKind
from esps_portal.net.quiet import become_quiet
from esps_portal.testing.loop_pause import LoopNeededError
from esps_portal.testing.loop_thread import LoopThread
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.served import Served, ServerAddress
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


class ServerThread:
    """The loop of a portal or a proxy (`PortalLoop`), in a `LoopThread`.

    A portal that serves many tests is lent to each in turn: `acquire` and `release`. Between two
    tests nobody can use it, so that a test's helper that runs on is found.

    Args:
        served: what the thread serves.
        keep_idle: let idle connections survive a reset.

    Attributes:
        connections_reset: how many connections all resets have ended.
    """

    def __init__(self, served: Served, *, keep_idle: bool = False) -> None:
        self._served = served
        self._keep_idle = keep_idle
        self._thread = LoopThread(served.name, self._serve, self._end, self._give_up)
        self._ready: Future[Listeners] = Future()
        self._tasks: frozenset[trio.lowlevel.Task] = frozenset()
        self._listeners: Listeners
        # Also for functions that run while the loop sleeps.
        self._now: Callable[[], float]
        self._is_lent = True
        self.connections_reset: int = 0

    def start(self) -> ServerAddress:
        """Start the server. Returns where it listens, once it does.

        Raises:
            CannotBindError: an address cannot be bound.
            Exception: another one of `Served.start_errors`.
        """
        self._thread.start()
        try:
            return self._served.address(self._ready.result())
        except self._served.start_errors as error:
            # A new exception, without frames of the thread, which the caller need not see.
            raise copy.copy(error) from error

    def stop(self) -> None:
        """End the server at once. Returns once nothing of it is left."""
        self._thread.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was neither stopped nor has died, and is not stuck."""
        return self._thread.is_running

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._listeners = await nursery.start(self._served.serve)
            self._now = trio.lowlevel.current_clock().current_time
            self._served.state.start_clock(self._now())
            self._tasks = nursery.child_tasks
            self._ready.set_result(self._listeners)

    def _end(self, death: BaseException | None) -> None:
        if death is not None and not self._ready.done():
            self._ready.set_exception(death)
        self._served.end()

    def _give_up(self) -> None:
        """Free the ports of a loop that is stuck, for another portal."""
        self._listeners.ports.sever()
        self._served.end()

    # -- running functions in the loop

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the loop, whichever thread asks.

        Raises:
            PortalEndedError: the portal has ended, is stuck, or no test has it now.
        """
        self._check_lent()
        return self._thread.run(function)

    def access(self, function: Callable[[], _Result]) -> _Result:
        """Run a function that uses nothing of trio: in this thread, while the loop sleeps.

        What has come by now is read first, so that a test sees what it has just done.

        Raises:
            PortalEndedError: as `run` does.
        """
        self._check_lent()
        with contextlib.suppress(LoopNeededError):
            return self._thread.run_asleep(function, self._has_input)
        return self._thread.run(function)

    def run_anytime(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the loop, whether or not a test has the portal."""
        return self._thread.run(function)

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Do what `access` does, once what clients have sent is answered; see `become_quiet`."""
        if self._thread.is_current:
            return function()  # what runs in the loop cannot wait for it
        self._check_lent()
        with contextlib.suppress(LoopNeededError):
            return self._run_if_quiet(function)

        async def run() -> _Result:
            await self._become_quiet()
            return function()

        return self._thread.run_async(run)

    def _run_if_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Run a function while the loop sleeps, if all that has come is answered.

        Raises:
            LoopNeededError: that is not so, or cannot be seen from outside: something goes on.
        """

        def run() -> _Result:
            if not self._listeners.ports.is_idle or self._served.state.is_busy:
                raise LoopNeededError
            return function()

        return self._thread.run_asleep(run, self._has_input)

    def _has_input(self) -> bool:
        return self._listeners.ports.has_input

    async def _become_quiet(self) -> None:
        await become_quiet(lambda: self._served.state.is_busy)

    # -- outages and resets

    def down(self, how: OutageKind) -> None:
        """Take the ports out of service, in this way; return once what was open is reset."""
        self._check_lent()
        ports = self._listeners.ports
        if self._thread.is_current:
            ports.down(how)  # what runs in the loop cannot wait for it
            return

        async def down() -> None:
            ports.down(how)
            await ports.until_down()

        self._thread.run_async(down)

    def up(self) -> None:
        """Take the ports back into service."""
        self.run(self._listeners.ports.up)

    def reset(self) -> None:
        """Forget everything, and end old connections; see `PortControl.reset`."""
        if self._thread.is_current:
            name = self._served.name
            raise RuntimeError(f"only the test can reset a {name}, not what the {name} calls")
        self._check_lent()
        with contextlib.suppress(LoopNeededError):
            self._run_if_quiet(self._reset_unused)
            return

        async def reset() -> None:
            if self._keep_idle:
                await self._become_quiet()  # only then is it known which connections are idle
            await self._reset(keep_idle=self._keep_idle)

        self._thread.run_async(reset)

    async def _reset(self, *, keep_idle: bool) -> None:
        # Aborted calls still write into the journal, so it is emptied last.
        ports = self._listeners.ports
        self.connections_reset += await ports.reset(keep_idle=keep_idle)
        if self._is_dying:
            await trio.sleep_forever()  # until the loop has ended, which the caller then learns
        self._forget()
        if keep_idle:
            ports.renumber()

    def _reset_unused(self) -> None:
        """Reset where nobody is connected, without a task, while the loop sleeps.

        Raises:
            LoopNeededError: tasks would have to be ended, or notified.
        """
        if self._served.state.faults.in_force or not self._listeners.ports.forget_if_unused():
            raise LoopNeededError
        self._forget()

    def _forget(self) -> None:
        state = self._served.state
        state.clear()
        state.start_clock(self._now())

    @property
    def _is_dying(self) -> bool:
        """Whether something that serves has failed, so that the loop is about to end."""
        return any(
            not task.child_nurseries or task.child_nurseries[0].cancel_scope.cancel_called
            for task in self._tasks
        )

    # -- lending

    def acquire(self, function: Callable[[], _Result]) -> _Result:
        """Let a test have the portal, as if nothing had happened since the last `release`.

        Args:
            function: run in the loop before what has happened is forgotten.

        Returns:
            what ``function`` returns.
        """

        def acquire_unused() -> _Result:
            if self._keep_idle or self._served.state.has_news:
                raise LoopNeededError
            return function()

        async def acquire() -> _Result:
            if self._keep_idle or self._served.state.has_news:
                await self._become_quiet()
            result = function()
            if self._served.state.has_news:
                # A client that has connected meanwhile, and waits, belongs to this test.
                await self._reset(keep_idle=True)
            return result

        try:
            result = self._thread.run_asleep(acquire_unused, self._has_input)
        except LoopNeededError:
            result = self._thread.run_async(acquire)
        self._is_lent = True
        return result

    def release(self, review: Callable[[], _Result]) -> _Result:
        """Do `run_when_quiet` and `reset` at once; until `acquire` nobody can use the portal."""
        self._check_lent()

        def release_unused() -> _Result:
            result = review()
            self._reset_unused()
            self._abandon_waits()
            return result

        async def release() -> _Result:
            await self._become_quiet()
            result = review()
            self._abandon_waits()
            await self._reset(keep_idle=self._keep_idle)
            return result

        try:
            result = self._run_if_quiet(release_unused)
        except LoopNeededError:
            result = self._thread.run_async(release)
        self._is_lent = False
        return result

    def _abandon_waits(self) -> None:
        """End the waits that a test has left in threads and tasks: what comes is not for them."""
        self._served.state.journal.abandon_waits()
        self._served.state.faults.waiters.abandon()

    def _check_lent(self) -> None:
        if not self._is_lent and self.is_running and not self._thread.is_current:
            name = self._served.name
            raise PortalEndedError(f"the {name} was used between two tests: no test has it now")
