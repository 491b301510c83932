"""A portal, or a proxy, with a control port, and clients of both, over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import attrs
import trio

from esps_portal import ServerConfig, serve
from esps_portal.control.controls import ServerControls
from esps_portal.control.portal_controls import portal_controls
from esps_portal.control.proxy_controls import proxy_controls
from esps_portal.control.root import ControlRoot
from esps_portal.control.server_kinds import servers_beside
from esps_portal.control.serving import ControlConfig, serve_control
from esps_portal.faults.fault import Fault
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.listeners import Listeners
from esps_portal.product import PRODUCT
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from esps_portal.services.builtin_portal import builtin_portal
from tests.control.http_client import HttpClient
from tests.portals import DatagramPeer, Running, StreamPeer


@attrs.define
class Controlled:
    """A server with a control port."""

    data: Running
    url: str
    main: ServerControls
    placed: list[Fault]
    _open: contextlib.AsyncExitStack

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    async def client(self) -> HttpClient:
        client = await HttpClient.connect(self.address)
        self._open.push_async_callback(trio.aclose_forcefully, client.stream)
        return client

    async def tcp(self) -> StreamPeer:
        return await self.data.tcp()

    def udp(self) -> DatagramPeer:
        return self.data.udp()


@contextlib.asynccontextmanager
async def _controlled(
    listeners: Listeners,
    main: ServerControls,
    nursery: trio.Nursery,
    placed: list[Fault],
    config: ControlConfig,
) -> AsyncIterator[Controlled]:
    beside = servers_beside(nursery, placed.append)
    url: str = await nursery.start(serve_control, config, ControlRoot(main, beside))
    async with contextlib.AsyncExitStack() as stack:
        with trio.fail_after(60):
            yield Controlled(Running(listeners, stack), url, main, placed, stack)
    nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def controlled(config: ControlConfig | None = None) -> AsyncIterator[Controlled]:
    """Serve a portal with all services."""
    portal = ScriptedPortal(builtin_portal(PRODUCT))
    placed: list[Fault] = []
    async with trio.open_nursery() as nursery:
        serving = ServerConfig(portal=portal, port=0, reserve_port=True)
        listeners: Listeners = await nursery.start(serve, serving)
        main = portal_controls(portal, listeners.ports, placed.append)
        portal.script.journal.start = trio.current_time()
        async with _controlled(
            listeners, main, nursery, placed, config or ControlConfig()
        ) as running:
            yield running


@contextlib.asynccontextmanager
async def controlled_proxy(upstream: str) -> AsyncIterator[Controlled]:
    """Serve a proxy."""
    state = ProxyState(Upstream.parse(upstream))
    placed: list[Fault] = []
    async with trio.open_nursery() as nursery:
        config = ProxyConfig(state=state, port=0, reserve_port=True)
        listeners: Listeners = await nursery.start(serve_proxy, config)
        state.start_clock(trio.current_time())
        main = proxy_controls(state, listeners.ports, placed.append)
        async with _controlled(listeners, main, nursery, placed, ControlConfig()) as running:
            yield running
