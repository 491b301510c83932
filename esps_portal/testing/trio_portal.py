"""A portal inside a test's own trio loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, Unpack

import attrs
import trio

from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.server.serving import Listening, serve
from esps_portal.testing.controller import PortalController, PortalEndedError
from esps_portal.testing.options import PortalOptions, scripted_portal, server_config
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


@attrs.define
class SameLoop:
    """The portal runs in the loop that asks."""

    portal: ScriptedPortal
    listening: Listening
    has_ended: bool = False

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Run it."""
        if self.has_ended:
            raise PortalEndedError("the portal has ended: its `async with` block is over")
        return function()

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Run it as things stand: nothing else happens while this loop runs the caller."""
        return self.run(function)

    def reset(self) -> None:
        """Refuse: until old connections have ended the loop must run."""
        raise RuntimeError("inside trio a portal is not reset: open another with `open_portal()`")

    def down(self) -> None:
        """Take the ports out of service."""
        self.run(self.listening.ports.down)

    def up(self) -> None:
        """Take them back."""
        if not self.has_ended:
            self.listening.ports.up()


@asynccontextmanager
async def open_portal(**options: Unpack[PortalOptions]) -> AsyncIterator[PortalController]:
    """Serve a portal for the length of an ``async with`` block, on real sockets.

    Leaving the block ends it at once: running calls are cancelled, connections closed.

    Args:
        options: see `PortalOptions`.
    """
    portal = scripted_portal(options)
    config = server_config(portal, options)
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(serve, config)
        portal.script.journal.start = trio.current_time()
        loop = SameLoop(portal, listening)
        try:
            yield PortalController(portal, loop, *reached_at(listening))
        finally:
            loop.has_ended = True
            nursery.cancel_scope.cancel()


def reached_at(listening: Listening) -> tuple[tuple[str, int], list[str]]:
    """Return the literal address that a client is to be told, and the transports."""
    served = {"tcp": listening.tcp, "udp": listening.udp}
    host, port = (listening.tcp or listening.udp)[0]
    return (host, port), [transport for transport, addresses in served.items() if addresses]
