"""The bundled services that are answered at once, after RFC 862 to 868 and httpbin.

What each is called, takes and promises is declared here, once; LIST, the documentation and the
command line read it. A test holds it against ``spec/registry.toml``.
"""

from __future__ import annotations

import datetime as dt
import random as chance
from functools import partial

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.services.service import CallContext, Service, number
from esps_portal.services.statistics import Statistics

#: Each octet may take three when escaped; this many fit the default line and leave room for a tag.
_MOST_RANDOM = 2048
#: Counters are memory that strangers can make us hold.
_MOST_COUNTERS = 1024
_LONGEST_COUNTER_NAME = 64


def echo(*args: bytes) -> tuple[bytes, ...]:
    """Return the arguments (RFC 862)."""
    return args


def discard(*_args: bytes) -> None:
    """Take the arguments and return nothing (RFC 863)."""


def time() -> tuple[str, str]:
    """Return the time as ISO 8601 in UTC and as Unix seconds."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", f"{now.timestamp():.6f}"


def whoami(*, call: CallContext) -> tuple[str, str, str]:
    """Return the caller's address, port and transport as the server sees them."""
    return call.caller.address, str(call.caller.port), call.caller.transport


def random(count: bytes, seed: bytes | None = None) -> bytes:
    """Return random octets, the same ones for the same seed."""
    return random_octets(number(count, "BYTES", 0, _MOST_RANDOM), seed)


def random_octets(count: int, seed: bytes | None) -> bytes:
    """Return ``count`` octets that nobody should use as a secret."""
    return chance.Random(seed).randbytes(count)  # noqa: S311 - test data, not secrets


def fail(code: bytes, *text: bytes) -> None:
    """Refuse with the code and the words that were asked for."""
    if not grammar.NAME.fullmatch(code):
        raise ReplyError("bad-arguments", "CODE is a name: a-z, then up to 63 of a-z 0-9 - . _")
    raise ReplyError(code.decode(), *text)


class Counters:
    """What ``count`` counts. A portal has its own."""

    def __init__(self, counts: dict[bytes, int]) -> None:
        self._counts = counts

    def count(self, name: bytes = b"") -> str:
        """Go up by one with each execution, which shows at-most-once."""
        if len(name) > _LONGEST_COUNTER_NAME:
            words = f"NAME is at most {_LONGEST_COUNTER_NAME} bytes"
            raise ReplyError("bad-arguments", words)
        if name not in self._counts and len(self._counts) >= _MOST_COUNTERS:
            raise ReplyError("busy", f"no more than {_MOST_COUNTERS} counters")
        self._counts[name] = self._counts.get(name, 0) + 1
        return str(self._counts[name])


def instant_services(statistics: Statistics) -> list[Service]:
    """Return the services of this module, with counters of their own."""
    safe = partial(Service.declare, idempotent=True)
    return [
        safe(echo, usage="[arg...]", summary="reply with the same arguments (after RFC 862)"),
        safe(discard, usage="[arg...]", summary="throw the arguments away (after RFC 863)"),
        safe(
            time,
            summary="tell the server's time, for people and in seconds (after RFC 867 and RFC 868)",
        ),
        safe(
            whoami,
            summary="tell the peer's address, port and transport as the server sees them",
        ),
        safe(
            random,
            usage="BYTES [SEED]",
            summary="reply with BYTES random bytes, the same ones for the same SEED",
        ),
        Service.declare(
            Counters(statistics.named).count,
            usage="[NAME]",
            summary="go up by one with each execution and tell the number",
        ),
        safe(fail, usage="CODE [text...]", summary="refuse with the error CODE and the text"),
        safe(
            statistics.stats,
            summary="tell what the server has counted, as key=value",
        ),
    ]
