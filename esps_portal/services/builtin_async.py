"""The built-in services that take time: async functions."""

from __future__ import annotations

from functools import cache

import trio

from esps_portal.services.call import CallContext
from esps_portal.services.service import Service, parse_integer

_MAX_LINES = 100_000
_MAX_WIDTH = 512
_MAX_MS = 3_600_000
# The 95 printable characters %x20-7E of RFC 864, repeated: every line is one slice of them.
_RING = bytes(range(0x20, 0x7F)) * (2 + _MAX_WIDTH // 95)


async def chargen(lines: bytes, width: bytes = b"72", *, call: CallContext) -> None:
    """Send lines of the pattern of RFC 864; each starts one character later."""
    count = parse_integer(lines, "LINES", 0, _MAX_LINES)
    size = parse_integer(width, "WIDTH", 1, _MAX_WIDTH)
    for line in range(count):
        start = line % 95
        await call.data(_RING[start : start + size])


async def delay(milliseconds: bytes, *args: bytes) -> tuple[bytes, ...]:
    """Return the arguments after ``milliseconds``."""
    await trio.sleep(parse_integer(milliseconds, "MS", 0, _MAX_MS) / 1000)
    return args


async def drip(lines: bytes, milliseconds: bytes, *, call: CallContext) -> str:
    """Send numbered lines, one every ``milliseconds``; return how many."""
    count = parse_integer(lines, "LINES", 0, _MAX_LINES)
    pause = parse_integer(milliseconds, "MS", 0, _MAX_MS) / 1000
    for line in range(1, count + 1):
        await trio.sleep(pause)
        await call.data(str(line))
    return str(count)


async def stall() -> None:
    """Never reply."""
    await trio.sleep_forever()


@cache
def async_services() -> tuple[Service, ...]:
    """Return the services of this module; every portal has the same."""
    declare = Service.declare
    return (
        declare(
            chargen,
            usage="LINES [WIDTH]",
            summary="send LINES lines of the rotating pattern (after RFC 864)",
            idempotent=True,
        ),
        declare(
            delay,
            usage="MS [arg...]",
            summary="reply with the arguments after MS milliseconds",
            idempotent=True,
        ),
        declare(
            drip,
            usage="LINES MS",
            summary="send LINES lines, one every MS milliseconds",
            idempotent=True,
        ),
        declare(
            stall,
            summary="misbehave: never answer, until cancelled",
            transports=("tcp",),
        ),
    )
