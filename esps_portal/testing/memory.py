"""A portal in memory: no sockets at all, so that time may be a mock.

Under trio's autojump clock an hour of time-outs takes milliseconds: whenever all tasks sleep, the
clock jumps. That needs streams that are memory, for the clock cannot know what a kernel is doing.
The streams are bounded, as a socket's buffers are, so a peer that does not read blocks the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TypeVar

import attrs
import trio

from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.accept import ConnectionServer
from esps_portal.protocol.limits import Limits
from esps_portal.server.connection import accept_policy, portal_connection
from esps_portal.testing.controller import PortalController, PortalEndedError
from esps_portal.testing.options import scripted_portal
from esps_portal.testing.pipes import MemoryStream, ServerEnd, memory_pair
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


@attrs.define(eq=False)
class _Memory:
    """The portal without sockets, as `PortalController` reaches it."""

    portal: ScriptedPortal
    connections: ConnectionServer
    nursery: trio.Nursery
    is_down: bool = False
    has_ended: bool = False
    _numbers: count[int] = attrs.field(factory=lambda: count(1))

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
        raise RuntimeError("a portal in memory is not reset: open another")

    def down(self) -> None:
        """Refuse every new stream, reset what is open."""
        self.is_down = True
        self.connections.abort_soon()

    def up(self) -> None:
        """Take streams again."""
        self.is_down = False

    def connect(self) -> MemoryStream:
        """Begin a connection."""
        if self.is_down:
            raise ConnectionRefusedError("the portal is down")
        client, server = memory_pair()
        # The journal tells clients apart by their ports, which here are just numbers.
        self.nursery.start_soon(self._serve, server, next(self._numbers))
        return client

    async def _serve(self, stream: ServerEnd, number: int) -> None:
        if self.connections.is_full:
            await self.connections.refuse(stream)
        else:
            await self.connections.serve(stream, ("memory", number))


class MemoryPortal(PortalController):
    """A portal in memory: it has streams in place of an address."""

    def __init__(self, portal: ScriptedPortal, memory: _Memory) -> None:
        super().__init__(portal, memory)
        self._memory = memory

    def open_stream(self) -> MemoryStream:
        """Connect: the client's end of a new connection, for the code under test.

        Raises:
            ConnectionRefusedError: the portal is `down`.
        """
        return self._memory.run(self._memory.connect)


@asynccontextmanager
async def open_memory_portal(*, limits: Limits | None = None) -> AsyncIterator[MemoryPortal]:
    """Serve a portal in memory for the length of an ``async with`` block.

    Args:
        limits: by default those of `Limits`.
    """
    portal = scripted_portal({"limits": limits} if limits else {})
    async with trio.open_nursery() as nursery:
        handler = partial(portal_connection, portal)
        connections = ConnectionServer(handler, accept_policy(portal.limits), nursery)
        nursery.start_soon(connections.watch)
        portal.script.journal.start = trio.current_time()
        memory = _Memory(portal, connections, nursery)
        try:
            yield MemoryPortal(portal, memory)
        finally:
            memory.has_ended = True
            nursery.cancel_scope.cancel()
