"""Steps that send more than a server may want: after its FIN, or while nobody reads its replies."""

from __future__ import annotations

import trio

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.tcp_connection import Connection

# How often it is tried whether the server still reads.
_PROBE_SECONDS = 0.02
# More than both kernels hold, and a server's own memory for one connection.
_MAX_FLOOD = 64 << 20
# Seconds without a read after which the server has stopped reading.
_BLOCKED_SECONDS = 0.5


async def wait_for_reset(connection: Connection) -> None:
    """Read nothing until the server has reset the connection.

    A reset may stay unseen until something is read: its sequence number is outside of a window that
    is closed (RFC 9293 section 3.5.3), and the next one comes as the answer to an open window.
    """
    while not connection.is_reset():  # noqa: ASYNC110 - no event tells of a reset but reading
        await trio.sleep(_PROBE_SECONDS)


async def expect_discarding(connection: Connection, seconds: float) -> None:
    """Check that the server, which has sent its FIN, reads what is sent.

    Raises:
        MismatchError: it does not.
    """
    started = trio.current_time()
    while trio.current_time() - started < seconds:
        if not await connection.send_probe():
            taken = trio.current_time() - started
            allowed = f"input is discarded for {seconds:g} s after the FIN"
            raise MismatchError("close", allowed, came_text=f"RST after {taken:.3f} s")
        await trio.sleep(_PROBE_SECONDS)


async def expect_gone(connection: Connection, at_most: float) -> None:
    """Check that the server, which has sent its FIN, closes its socket in time.

    Raises:
        MismatchError: it does not.
    """
    deadline = trio.current_time() + at_most
    while trio.current_time() < deadline:
        if not await connection.send_probe():
            return
        await trio.sleep(_PROBE_SECONDS)
    allowed = f"the connection is closed within {at_most:g} s"
    raise MismatchError("close", allowed, came_text="it still takes what is sent")


async def flood(connection: Connection, line: bytes) -> None:
    """Send a line again and again, and read nothing, until the server stops reading.

    Raises:
        MismatchError: it does not stop.
    """
    for _ in range(_MAX_FLOOD // len(line)):
        with trio.move_on_after(_BLOCKED_SECONDS) as waiting:
            await connection.send(line, bytewise=False)
        if waiting.cancelled_caught:
            return
    allowed = f"reading stops before {_MAX_FLOOD} bytes, whose replies are not read"
    raise MismatchError("time", allowed, came_text="everything is read")
