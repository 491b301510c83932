"""The built-in services that end the connection in ways in which no portal should.

UDP has no connection to end, so they are offered over TCP only.
"""

from __future__ import annotations

from functools import cache, partial

from esps_portal.protocol.messages import OK, Reply
from esps_portal.services.builtin import random_bytes
from esps_portal.services.call import CallContext
from esps_portal.services.service import CloseAfter, Service, parse_integer

_MAX_BYTES = 8000


def close() -> CloseAfter:
    """Close the connection (FIN) without a reply."""
    return CloseAfter()


def reset() -> CloseAfter:
    """Reset the connection (RST) without a reply."""
    return CloseAfter(reset=True)


def truncate(count: bytes, *, call: CallContext) -> CloseAfter:
    """Send the first ``count`` bytes of a long reply, then FIN."""
    size = parse_integer(count, "BYTES", 0, _MAX_BYTES)
    reply = Reply(call.tag, OK, (b"x" * _MAX_BYTES,)).encode()
    return CloseAfter(reply[:size])


def garbage(count: bytes, seed: bytes | None = None) -> CloseAfter:
    """Send random bytes in place of the reply, then FIN."""
    return CloseAfter(random_bytes(parse_integer(count, "BYTES", 0, _MAX_BYTES), seed))


@cache
def faulty_services() -> tuple[Service, ...]:
    """Return the services of this module; every portal has the same."""
    declare = partial(Service.declare, transports=("tcp",))
    return (
        declare(close, summary="misbehave: close the connection (FIN) without a reply"),
        declare(reset, summary="misbehave: reset the connection (RST) without a reply"),
        declare(
            truncate,
            usage="BYTES",
            summary="misbehave: send the first BYTES bytes of a reply, no LF, and close",
        ),
        declare(
            garbage,
            usage="BYTES [SEED]",
            summary="misbehave: send BYTES random bytes in place of the reply, and close",
        ),
    )
