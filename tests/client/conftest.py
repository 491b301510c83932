"""A portal to connect to."""

from __future__ import annotations

import pytest
import trio

from esps_portal import ServerConfig, serve


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    listening = await nursery.start(serve, ServerConfig(port=0))
    port: int = listening.tcp[0][1]
    return port


@pytest.fixture(params=["esps", "esps+udp"])
def url(request: pytest.FixtureRequest, port: int) -> str:
    return f"{request.param}://127.0.0.1:{port}"
