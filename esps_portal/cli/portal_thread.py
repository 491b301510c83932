"""A connection to a portal in a thread of its own, while the main thread waits for typed lines."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import trio

from esps_portal.cli.output import CannotWriteError
from esps_portal.cli.session import Session, raise_timed_out
from esps_portal.protocol.errors import ClosedError, EspsError

if TYPE_CHECKING:
    import ssl

    from esps_portal.cli.prompt_wait import PromptWait
    from esps_portal.client.portal_client import PortalClient

_Result = TypeVar("_Result")

# Seconds that the end of a cancelled request, or of the thread, may take (own choice): sending a
# CANCEL or a QUIT is limited to one second each.
_END_TIMEOUT = 3.0
# Seconds after which a signal is sent again that may have come too early (own choice: a person
# hardly notices).
_WAKE_INTERVAL = 0.05


class PortalThread:
    """The thread.

    Args:
        session: how to connect.
        context: what is trusted, if the URL asks for TLS.
        on_notice: called in the thread with the word and the arguments of each notice.
        waiting: what to wake when there is news, or the connection is lost.
        timeout: seconds for each request.

    Attributes:
        hello: the portal's answer to HELLO.
        lost: why the connection has ended.
    """

    def __init__(
        self,
        session: Session,
        context: ssl.SSLContext | None,
        on_notice: Callable[[bytes, tuple[bytes, ...]], None],
        waiting: PromptWait,
        timeout: float = math.inf,
    ) -> None:
        self.hello: tuple[bytes, ...] = ()
        self.lost: BaseException | None = None
        self._session = session
        self._context = context
        self._on_notice = on_notice
        self._waiting = waiting
        self._timeout = timeout
        self._portal: PortalClient | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._news = trio.Event()
        self._ready = threading.Event()
        # A daemon: resolving a host name has no timeout.
        self._thread = threading.Thread(target=self._run, name="esps-portal", daemon=True)

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Connect, for the length of the block.

        Raises:
            EspsError: the portal cannot be reached, or has refused HELLO.
        """
        self._thread.start()
        try:
            self._ready.wait()
            if self._portal is None:
                raise self._failure
            yield
        finally:
            self._call_soon(self._scope.cancel)
            self._thread.join(_END_TIMEOUT)

    def run(self, use_portal: Callable[[PortalClient], Awaitable[_Result]]) -> _Result:
        """Run an async function in the thread; return its result. Ctrl-C cancels it.

        Raises:
            EspsError: from the function, or the request took too long.
            KeyboardInterrupt: it was cancelled, and has ended.
        """
        portal = self._portal
        assert portal is not None  # noqa: S101 - the block was entered
        scope, ended = trio.CancelScope(), threading.Event()

        async def run() -> _Result:
            try:
                with scope, self._limited(portal, self._timeout):
                    return await use_portal(portal)
                raise KeyboardInterrupt  # the caller no longer waits
            finally:
                ended.set()

        try:
            return trio.from_thread.run(run, trio_token=self._token)
        except KeyboardInterrupt:
            self._call_soon(scope.cancel)
            _wait_uninterrupted(ended)
            raise
        except trio.RunFinishedError:
            raise self._failure from None

    @property
    def _failure(self) -> BaseException:
        return self.lost or ClosedError()

    def _call_soon(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            if self._token is not None:
                self._token.run_sync_soon(function)

    # ---- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.lost = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            await self._session.connected(self._watch, self._context)

    async def _watch(self, portal: PortalClient) -> None:
        """Have what the portal says read, until the block is left."""
        portal.on_notice(self._take_notice)
        with self._limited(portal, self._session.timeout):
            self.hello = await portal.hello()
        self._portal = portal
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake)
            nursery.start_soon(self._repeat_signals)
            self._ready.set()
            try:
                await portal.wait_closed()
            except (EspsError, CannotWriteError) as error:
                self.lost = error
            self._waiting.end()
            self._news.set()

    def _take_notice(self, word: bytes, args: tuple[bytes, ...]) -> None:
        self._on_notice(word, args)
        self._news.set()

    async def _wake(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._waiting.wake():  # noqa: ASYNC110 - see `PromptWait`: a signal may be lost
                await trio.sleep(_WAKE_INTERVAL)

    async def _repeat_signals(self) -> None:
        while self._waiting.signals >= 0:
            await trio.lowlevel.wait_readable(self._waiting.signals)
            await trio.sleep(_WAKE_INTERVAL)
            self._waiting.repeat_signals()

    @contextlib.contextmanager
    def _limited(self, portal: PortalClient, timeout: float) -> Iterator[None]:
        """Limit what the block may take, in seconds."""
        try:
            with trio.fail_after(timeout):
                yield
        except trio.TooSlowError:
            raise_timed_out(portal, self._session.url, timeout)


def _wait_uninterrupted(ended: threading.Event) -> None:
    """Wait for a cancelled request; Ctrl-C is no reason to leave it behind."""
    while not ended.is_set():
        try:
            ended.wait(_END_TIMEOUT)
        except KeyboardInterrupt:
            continue
        return
