"""A suite of anyio tests: each runs under asyncio and under trio."""

from __future__ import annotations

import anyio
import anyio.abc
import pytest

from esps_portal.testing import PortalController, ProxyFactory

pytestmark = pytest.mark.anyio


async def ask(portal: PortalController, request: str) -> str:
    async with await anyio.connect_tcp(portal.host, portal.port) as stream:
        held = b""
        await stream.send(f"{request}\n".encode())
        while held.count(b"\n") < 2:
            held += await stream.receive()
    return held.decode().splitlines()[1]


async def test_a_stub(esps_portal: PortalController) -> None:
    assert esps_portal.journal() == []
    esps_portal.stub("price", "sku-1").reply("9.99")
    assert await ask(esps_portal, "a CALL price sku-1") == "a OK 9.99"


async def test_a_wait(esps_portal: PortalController) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(ask, esps_portal, "a CALL echo hi")
        (call,) = await esps_portal.wait_for_async("echo", timeout=30)
    assert call.args == (b"hi",)


async def test_a_wait_that_would_block(
    esps_portal: PortalController, anyio_backend_name: str
) -> None:
    with pytest.raises(RuntimeError, match=f"would block the {anyio_backend_name} loop"):
        esps_portal.wait_for("echo")


async def test_a_proxy_in_front_of_a_server_of_this_loop(esps_proxy: ProxyFactory) -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        port = listener.listeners[0].extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no database
        proxy = esps_proxy(f"tcp://127.0.0.1:{port}")
        fault = proxy.fault("latency", seconds=0.01)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(b"GET n\n")
            (exchange,) = await proxy.wait_for_async("GET", timeout=30)
            assert exchange.request == b"GET n\n"
            await fault.wait_for_async(timeout=30)
            assert await client.receive() == b"GET n\n"
        group.cancel_scope.cancel()
    await listener.aclose()
