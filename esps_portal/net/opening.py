"""How a stream begins: over TLS with a handshake, and gracefully ended where that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from esps_portal.net.handshake import HandshakeError
from esps_portal.net.stream import Stream, end_with_fin, no_problem


async def open_stream(
    stream: Stream, problem: Callable[[], str] = no_problem, *, seconds: float, linger: float
) -> None:
    """Do the handshake of TLS, if one is due.

    After one that has failed comes FIN, so that the client can read why.

    Args:
        problem: see `SocketStream.shake_hands`.
        seconds: that it may take.
        linger: see `end_with_fin`.

    Raises:
        HandshakeError: it has failed; FIN was sent.
    """
    if not stream.needs_handshake:
        return
    try:
        await stream.shake_hands(problem, seconds)
    except HandshakeError:
        with contextlib.suppress(trio.BrokenResourceError):
            await end_with_fin(stream, linger)
        raise
