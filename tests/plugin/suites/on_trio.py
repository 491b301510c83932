"""A suite of trio tests, with pytest-trio."""

from __future__ import annotations

import pytest
import trio

from esps_portal import connect
from esps_portal.testing import PortalController

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
