"""A connect or a stream that is not in a with block: an error that says what to write."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal import blocking, connect
from esps_portal.client.portal_client import PortalClient
from esps_portal.testing import serve_in_thread

STATEMENT = "use it in a with block: with blocking.connect(url) as portal: ..."
STREAM = "use it in a with block: with portal.stream(...) as rows: for row in rows: ..."
ASYNC = "use it in an async with block: async with connect(url) as portal: ..."
ASYNC_STREAM = "use it in an async with block: async with portal.stream(...) as rows: "


def test_a_blocking_connect_without_with() -> None:
    block: Any = blocking.connect("localhost")
    with pytest.raises(AttributeError, match=re.escape(STATEMENT)):
        block.call("echo")
    assert repr(block) == f"<{STATEMENT}>"


def test_a_blocking_stream_without_with() -> None:
    with serve_in_thread() as portal, blocking.connect(portal.url) as client:
        stream: Any = client.stream("drip", "3", "1")
        with pytest.raises(TypeError, match=re.escape(STREAM)):
            list(stream)
        with stream as rows:
            assert len(list(rows)) == 3


async def test_connect_without_async_with() -> None:
    block: Any = connect("localhost")
    with pytest.raises(TypeError, match=re.escape(ASYNC)):
        await block
    with pytest.raises(TypeError, match=re.escape(ASYNC)), block:
        pass
    with pytest.raises(AttributeError, match=re.escape(ASYNC)):
        block.call("echo")
    assert repr(block) == f"<{ASYNC}>"


async def test_a_stream_without_async_with() -> None:
    with serve_in_thread() as portal:
        async with connect(portal.url) as client:
            assert isinstance(client, PortalClient)
            stream: Any = client.stream("drip", "3", "1")
            with pytest.raises(TypeError, match=re.escape(ASYNC_STREAM)):
                async for _ in stream:
                    pass
            async with stream as rows:
                assert len([row async for row in rows]) == 3


async def test_a_block_of_a_task_that_is_entered_again() -> None:
    with serve_in_thread() as portal:
        block = connect(portal.url)
        async with block as client:
            stream = client.stream("drip", "3", "1")
            async with stream:
                pass
            for entered in (block, stream):
                with pytest.raises(
                    RuntimeError, match="this block was entered before: write async "
                ):
                    await entered.__aenter__()


CLOSED = "the client is closed: its `with` block is over"


@pytest.mark.parametrize("url", ["url", "udp_url"])
async def test_a_client_that_is_used_after_its_block(url: str) -> None:
    with serve_in_thread() as portal:
        with blocking.connect(getattr(portal, url)) as kept:
            kept.ping()
        async with connect(getattr(portal, url)) as kept_by_task:
            await kept_by_task.ping()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=CLOSED):
                kept.call("echo")
            with pytest.raises(RuntimeError, match=CLOSED), kept.stream("drip", "1", "0"):
                pass
            with pytest.raises(RuntimeError, match=CLOSED):
                await kept_by_task.call("echo")
        kept.close()


@pytest.mark.parametrize("url", ["url", "udp_url"])
async def test_a_stream_that_is_read_after_the_block_of_its_client(url: str) -> None:
    with serve_in_thread() as portal:
        with blocking.connect(getattr(portal, url)) as client:
            block = client.stream("delay", "600000")
            rows = block.__enter__()
        with pytest.raises(RuntimeError, match=CLOSED):
            next(rows)
        block.__exit__(None, None, None)
        async with connect(getattr(portal, url)) as client_of_task:
            task_block = client_of_task.stream("delay", "600000")
            task_rows = await task_block.__aenter__()
        with pytest.raises(RuntimeError, match=CLOSED):
            await task_rows.__anext__()
        await task_block.__aexit__(None, None, None)
