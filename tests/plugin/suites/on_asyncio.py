"""A suite of asyncio tests, with pytest-asyncio."""

from __future__ import annotations

import asyncio

import pytest

from esps_portal.testing import PortalController, ProxyFactory

pytestmark = pytest.mark.asyncio


async def ask(portal: PortalController, request: str) -> str:
    reader, writer = await asyncio.open_connection(portal.host, portal.port)
    await reader.readline()
    writer.write(f"{request}\n".encode())
    reply = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return reply.decode()


async def test_a_stub(esps_portal: PortalController) -> None:
    assert esps_portal.journal() == []
    esps_portal.stub("price", "sku-1").reply("9.99")
    assert await ask(esps_portal, "a CALL price sku-1") == "a OK 9.99\n"


async def test_a_wait(esps_portal: PortalController) -> None:
    asking = asyncio.create_task(ask(esps_portal, "a CALL echo hi"))
    (call,) = await esps_portal.wait_for_async("echo", timeout=30)
    assert call.args == (b"hi",)
    assert await asking == "a OK hi\n"


async def test_a_wait_in_vain(esps_portal: PortalController) -> None:
    with pytest.raises(AssertionError, match=r"echo was called 0 of 1 times in 0 s"):
        await esps_portal.wait_for_async("echo", timeout=0)
    assert await ask(esps_portal, "a CALL echo hi") == "a OK hi\n"


async def test_a_wait_that_would_block(esps_portal: PortalController) -> None:
    with pytest.raises(RuntimeError, match="would block the asyncio loop"):
        esps_portal.wait_for("echo")


async def test_a_fault(esps_portal: PortalController) -> None:
    with (
        esps_portal.fault("reset", service="echo", when="before"),
        pytest.raises(ConnectionResetError),
    ):
        await ask(esps_portal, "a CALL echo hi")
    with esps_portal.down(), pytest.raises(ConnectionRefusedError):
        await ask(esps_portal, "a CALL echo hi")


async def test_a_proxy_in_front_of_a_server_of_this_loop(esps_proxy: ProxyFactory) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        proxy = esps_proxy(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        fault = proxy.fault("latency", seconds=0.01)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"GET n\n")
        (exchange,) = await proxy.wait_for_async("GET", timeout=30)
        assert exchange.request == b"GET n\n"
        await fault.wait_for_async(timeout=30)
        assert await reader.read() == b"GET n\n"
        writer.close()
