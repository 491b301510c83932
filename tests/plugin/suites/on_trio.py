"""A suite of trio tests, with pytest-trio."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from esps_portal import connect
from esps_portal.testing import PortalController, ProxyFactory

pytestmark = pytest.mark.trio


async def test_a_stub(esps_portal: PortalController) -> None:
    assert esps_portal.journal() == []
    esps_portal.stub("price", "sku-1").reply("9.99")
    async with connect(esps_portal.url) as client:
        assert await client.call("price", "sku-1") == (b"9.99",)


async def test_a_wait(esps_portal: PortalController) -> None:
    async with connect(esps_portal.udp_url) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.call, "echo", "hi")
        (call,) = await esps_portal.wait_for_async("echo", timeout=30)
        assert call.args == (b"hi",)


async def test_a_wait_in_vain(esps_portal: PortalController) -> None:
    with pytest.raises(AssertionError, match=r"echo was called 0 of 1 times in 0 s"):
        await esps_portal.wait_for_async("echo", timeout=0)


async def test_a_wait_that_would_block(esps_portal: PortalController) -> None:
    with pytest.raises(RuntimeError, match="would block the trio loop"):
        esps_portal.wait_for("echo")


async def test_a_fault(esps_portal: PortalController) -> None:
    with esps_portal.down(), pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream(esps_portal.host, esps_portal.port)


async def test_a_proxy_in_front_of_a_server_of_this_loop(esps_proxy: ProxyFactory) -> None:
    async def echo(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        proxy = esps_proxy(f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}")
        fault = proxy.fault("latency", seconds=0.01)
        async with await trio.open_tcp_stream(proxy.host, proxy.port) as client:
            await client.send_all(b"GET n\n")
            (exchange,) = await proxy.wait_for_async("GET", timeout=30)
            assert exchange.request == b"GET n\n"
            await fault.wait_for_async(timeout=30)
            assert await client.receive_some() == b"GET n\n"
        nursery.cancel_scope.cancel()
