"""A server in the test's own trio loop, on real sockets or in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import attrs
import trio

from esps_portal.net.listeners import Listeners
from esps_portal.net.port_outage import OutageKind
from esps_portal.net.trio_only import check_trio
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.served import Served, ServerAddress
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


class Ports(Protocol):
    """Ports that can be taken out of service."""

    def down(self, how: OutageKind) -> None:
        """Take the ports out of service; see `PortControl.down`."""

    def up(self) -> None:
        """Accept connections again."""


@attrs.define
class CurrentLoop:
    """The loop that runs the caller (`PortalLoop`).

    Args:
        name: ``portal`` or ``proxy``, for errors.

    Attributes:
        has_ended: whether the portal's ``async with`` block is over.
    """

    _ports: Ports
    _name: str = "portal"
    has_ended: bool = False

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run a function.

        Raises:
            PortalEndedError: the portal has ended.
        """
        if self.has_ended:
            raise PortalEndedError(f"the {self._name} has ended: its `async with` block is over")
        return function()

    def access(self, function: Callable[[], _Result]) -> _Result:
        """Run a function, likewise."""
        return self.run(function)

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Run a function at once: nothing else happens while this loop runs the caller."""
        return self.run(function)

    def reset(self) -> None:
        """Refuse: the loop would have to run until old connections have ended."""
        raise RuntimeError(f"a {self._name} inside trio cannot be reset: open another one")

    def down(self, how: OutageKind) -> None:
        """Take the ports out of service, in this way."""
        self.run(partial(self._ports.down, how))

    def up(self) -> None:
        """Take the ports back into service."""
        if not self.has_ended:
            self._ports.up()


@asynccontextmanager
async def block_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery for an ``async with`` block of a test, whose errors leave it as they are.

    A nursery wraps each into a group: `pytest.raises` would not find it, and a failed assertion
    would be hard to read. Two errors at once still are a group.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        (error,) = group.exceptions
    else:
        return
    raise error  # here, where the group is not its context


@asynccontextmanager
async def serve_here(served: Served) -> AsyncIterator[tuple[CurrentLoop, ServerAddress]]:
    """Serve a portal or a proxy in the caller's loop, for the length of an ``async with`` block.

    Raises:
        RuntimeError: another event loop than trio's runs.
    """
    in_thread = "serve" if served.name == "portal" else served.name
    check_trio(f"open_{served.name}()", f"{in_thread}_in_thread()")
    try:
        async with block_nursery() as nursery:
            listeners: Listeners = await nursery.start(served.serve)
            served.state.start_clock(trio.current_time())
            loop = CurrentLoop(listeners.ports, served.name)
            try:
                yield loop, served.address(listeners)
            finally:
                loop.has_ended = True
                nursery.cancel_scope.cancel()
    finally:
        served.close_tls()
