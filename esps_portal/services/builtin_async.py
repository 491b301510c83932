"""The bundled services that take time, and therefore run as tasks."""

from __future__ import annotations

import trio

from esps_portal.services.service import CallContext, Service, number

_MOST_LINES = 100_000
_WIDEST = 512
_LONGEST_MS = 3_600_000
# The 95 characters of RFC 864's ring, %x20-7E, twice: every line is one slice of it.
_RING = bytes(range(0x20, 0x7F)) * (2 + _WIDEST // 95)


async def chargen(lines: bytes, width: bytes = b"72", *, call: CallContext) -> None:
    """Send lines of RFC 864's pattern; each starts one character further on."""
    count = number(lines, "LINES", 0, _MOST_LINES)
    size = number(width, "WIDTH", 1, _WIDEST)
    for line in range(count):
        start = line % 95
        await call.data(_RING[start : start + size])


async def delay(milliseconds: bytes, *args: bytes) -> tuple[bytes, ...]:
    """Return the arguments, later."""
    await trio.sleep(number(milliseconds, "MS", 0, _LONGEST_MS) / 1000)
    return args


async def drip(lines: bytes, milliseconds: bytes, *, call: CallContext) -> str:
    """Send a numbered line every so often."""
    count = number(lines, "LINES", 0, _MOST_LINES)
    pause = number(milliseconds, "MS", 0, _LONGEST_MS) / 1000
    for line in range(1, count + 1):
        await trio.sleep(pause)
        await call.data(str(line))
    return str(count)


async def stall() -> None:
    """Never answer."""
    await trio.sleep_forever()


def task_services() -> list[Service]:
    """Return the services of this module."""
    declare = Service.declare
    return [
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
    ]
