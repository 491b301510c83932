"""The blocks of servers: errors leave those inside trio as they are; each says how it is used."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from esps_portal.testing import (
    CannotBindError,
    lines,
    open_memory_portal,
    open_peer,
    open_portal,
    open_proxy,
    peer_in_thread,
    proxy_in_thread,
    serve_in_thread,
)

BLOCKS = [
    open_portal,
    open_memory_portal,
    lambda: open_peer(lines()),
    lambda: open_proxy("tcp://127.0.0.1:9"),
]

Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.mark.parametrize("make", BLOCKS)
async def test_an_error_in_the_block(make: Open) -> None:
    with pytest.raises(AssertionError, match="of the test") as caught:
        async with make():
            raise AssertionError("of the test")
    shown = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in shown
    assert "Group" not in shown


@pytest.mark.parametrize("make", BLOCKS)
async def test_a_group_of_the_block_stays_one(make: Open) -> None:
    error = ValueError()
    with pytest.raises(ExceptionGroup, match="of the test") as caught:
        async with make():
            raise ExceptionGroup("of the test", [error])
    assert caught.value.exceptions == (error,)


@pytest.mark.parametrize("make", BLOCKS)
async def test_a_block_that_is_cancelled(make: Open) -> None:
    with trio.CancelScope() as scope:
        async with make():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "make",
    [
        open_portal,
        lambda port: open_peer(lines(), port=port),
        lambda port: open_proxy("tcp://127.0.0.1:9", port=port),
    ],
)
async def test_a_port_that_is_taken(make: Open) -> None:
    with serve_in_thread() as taken, pytest.raises(CannotBindError):
        async with make(port=taken.port):
            pass


@pytest.mark.parametrize(
    ("make", "statement"),
    [
        (open_portal, "async with open_portal() as portal: ..."),
        (open_memory_portal, "async with open_memory_portal() as portal: ..."),
        (lambda: open_peer(lines()), "async with open_peer(...) as peer: ..."),
        (lambda: open_proxy("tcp://127.0.0.1:9"), "async with open_proxy(...) as proxy: ..."),
    ],
)
async def test_without_async_with(make: Callable[[], Any], statement: str) -> None:
    wanted = re.escape(f"use it in an async with block: {statement}")
    with pytest.raises(AttributeError, match=wanted):
        make().stub("price")
    with pytest.raises(TypeError, match=wanted), make():
        pass
    with pytest.raises(TypeError, match=wanted):
        await make()


@pytest.mark.parametrize(
    ("make", "statement"),
    [
        (serve_in_thread, "with serve_in_thread() as portal: ..."),
        (lambda: peer_in_thread(lines()), "with peer_in_thread(...) as peer: ..."),
        (lambda: proxy_in_thread("tcp://127.0.0.1:9"), "with proxy_in_thread(...) as proxy: ..."),
    ],
)
def test_without_with(make: Callable[[], Any], statement: str) -> None:
    block = make()
    with pytest.raises(AttributeError, match=re.escape(f"use it in a with block: {statement}")):
        block.stub("price")
    assert repr(block) == f"<use it in a with block: {statement}>"
    with block as server:
        assert server.connections() == []
