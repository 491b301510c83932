"""What a connection was made of is freed once it has ended.

Otherwise the garbage collector has to find it, which looks at everything, and holds the loop for a
tenth of a second where many have ended.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from esps_portal.server.connection import PortalConnection
from esps_portal.testing import PortalController, open_portal
from tests.patience import PATIENCE
from tests.proxies import reset


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.collect()  # what other tests have left
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def connections() -> int:
    """Return how many are not freed."""
    return sum(type(each) is PortalConnection for each in gc.get_objects())


async def until_freed() -> None:
    with trio.fail_after(PATIENCE):
        while connections():  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)


async def connected(portal: PortalController) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(portal.host, portal.port)
    await stream.receive_some()
    assert connections()
    return stream


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("sent", [b"", b"a PING\n", b"a CALL delay 1 x\n", b"a QUIT\n", b"a CALL "])
async def test_after_an_end_by_the_client(sent: bytes, *, resets: bool) -> None:
    async with open_portal() as portal:
        stream = await connected(portal)
        await stream.send_all(sent)
        if sent.endswith(b"\n"):
            await stream.receive_some()
        if resets:
            reset(stream)
        await stream.aclose()
        await until_freed()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "close"},
        {"kind": "reset"},
        {"kind": "latency", "seconds": 0.001},
        {"kind": "stall"},
        {"kind": "close", "unit": "connection", "offset": 60},
    ],
)
async def test_after_a_fault(fault: dict[str, Any]) -> None:
    async with open_portal() as portal:
        portal.fault(**fault)
        stream = await connected(portal)
        await stream.send_all(b"a PING\n")
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(0.01):
            await stream.receive_some()
        await stream.aclose()
        await until_freed()


@pytest.mark.parametrize("sent", [b"", b"a CALL stall\n"])
async def test_after_an_outage(sent: bytes) -> None:
    async with open_portal() as portal, await connected(portal) as stream:
        await stream.send_all(sent)
        with portal.down():
            await until_freed()
