"""A proxy inside a test's own trio loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from esps_portal.testing.current_loop import serve_here
from esps_portal.testing.proxy_controller import ProxyController
from esps_portal.testing.proxy_options import ProxyOptions, proxy_config, served_proxy
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import needs_async_with

__tracebackhide__ = hides_frame


@needs_async_with("async with open_proxy(...) as proxy: ...")
@asynccontextmanager
async def open_proxy(
    upstream: str, **options: Unpack[ProxyOptions]
) -> AsyncIterator[ProxyController]:
    """Serve a proxy for the length of an ``async with`` block.

    ``async with open_proxy("tcp://127.0.0.1:6379") as proxy: proxy.fault("reset", times=1)``
    Leaving the block ends it at once: connections are reset.

    Args:
        upstream: as that of `proxy_in_thread`.
        options: see `ProxyOptions`.

    Raises:
        UpstreamError, OwnUpstreamError, FramingError, CannotBindError, MissingExtraError,
            TLSFileError, TypeError, ValueError: as `proxy_in_thread` does.
    """
    config = proxy_config(upstream, options)
    may_be_unreachable = options.get("unreachable") == "ok"
    async with serve_here(served_proxy(config)) as (loop, address):
        yield ProxyController(config.state, loop, address, may_be_unreachable=may_be_unreachable)
