"""The async with blocks of servers inside trio: an error in one leaves it as it is, in no group."""

from __future__ import annotations

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
