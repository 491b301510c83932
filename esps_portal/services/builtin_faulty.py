"""The bundled services that end a connection in a way that no portal should.

Over UDP there is no connection to end, so they are offered over TCP alone.
"""

from __future__ import annotations

from functools import partial

from esps_portal.protocol.messages import OK, Reply
from esps_portal.services.builtin import random_octets
from esps_portal.services.service import CallContext, CloseAfter, Service, number

_MOST = 8000


def close() -> CloseAfter:
    """End with FIN, and no reply."""
    return CloseAfter()


def reset() -> CloseAfter:
    """End with RST, and no reply."""
    return CloseAfter(reset=True)


def truncate(count: bytes, *, call: CallContext) -> CloseAfter:
    """Send the beginning of a reply that has no end."""
    size = number(count, "BYTES", 0, _MOST)
    whole = Reply(call.tag, OK, (b"x" * _MOST,)).encode()
    return CloseAfter(whole[:size])


def garbage(count: bytes, seed: bytes | None = None) -> CloseAfter:
    """Send octets that are no line."""
    return CloseAfter(random_octets(number(count, "BYTES", 0, _MOST), seed))


def misbehaving_services() -> list[Service]:
    """Return the services of this module."""
    declare = partial(Service.declare, transports=("tcp",))
    return [
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
    ]
