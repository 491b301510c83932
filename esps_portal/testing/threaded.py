"""A portal in a thread of its own, with its own ``trio.run``: for tests of every style."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self, TypeVar, Unpack

import trio

from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import Script, ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.net.quiet import become_quiet
from esps_portal.server.serving import Listening, ServerConfig, serve
from esps_portal.testing.controller import PortalController, PortalEndedError
from esps_portal.testing.options import PortalOptions, scripted_portal, server_config
from esps_portal.testing.review import Review
from esps_portal.testing.stacks import stack_of
from esps_portal.testing.trio_portal import reached_at
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")

# Everything is cancelled and cleanup is bounded: only a machine that is stuck needs longer.
_STOP_WITHIN = 10.0
# Nothing in the loop may take long, so one that does not answer within this time, twice, is stuck.
_ANSWERS_WITHIN = 5.0


class PortalThread:
    """The thread, and the loop in it, as `PortalController` reaches it.

    Args:
        keep_idle: let idle connections survive a reset.
    """

    def __init__(
        self, portal: ScriptedPortal, config: ServerConfig, *, keep_idle: bool = False
    ) -> None:
        self._portal = portal
        self._config = config
        self._keep_idle = keep_idle
        self._ready: Future[Listening] = Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._serving: frozenset[trio.lowlevel.Task] = frozenset()
        self._death: list[BaseException] = []
        # What it is stuck in, once it was found to be; see `_abandon`.
        self._stuck_in = ""
        #: Whether it may be used: a portal that serves many tests is lent to each in turn.
        self.is_lent: bool = True
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
        if not self._stuck_in:
            self._thread.join(_STOP_WITHIN)

    @property
    def is_alive(self) -> bool:
        """Whether it runs, and answers."""
        return self._thread.is_alive() and not self._stuck_in

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the loop, whichever thread asks.

        Raises:
            PortalEndedError: it cannot be: the portal has ended, or nobody may use it now.
        """
        self._check_lent()
        return self.run_any_time(function)

    def run_any_time(self, function: Callable[[], _Result]) -> _Result:
        """Do the same, though no test has the portal."""
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
        self._check_lent()

        async def run() -> _Result:
            await become_quiet()
            return function()

        return self._wait(run)

    def reset(self) -> None:
        """Begin anew; see `PortControl.reset`."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a portal is reset by the test, not by what it calls")
        self._check_lent()

        async def reset() -> None:
            if self._keep_idle:
                await become_quiet()  # only then is it known who is idle
            await self._reset(keep_idle=self._keep_idle)

        self._wait(reset)

    def review_and_reset(self, review: Callable[[], _Result]) -> _Result:
        """Do `run_when_quiet` and `reset` in one round trip between the threads."""
        self._check_lent()

        async def review_and_reset() -> _Result:
            await become_quiet()
            result = review()
            await self._reset(keep_idle=self._keep_idle)
            return result

        return self._wait(review_and_reset)

    def acquire(self, function: Callable[[], _Result]) -> _Result:
        """Let a test have it: run a function in the loop, and reset what has happened since."""

        async def begin() -> _Result:
            journal = self._portal.script.journal
            if self._keep_idle or journal.has_news:
                await become_quiet()
            result = function()
            if journal.has_news:
                # Who has connected meanwhile, and waits, has come for this test.
                await self._reset(keep_idle=True)
            return result

        result = self._wait(begin)
        self.is_lent = True
        return result

    async def _reset(self, *, keep_idle: bool) -> None:
        # What is aborted still writes into the journal: it is emptied last.
        ports = self._listening.ports
        await ports.reset(keep_idle=keep_idle)
        if self._is_dying:
            await trio.sleep_forever()  # until the loop ends, which the caller is then told
        self._portal.reset()
        self._portal.script.journal.start = trio.current_time()
        if keep_idle:
            ports.renumber()

    @property
    def _is_dying(self) -> bool:
        """Whether something that serves has failed, and takes the rest along, now or soon."""
        return any(
            not task.child_nurseries or task.child_nurseries[0].cancel_scope.cancel_called
            for task in self._serving
        )

    def down(self) -> None:
        """Take the ports out of service."""
        self.run(self._listening.ports.down)

    def up(self) -> None:
        """Take them back."""
        self.run(self._listening.ports.up)

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
        if self._stuck_in:
            raise PortalEndedError(self._stuck_in)
        with self._alive():
            if self._token is None:
                raise trio.RunFinishedError
            self._token.run_sync_soon(begin)
            while not _is_done(settled, _ANSWERS_WITHIN):
                self._check_answers(self._token)
            error = settled.exception()
            if error is not None:
                raise error
            return settled.result()

    def _check_lent(self) -> None:
        is_ours = threading.current_thread() is self._thread
        if not self.is_lent and self.is_alive and not is_ours:
            raise PortalEndedError("the portal was used between two tests: neither has it")

    def _check_answers(self, token: trio.lowlevel.TrioToken) -> None:
        """Find out whether the loop still takes turns."""
        answered: Future[None] = Future()
        token.run_sync_soon(answered.set_result, None)
        if not _is_done(answered, _ANSWERS_WITHIN) and self._thread.is_alive():
            self._abandon(token)
            raise PortalEndedError(self._stuck_in)

    def _abandon(self, token: trio.lowlevel.TrioToken) -> None:
        """Give up a loop that is stuck, and free its ports for another one.

        It may come to itself, and then ends.
        """
        self._stuck_in = (
            f"the portal is stuck: it has not answered for {_ANSWERS_WITHIN:g} s, and is in\n"
            f"{stack_of(self._thread)}"
        )
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(self._scope.cancel)
        self._listening.ports.sever()
        self._portal.script.end()

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


class ThreadedPortal(PortalController):
    """A portal in a thread of its own."""

    def __init__(self, portal: ScriptedPortal, thread: PortalThread, listening: Listening) -> None:
        super().__init__(portal, thread, *reached_at(listening))
        self._thread = thread

    @classmethod
    def start(
        cls,
        permanent: Sequence[Stub] = (),
        *,
        keep_idle: bool = False,
        **options: Unpack[PortalOptions],
    ) -> Self:
        """Start one; see `serve_in_thread`, which ends it too.

        Args:
            permanent: stubs that survive resets.
            keep_idle: let idle connections survive them too.
        """
        portal = scripted_portal(options)
        for stub in permanent:
            portal.script.stubs.place_permanent(stub)
        thread = PortalThread(portal, server_config(portal, options), keep_idle=keep_idle)
        return cls(portal, thread, thread.start())

    @property
    def is_running(self) -> bool:
        """Whether it has neither been stopped nor died, nor is stuck."""
        return self._thread.is_alive

    def __dir__(self) -> list[str]:
        # To be lent and given back is the plugin's affair.
        ours = {*dir(PortalController), *vars(self)}
        return [name for name in super().__dir__() if name in ours]

    def place_permanent(self, service: str, *args: Matcher) -> Stub:
        """Place a stub that survives resets, even if no test has the portal; see `stub`."""
        stub = Stub(service, args, max_line=self._portal.limits.max_line)
        return self._thread.run_any_time(lambda: self._script.stubs.place_permanent(stub))

    def acquire(self, leftovers: Callable[[Script], _Result]) -> _Result:
        """Let a test have it, as if nothing had happened since it was given back.

        Args:
            leftovers: is shown what has; `acquire` returns what it returns.

        Raises:
            PortalEndedError: it has ended.
        """
        return self._thread.acquire(lambda: leftovers(self._script))

    def release(self) -> Review:
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


def _is_done(future: Future[Any], seconds: float) -> bool:
    """Wait for a future; return whether it is done."""
    # Not `Future.result`: its TimeoutError looks like one that a signal handler raises.
    return future.done() or bool(concurrent.futures.wait([future], seconds).done)


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
