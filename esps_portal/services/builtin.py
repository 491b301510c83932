"""The built-in services that reply at once, after RFC 862 to 868 and httpbin.

The name, arguments and flags of each are declared here, once; LIST, the documentation and the
command line read them. A test compares them with ``spec/registry.toml``.
"""

from __future__ import annotations

import datetime as dt
import random as random_numbers
from collections import OrderedDict
from functools import cache, partial

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.services.call import CallContext
from esps_portal.services.service import Service, parse_integer
from esps_portal.services.statistics import Statistics

# An escaped byte takes three: this many fit the default max_line and leave room for a tag.
_MAX_RANDOM_BYTES = 2048
# Each counter is memory that a client makes us hold (specification, section 11.1).
_MAX_COUNTERS = 1024
_MAX_COUNTER_NAME = 64
_SYSTEM = random_numbers.SystemRandom()


def echo(*args: bytes) -> tuple[bytes, ...]:
    """Return the arguments (RFC 862)."""
    return args


def discard(*_args: bytes) -> None:
    """Discard the arguments and return nothing (RFC 863)."""


def time() -> tuple[str, str]:
    """Return the time as ISO 8601 in UTC and as Unix seconds."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", f"{now.timestamp():.6f}"


def whoami(*, call: CallContext) -> tuple[str, str, str]:
    """Return the caller's address, port and transport as the server sees them."""
    return call.caller.address, str(call.caller.port), call.caller.transport


def random(count: bytes, seed: bytes | None = None) -> bytes:
    """Return random bytes: the same ones for the same seed."""
    return random_bytes(parse_integer(count, "BYTES", 0, _MAX_RANDOM_BYTES), seed)


def random_bytes(count: int, seed: bytes | None) -> bytes:
    """Return ``count`` random bytes, the same ones for the same seed; not for secrets."""
    if seed is None:  # to seed a generator takes longer than to ask the system
        return _SYSTEM.randbytes(count)
    return random_numbers.Random(seed).randbytes(count)  # noqa: S311 - test data, not secrets


def fail(code: bytes, *text: bytes) -> None:
    """Reply with the error code and the text that the client asks for."""
    if not grammar.NAME.fullmatch(code):
        raise ReplyError(
            "bad-arguments", "CODE must be a name: a-z, then up to 63 of a-z 0-9 - . _"
        )
    raise ReplyError(code.decode(), *text)


class Counters:
    """The counters of the service ``count``; each portal has its own.

    A client that counts under ever new names makes it forget the oldest ones, but locks nobody
    out.

    Args:
        counts: by name; what was counted last comes last.
    """

    def __init__(self, counts: OrderedDict[bytes, int]) -> None:
        self._counts = counts

    def count(self, name: bytes = b"") -> str:
        """Count one execution; return how many there were: it shows at-most-once."""
        if len(name) > _MAX_COUNTER_NAME:
            message = f"NAME must have at most {_MAX_COUNTER_NAME} bytes"
            raise ReplyError("bad-arguments", message)
        counts = self._counts
        counts[name] = number = counts.get(name, 0) + 1
        counts.move_to_end(name)
        if len(counts) > _MAX_COUNTERS:
            counts.popitem(last=False)
        return str(number)


def counting_services(statistics: Statistics) -> tuple[Service, ...]:
    """Return the services of this module that count, or say what was counted."""
    return (
        Service.declare(
            Counters(statistics.counts).count,
            usage="[NAME]",
            summary="go up by one with each execution and tell the number",
        ),
        Service.declare(
            statistics.stats,
            summary="tell what the server has counted, as key=value",
            idempotent=True,
        ),
    )


@cache
def sync_services() -> tuple[Service, ...]:
    """Return the other services of this module; every portal has the same."""
    idempotent = partial(Service.declare, idempotent=True)
    return (
        idempotent(echo, usage="[arg...]", summary="reply with the same arguments (after RFC 862)"),
        idempotent(discard, usage="[arg...]", summary="throw the arguments away (after RFC 863)"),
        idempotent(
            time,
            summary="tell the server's time, for people and in seconds (after RFC 867 and RFC 868)",
        ),
        idempotent(
            whoami,
            summary="tell the peer's address, port and transport as the server sees them",
        ),
        idempotent(
            random,
            usage="BYTES [SEED]",
            summary="reply with BYTES random bytes, the same ones for the same SEED",
        ),
        idempotent(fail, usage="CODE [text...]", summary="refuse with the error CODE and the text"),
    )
