"""A portal inside a test's own trio loop, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from esps_portal.testing.current_loop import serve_here
from esps_portal.testing.portal_controller import PortalController
from esps_portal.testing.portal_options import (
    PortalOptions,
    scripted_portal,
    served_portal,
    server_config,
)
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import needs_async_with

__tracebackhide__ = hides_frame


@needs_async_with("async with open_portal() as portal: ...")
@asynccontextmanager
async def open_portal(**options: Unpack[PortalOptions]) -> AsyncIterator[PortalController]:
    """Serve a portal for the length of an ``async with`` block, on real sockets.

    ``async with open_portal() as portal: portal.stub("price").reply("9.99")``
    Leaving the block ends it at once: running calls are cancelled, connections closed.

    Args:
        options: see `PortalOptions`.

    Raises:
        CannotBindError: an address cannot be bound.
        MissingExtraError: ``tls`` is true, and trustme is not installed.
        TypeError: an option is unknown, or not what it must be.
    """
    portal = scripted_portal(options)
    config = server_config(portal, options)
    async with serve_here(served_portal(portal, config)) as (loop, address):
        yield PortalController(portal, loop, address)
