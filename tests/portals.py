"""Portals in this process, on a real socket each, and raw peers that read what they sent."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import AsyncIterator

import attrs
import trio
import trio.testing

from esps_portal import Limits, ServerConfig, serve
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.listeners import Listeners
from esps_portal.net.ready_set import ReadySet
from esps_portal.product import PRODUCT
from esps_portal.server.connection import PortalConnection
from esps_portal.server.serving import accept_policy, portal_connection
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.dispatcher import Dispatcher
from esps_portal.testing.pipe_poller import PipePoller
from esps_portal.testing.pipes import MemoryStream, ServerEnd, memory_pair
from tests.patience import PATIENCE, patient


@attrs.define(eq=False)
class StreamPeer:
    """A peer over TCP that reads lines."""

    stream: trio.SocketStream
    _held: bytearray = attrs.field(factory=bytearray)

    async def line(self) -> bytes:
        """Return the next line without its LF; ``b""`` is the end."""
        while (end := self._held.find(b"\n")) < 0:
            data = await self.stream.receive_some(65536)
            if not data:
                assert not self._held, "the connection ended inside a line"
                return b""
            self._held += data
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    async def rest(self) -> bytes:
        """Return all that comes until the end, terminated or not."""
        while data := await self.stream.receive_some(65536):
            self._held += data
        rest = bytes(self._held)
        self._held.clear()
        return rest

    async def send(self, data: bytes) -> None:
        """Send octets as they are."""
        await self.stream.send_all(data)


@attrs.define(eq=False)
class DatagramPeer:
    """A peer over UDP, connected to one portal."""

    socket: socket.socket

    def send(self, datagram: bytes) -> None:
        """Send one datagram as it is."""
        assert self.socket.send(datagram) == len(datagram)

    async def receive(self) -> bytes:
        """Return the next datagram."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                assert time.monotonic() < deadline, "no answer"
                await trio.lowlevel.checkpoint()

    async def ask(self, datagram: bytes) -> bytes:
        """Send a datagram and return the next one that comes."""
        self.send(datagram)
        return await self.receive()

    async def assert_silence(self) -> None:
        """Nothing has been sent before the answer to what is asked now."""
        assert await self.ask(b"silence PING\n") == b"silence OK\n"


@attrs.define(eq=False)
class Running:
    """A running portal or proxy, and the peers that a test connected to it."""

    listeners: Listeners
    _open: contextlib.AsyncExitStack

    def shut_down(self) -> None:
        """Let what runs end, and then the server."""
        self.listeners.shut_down()

    async def connect(self) -> StreamPeer:
        """Connect over TCP and read nothing."""
        stream = await trio.open_tcp_stream(*self.listeners.tcp[0])
        self._open.push_async_callback(trio.aclose_forcefully, stream)
        return StreamPeer(stream)

    def connect_at_once(self) -> trio.SocketStream:
        """Connect over TCP before the server has a turn."""
        connected = socket.create_connection(self.listeners.tcp[0])
        connected.settimeout(0)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        self._open.push_async_callback(trio.aclose_forcefully, stream)
        return stream

    async def tcp(self) -> StreamPeer:
        """Connect over TCP and read the portal's greeting."""
        peer = await self.connect()
        assert (await peer.line()).startswith(b"* ESPS/1 ")
        return peer

    def udp(self) -> DatagramPeer:
        """Return a new UDP peer."""
        peer = self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        peer.connect(self.listeners.udp[0])
        return DatagramPeer(peer)


@contextlib.asynccontextmanager
async def running(
    portal: Dispatcher | None = None,
    *,
    reserve_port: bool = False,
    proxy_protocol: bool = False,
    **limits: float,
) -> AsyncIterator[Running]:
    """A portal on a free port, with every built-in service if none is given; cancelled at the end.

    The other keywords are those of `Limits`.
    """
    if portal is None:
        portal = builtin_portal(PRODUCT, Limits(**limits))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        config = ServerConfig(
            portal=portal, port=0, reserve_port=reserve_port, proxy_protocol=proxy_protocol
        )
        listeners = await nursery.start(serve, config)
        async with contextlib.AsyncExitStack() as stack:
            with patient():
                yield Running(listeners, stack)
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class InMemory:
    """A server whose one connection is a bounded stream in memory: a client may stop reading."""

    client: MemoryStream
    stream: ServerEnd
    server: ConnectionServer[PortalConnection]
    ready: ReadySet
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def send(self, data: bytes) -> None:
        """Send, and let everybody act on it."""
        await self.client.send_all(data)
        await trio.testing.wait_all_tasks_blocked()

    async def rest(self) -> bytes:
        """Return all that comes until FIN."""
        found = b""
        while data := await self.client.receive_some():
            found += data
        return found


@contextlib.asynccontextmanager
async def in_memory(portal: Dispatcher) -> AsyncIterator[InMemory]:
    """Serve one connection in memory; cancelled at the end."""
    client, stream = memory_pair()
    async with trio.open_nursery() as nursery:
        ready = ReadySet(PipePoller())
        handler = functools.partial(portal_connection, portal, ready=ready)
        server = ConnectionServer(handler, accept_policy(portal.limits), nursery, ready=ready)
        nursery.start_soon(ready.run)
        found = InMemory(client, stream, server, ready)

        async def serve() -> None:
            await server.serve(stream, ("memory", 1))
            found.ended.set()

        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        with patient():
            yield found
        nursery.cancel_scope.cancel()
