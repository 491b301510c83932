"""Proxies in this process, before a portal or before a raw upstream that does as a test says."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedCall
from esps_portal.net.listeners import Listeners
from esps_portal.protocol.limits import Limits
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream as ProxyUpstream
from tests.patience import PATIENCE
from tests.portals import Running

# Whoever would take more at once has taken it. Longer makes a test surer, and slower.
_A_WHILE = 0.02


@attrs.define(eq=False)
class Proxied(Running):
    """A running proxy, with what it has noted."""

    journal: Journal
    ended: trio.Event

    async def closed(self) -> list[tuple[str, str]]:
        """Return who closed each connection first, and how, once all have ended."""
        while any(connection.closed is None for connection in self.journal.connections):
            await trio.lowlevel.checkpoint()
        return [(found.closed_by, found.how) for found in self.journal.connections]

    def calls(self) -> list[RecordedCall]:
        """Return what has passed."""
        return self.journal.calls


@contextlib.asynccontextmanager
async def proxied(
    address: tuple[str, int], *, transport: str = "tcp", **limits: float
) -> AsyncIterator[Proxied]:
    """A proxy on a free port before what listens on ``address``; cancelled at the end."""
    scheme = {"tcp": "esps", "udp": "esps+udp"}[transport]
    config = ProxyConfig(
        state=ProxyState(ProxyUpstream(scheme, *address)),
        port=0,
        limits=Limits(**limits),  # type: ignore[arg-type]
    )
    ended = trio.Event()

    async def serve(*, task_status: trio.TaskStatus[Listeners]) -> None:
        await serve_proxy(config, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        config.state.journal.start = trio.current_time()
        listeners = await nursery.start(serve)
        async with contextlib.AsyncExitStack() as stack:
            with trio.fail_after(PATIENCE):
                yield Proxied(listeners, stack, config.state.journal, ended)
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Upstream:
    """A TCP listener; each accepted connection is the test's."""

    listener: trio.socket.SocketType
    _open: contextlib.AsyncExitStack

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    async def accept(self) -> trio.SocketStream:
        connected, _ = await self.listener.accept()
        stream = trio.SocketStream(connected)
        self._open.push_async_callback(trio.aclose_forcefully, stream)
        return stream


@contextlib.asynccontextmanager
async def upstream(*, receive_buffer: int = 0) -> AsyncIterator[Upstream]:
    """Listen on a free port."""
    with trio.socket.socket() as listener:
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with contextlib.AsyncExitStack() as stack:
            yield Upstream(listener, stack)


def reset(stream: trio.SocketStream) -> None:
    """Close with RST."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def until_reset(stream: trio.SocketStream) -> bytes:
    """Return what comes until the RST. A FIN in its place is a failure."""
    seen = bytearray()

    async def read() -> None:
        while data := await stream.receive_some():
            seen.extend(data)

    with pytest.raises(trio.BrokenResourceError) as broken:
        await read()
    assert isinstance(broken.value.__cause__, ConnectionResetError)
    return bytes(seen)


async def fill(stream: trio.SocketStream) -> int:
    """Send for as long as anything is taken. Return how many bytes were."""
    sent, full = 0, False
    while True:
        try:
            sent += os.write(stream.socket.fileno(), b"x" * 65536)
            full = False
        except BlockingIOError:
            if full:
                return sent
            full = True
            await trio.testing.wait_all_tasks_blocked(_A_WHILE)
        await trio.lowlevel.checkpoint()


@contextlib.contextmanager
def a_free_port() -> Iterator[tuple[str, int]]:
    """Keep a port on which nobody listens, over TCP and UDP."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        while True:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            break
        host, port = tcp.getsockname()
        # Connected elsewhere it takes nothing of a proxy's.
        udp.connect(("127.0.0.1", 9))
        yield host, port
