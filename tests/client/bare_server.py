"""A bare socket as the server of a client: as slow, silent or wrong as a test needs it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from esps_portal import blocking, connect

GREETING = b"* ESPS/1 test/1\n"
Ask = Callable[[str], Awaitable[object]]


async def with_trio(url: str) -> object:
    """Call ``work`` once; return its result."""
    async with connect(url) as portal:
        return await portal.call("work", "x")


async def with_sockets(url: str) -> object:
    """Do the same without trio."""

    def session() -> object:
        with blocking.connect(url, timeout=30) as portal:
            return portal.call("work", "x")

    return await trio.to_thread.run_sync(session)


both_clients = pytest.mark.parametrize("ask", [with_trio, with_sockets])


@contextlib.asynccontextmanager
async def listener() -> AsyncIterator[trio.SocketListener]:
    (found,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with found:
        with trio.fail_after(30):
            yield found


@contextlib.asynccontextmanager
async def datagrams() -> AsyncIterator[trio.socket.SocketType]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        await found.bind(("127.0.0.1", 0))
        with trio.fail_after(30):
            yield found


def tcp_url(server: trio.SocketListener, scheme: str = "esps") -> str:
    return f"{scheme}://127.0.0.1:{server.socket.getsockname()[1]}"


def udp_url(server: trio.socket.SocketType) -> str:
    return f"esps+udp://127.0.0.1:{server.getsockname()[1]}"


async def lines_until(stream: trio.SocketStream, count: int) -> list[bytes]:
    held, seen = [b""], 0
    while seen < count:
        held.append(await stream.receive_some())
        assert held[-1], b"".join(held)
        seen += held[-1].count(b"\n")
    assert held[-1].endswith(b"\n")
    return b"".join(held).splitlines()
