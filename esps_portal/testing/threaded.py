"""A portal in a thread of its own, with its own ``trio.run``: for tests of every style."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Self, TypeVar, Unpack

import trio

from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.server.quiet import become_quiet
from esps_portal.server.serving import Listening, ServerConfig, serve
from esps_portal.testing.findings import Review
from esps_portal.testing.inside import reached_at
from esps_portal.testing.options import PortalOptions, scripted_portal, server_config
from esps_portal.testing.running import PortalEndedError, RunningPortal

_Result = TypeVar("_Result")

# Everything is cancelled and cleanup is bounded: only a machine that is stuck needs longer.
_STOP_WITHIN = 10.0


class PortalThread:
    """The thread, and the loop in it, as `RunningPortal` reaches it."""

    def __init__(self, portal: ScriptedPortal, config: ServerConfig) -> None:
        self._portal = portal
        self._config = config
        self._ready: Future[Listening] = Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._serving: frozenset[trio.lowlevel.Task] = frozenset()
        self._death: list[BaseException] = []
        #: Whether it may be used: a portal that serves many tests is lent to each in turn.
        self.is_lent = True
        # Threads are not forked: in a child nobody would ever answer.
        self._process = os.getpid()
        # A daemon: a test process that is interrupted must not wait for it.
        self._thread = threading.Thread(target=self._run, name="esps-portal", daemon=True)

    def start(self) -> Listening:
        """Start it. Returns once it listens.

        Raises:
            CannotBindError: an address cannot be bound.
        """
        self._thread.start()
        return self._ready.result()

    def stop(self) -> None:
        """End it. Returns once nothing of it is left."""
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(_STOP_WITHIN)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the loop, whichever thread asks."""
        if threading.current_thread() is self._thread:
            return function()  # a service, or a predicate of a stub, that uses its own portal
        settled: Future[_Result] = Future()

        def settle() -> None:
            try:
                settled.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the caller is told
                settled.set_exception(error)

        return self._settled(settle, settled)

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Run a function once what clients have sent is answered; see `become_quiet`."""
        if threading.current_thread() is self._thread:
            return function()  # what runs in the loop cannot wait for it

        async def run() -> _Result:
            await become_quiet()
            return function()

        return self._wait(run)

    def reset(self) -> None:
        """Begin anew; see `Switch.reset`."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a portal is reset by the test, not by what it calls")
        self._wait(self._reset)

    def review_and_reset(self, review: Callable[[], _Result]) -> _Result:
        """Do `run_when_quiet` and `reset` in one round trip between the threads."""

        async def review_and_reset() -> _Result:
            await become_quiet()
            result = review()
            await self._reset()
            return result

        return self._wait(review_and_reset)

    async def _reset(self) -> None:
        # What is aborted still writes into the journal: it is emptied last.
        await self._listening.switch.reset()
        if self._is_dying:
            await trio.sleep_forever()  # until the loop ends, which the caller is then told
        self._portal.reset()
        self._portal.script.journal.start = trio.current_time()

    @property
    def _is_dying(self) -> bool:
        """Whether something that serves has failed, and takes the rest along, now or soon."""
        return any(
            not task.child_nurseries or task.child_nurseries[0].cancel_scope.cancel_called
            for task in self._serving
        )

    def down(self) -> None:
        """Take the ports out of service."""
        self.run(self._listening.switch.down)

    def up(self) -> None:
        """Take them back."""
        self.run(self._listening.switch.up)

    @property
    def _listening(self) -> Listening:
        return self._ready.result(0)

    def _wait(self, function: Callable[[], Awaitable[_Result]]) -> _Result:
        settled: Future[_Result] = Future()

        async def settle() -> None:
            try:
                settled.set_result(await function())
            except trio.Cancelled as error:
                settled.set_exception(error)
                raise
            except BaseException as error:  # noqa: BLE001 - the caller is told
                settled.set_exception(error)

        def begin() -> None:
            try:
                trio.lowlevel.spawn_system_task(settle)
            except RuntimeError as error:  # the loop takes no more of them: it has ended
                settled.set_exception(trio.RunFinishedError(str(error)))

        return self._settled(begin, settled)

    def _settled(self, begin: Callable[[], None], settled: Future[_Result]) -> _Result:
        """Have the loop begin something, and wait for what comes of it.

        `trio.from_thread` would refuse: the test that asks may be a trio task itself, whose own
        loop this blocks for some microseconds.
        """
        if os.getpid() != self._process:
            raise PortalEndedError("the portal runs in the process that this one was forked from")
        with self._alive():
            if self._token is None:
                raise trio.RunFinishedError
            if not self.is_lent and self.is_alive:
                raise PortalEndedError("the portal was used between two tests: neither has it")
            self._token.run_sync_soon(begin)
            return settled.result()

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Raise one clear error for a portal that cannot be reached any more."""
        try:
            yield
        except (trio.RunFinishedError, trio.Cancelled) as error:
            self._thread.join(_STOP_WITHIN)
            for death in self._death:
                raise PortalEndedError(f"the portal has died: {death!r}") from death
            raise PortalEndedError("the portal has ended") from error

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - whatever it was, the test is told
            self._death.append(_single(error))
            if not self._ready.done():
                self._ready.set_exception(_single(error))
        finally:
            self._portal.script.end()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                listening: Listening = await nursery.start(serve, self._config)
                self._portal.script.journal.start = trio.current_time()
                self._serving = nursery.child_tasks
                self._ready.set_result(listening)


class ThreadedPortal(RunningPortal):
    """A portal in a thread of its own."""

    def __init__(self, portal: ScriptedPortal, thread: PortalThread, listening: Listening) -> None:
        super().__init__(portal, thread, *reached_at(listening))
        self._thread = thread

    @classmethod
    def start(cls, **options: Unpack[PortalOptions]) -> Self:
        """Start one; see `serve_in_thread`, which ends it too."""
        portal = scripted_portal(options)
        thread = PortalThread(portal, server_config(portal, options))
        return cls(portal, thread, thread.start())

    @property
    def is_running(self) -> bool:
        """Whether it has neither been stopped nor died."""
        return self._thread.is_alive

    def lend(self) -> None:
        """Let a test have it."""
        self._thread.is_lent = True

    def give_back(self) -> Review:
        """Do `review` and `reset` in one step. Until it is lent again nobody can use it.

        Raises:
            PortalEndedError: it has ended, so that neither can be.
        """
        review = self._thread.review_and_reset(self._reviewed)
        self._thread.is_lent = False
        self._begin_anew()
        return review

    def stop(self) -> None:
        """End it at once. Returns once nothing of it is left."""
        self._thread.stop()


def _single(error: BaseException) -> BaseException:
    """Return what a group of one holds: a nursery wraps whatever leaves it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextmanager
def serve_in_thread(**options: Unpack[PortalOptions]) -> Iterator[ThreadedPortal]:
    """Serve a portal for the length of a ``with`` block, whatever runs in this thread.

    Leaving the block ends it at once: running calls are cancelled, connections closed.

    Args:
        options: see `PortalOptions`.

    Raises:
        CannotBindError: an address cannot be bound.
    """
    portal = ThreadedPortal.start(**options)
    try:
        yield portal
    finally:
        portal.stop()
