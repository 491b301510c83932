"""What needs trio says so under asyncio, and what to use there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import esps_portal
from esps_portal.testing import lines, open_memory_portal, open_peer, open_portal, open_proxy


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (esps_portal.connect, r"connect\(\) needs trio.*: esps_portal.blocking.connect\(\) in asy"),
        (open_portal, r"open_portal\(\) needs trio.*under asyncio: serve_in_thread\(\)"),
        (open_memory_portal, r"open_memory_portal\(\) needs .*: serve_in_thread\(\)"),
        (lambda: open_proxy("tcp://127.0.0.1:1"), r"open_proxy\(\) needs .*: proxy_in_thread\(\)"),
        (lambda: open_peer(lines()), r"open_peer\(\) needs .*: peer_in_thread\(\)"),
    ],
)
def test_under_asyncio(make: Callable[[], AbstractAsyncContextManager[Any]], says: str) -> None:
    async def main() -> None:
        async with make():
            pass

    with pytest.raises(RuntimeError, match=says):
        asyncio.run(main())
