"""A peer inside a test's own trio loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from esps_portal.framings.framing import Framing
from esps_portal.testing.current_loop import serve_here
from esps_portal.testing.peer_controller import PeerController
from esps_portal.testing.peer_options import PeerOptions, peer_config, served_peer
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import needs_async_with

__tracebackhide__ = hides_frame


@needs_async_with("async with open_peer(...) as peer: ...")
@asynccontextmanager
async def open_peer(
    framing: Framing | None = None, **options: Unpack[PeerOptions]
) -> AsyncIterator[PeerController]:
    """Serve a peer for the length of an ``async with`` block.

    ``async with open_peer(lines()) as peer: peer.stub("PING").reply("PONG")``
    Leaving the block ends it at once: connections are reset.

    Args:
        framing: as that of `peer_in_thread`.
        options: see `PeerOptions`.

    Raises:
        FramingError, ScenarioError, RecordingError, OSError, TypeError, ValueError: as
            `peer_in_thread` does; CannotBindError is an OSError.
    """
    config = peer_config(framing, options)
    async with serve_here(served_peer(config)) as (loop, address):
        yield PeerController(config.state, loop, address)
