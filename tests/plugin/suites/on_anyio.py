"""A suite of anyio tests: each runs under asyncio and under trio."""

from __future__ import annotations

import anyio
import anyio.abc
import pytest

from esps_portal.testing import PortalController

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
