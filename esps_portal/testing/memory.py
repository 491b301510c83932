"""A portal in memory: no sockets at all, so that tests may mock the clock.

Under trio's autojump clock an hour of timeouts takes milliseconds: whenever all tasks sleep, the
clock jumps. That needs streams in memory: the clock cannot know what a kernel is doing. The
streams hold as much as a socket's buffers do, so a peer that does not read blocks the other one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import attrs
import trio

from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.age_watch import watch_ages
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.port_outage import OutageKind
from esps_portal.net.ready_set import ReadySet
from esps_portal.net.trio_only import check_trio
from esps_portal.protocol.limits import Limits
from esps_portal.server.connection import PortalConnection
from esps_portal.server.serving import accept_policy, portal_connection
from esps_portal.testing.current_loop import CurrentLoop, block_nursery
from esps_portal.testing.pipe_poller import PipePoller
from esps_portal.testing.pipes import MemoryStream, ServerEnd, memory_pair
from esps_portal.testing.portal_controller import PortalController
from esps_portal.testing.portal_options import scripted_portal
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import needs_async_with

__tracebackhide__ = hides_frame


@attrs.define(eq=False)
class _MemoryPort:
    """Where clients connect in place of a port."""

    _connections: ConnectionServer[PortalConnection]
    _nursery: trio.Nursery
    _outage: OutageKind | None = None
    _numbers: count[int] = attrs.field(factory=lambda: count(1))

    def down(self, how: OutageKind) -> None:
        """Refuse every new connection, or let it time out; reset what is open, or freeze it."""
        self._outage = how
        if how == "silent":
            self._connections.silence.begin()
        else:
            self._connections.silence.end()
            self._connections.abort_soon()

    def up(self) -> None:
        """Accept connections again."""
        self._outage = None
        self._connections.silence.end()

    def connect(self) -> MemoryStream:
        """Return the client's end of a new connection."""
        if self._outage == "refuse":
            raise ConnectionRefusedError("the portal is down")
        if self._outage == "silent":
            raise TimeoutError("the portal is down and silent: the connect timed out")
        client, server = memory_pair(self._connections.silence)
        # The journal tells clients apart by their ports, here by numbers.
        self._nursery.start_soon(self._serve, server, next(self._numbers))
        return client

    async def _serve(self, stream: ServerEnd, number: int) -> None:
        if self._connections.is_full:
            await self._connections.refusals.send(stream)
        else:
            await self._connections.serve(stream, ("memory", number))


class MemoryPortal(PortalController):
    """A portal in memory: it has streams in place of an address."""

    def __init__(self, portal: ScriptedPortal, loop: CurrentLoop, port: _MemoryPort) -> None:
        super().__init__(portal, loop)
        self._memory_port = port

    def open_stream(self) -> MemoryStream:
        """Connect; return the client's end of the new connection, for the code under test.

        Raises:
            PortalEndedError: the portal has ended.
            ConnectionRefusedError: the portal is `down`.
            TimeoutError: it is down with ``how="silent"``.
        """
        return self._loop.run(self._memory_port.connect)


@needs_async_with("async with open_memory_portal() as portal: ...")
@asynccontextmanager
async def open_memory_portal(*, limits: Limits | None = None) -> AsyncIterator[MemoryPortal]:
    """Serve a portal in memory for the length of an ``async with`` block.

    ``async with open_memory_portal() as portal, portal.open_stream() as stream: ...``
    While it is ``down(how="silent")`` a connect times out at once: there is no network to wait for.

    Args:
        limits: by default those of `Limits`.
    """
    check_trio("open_memory_portal()", "serve_in_thread()")
    portal = scripted_portal({"limits": limits} if limits else {})
    async with block_nursery() as nursery:
        ready = ReadySet(PipePoller())
        handler = partial(portal_connection, portal, ready=ready)
        connections = ConnectionServer(handler, accept_policy(portal.limits), nursery, ready=ready)
        nursery.start_soon(connections.watch)
        nursery.start_soon(ready.run)
        watch_ages(portal.script.faults, connections, nursery)
        portal.start_clock(trio.current_time())
        port = _MemoryPort(connections, nursery)
        loop = CurrentLoop(port)
        try:
            yield MemoryPortal(portal, loop, port)
        finally:
            loop.has_ended = True
            connections.silence.end()
            nursery.cancel_scope.cancel()
