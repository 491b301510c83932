"""A portal in a thread of its own, with its own ``trio.run``: for tests of every style."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self, TypeVar, Unpack

from esps_portal.exports import public_names
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import Script, ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.net.authority import Authority
from esps_portal.testing.portal_controller import PortalController
from esps_portal.testing.portal_options import (
    PortalOptions,
    scripted_portal,
    served_portal,
    server_config,
)
from esps_portal.testing.runs_in_thread import RunsInThread
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_thread import ServerThread
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


class ThreadedPortal(RunsInThread, PortalController):
    """A portal in a thread of its own."""

    def __init__(
        self,
        portal: ScriptedPortal,
        thread: ServerThread,
        address: ServerAddress,
    ) -> None:
        super().__init__(portal, thread, address)
        self._thread = thread

    @classmethod
    def start(
        cls,
        permanent: Sequence[Stub] = (),
        *,
        keep_idle: bool = False,
        authority: Authority | None = None,
        **options: Unpack[PortalOptions],
    ) -> Self:
        """Start a portal; see `serve_in_thread`, which also ends it.

        Args:
            permanent: stubs that survive resets.
            keep_idle: let idle connections survive them too.
            authority: see `server_config`.
            options: see `PortalOptions`.
        """
        portal = scripted_portal(options)
        for stub in permanent:
            portal.script.stubs.place_permanent(stub)
        config = server_config(portal, options, authority)
        thread = ServerThread(served_portal(portal, config), keep_idle=keep_idle)
        return cls(portal, thread, thread.start())

    @property
    def connections_reset(self) -> int:
        """How many open connections its resets have ended."""
        return self._thread.connections_reset

    def __dir__(self) -> list[str]:
        # Lending it to tests is for the plugin only.
        return public_names(self, PortalController)

    def place_permanent(self, service: str, *args: Matcher) -> Stub:
        """Place a stub that survives resets, even if no test has the portal; see `stub`."""
        stub = Stub(service, args, max_line=self._portal.limits.longest_reply)
        return self._thread.run_anytime(lambda: self._script.stubs.place_permanent(stub))

    def acquire(self, look: Callable[[Script], _Result]) -> _Result:
        """Let a test have it, as if nothing had happened since the last `release`.

        Args:
            look: gets what has; `acquire` returns what it returns.

        Raises:
            PortalEndedError: the portal has ended.
        """
        return self._thread.acquire(lambda: look(self._script))


@warns_without_with("with serve_in_thread() as portal: ...")
@contextmanager
def serve_in_thread(**options: Unpack[PortalOptions]) -> Iterator[ThreadedPortal]:
    """Serve a portal for the length of a ``with`` block, whatever runs in this thread.

    ``with serve_in_thread(host="::1") as portal: portal.stub("price").reply("9.99")``
    Leaving the block ends it at once: running calls are cancelled, connections closed.

    Args:
        options: see `PortalOptions`.

    Raises:
        CannotBindError: an address cannot be bound.
        MissingExtraError: ``tls`` is true, and trustme is not installed.
        TypeError: an option is unknown, or not what it must be.
    """
    portal = ThreadedPortal.start(**options)
    try:
        yield portal
    finally:
        portal.stop()
