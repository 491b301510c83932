"""The vocabulary of faults: each word, what it makes a client see, and the values that it takes.

One vocabulary serves the fixture, the scenario file, the command line and the control port; a
name or a value that it does not hold is an error at once.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from esps_portal.protocol import grammar

TCP = frozenset({"tcp"})
UDP = frozenset({"udp"})
BOTH = TCP | UDP

#: Each parameter with its default; `None`: it must be given.
_Defaults = Mapping[str, float | int | str | None]


class FaultError(ValueError):
    """A fault was asked for that there is not, or with a value that it cannot have."""


@attrs.frozen
class Kind:
    """One word of the vocabulary.

    Attributes:
        meaning: what the client's socket sees.
        parameters: with their defaults. Times are seconds, sizes bytes.
        before: it makes sense without executing the request.
    """

    meaning: str
    transports: frozenset[str]
    parameters: _Defaults = attrs.field(factory=dict)
    before: bool = False


VOCABULARY: dict[str, Kind] = {
    "latency": Kind(
        "the reply comes late, by up to jitter more",
        TCP,
        {"seconds": None, "jitter": 0.0},
        before=True,
    ),
    "bandwidth": Kind("the reply comes at this rate", TCP, {"bytes_per_second": None}),
    "slice": Kind(
        "the reply comes in pieces: cut at a byte, in the middle, or before-lf",
        TCP,
        {"at": "middle", "pause": 0.05},
    ),
    "coalesce": Kind(
        "replies are held until there are that many, or for that long, and come at once",
        TCP,
        {"replies": 2, "seconds": 1.0},
    ),
    "close": Kind("FIN in place of the reply", TCP, before=True),
    "reset": Kind("RST in place of the reply", TCP, before=True),
    "half-close": Kind(
        "FIN in place of the reply; what the client sends is thrown away", TCP, before=True
    ),
    "stall": Kind("nothing comes any more; the connection stays", TCP, before=True),
    "truncate": Kind("the first bytes of the reply; over TCP, then FIN", BOTH, {"bytes": 1}),
    "garbage": Kind(
        "random octets in place of the reply, then FIN",
        TCP,
        {"bytes": 64, "seed": 0},
        before=True,
    ),
    "no-terminator": Kind("the reply without its last LF; the connection stays", TCP),
    "accept-close": Kind("the connection is accepted, and closed without a word", TCP),
    "drop": Kind("no reply", UDP, before=True),
    "duplicate": Kind("the reply comes that many times", UDP, {"copies": 2}),
    "reorder": Kind(
        "the reply comes after that many others, or that long",
        UDP,
        {"replies": 1, "seconds": 1.0},
    ),
    "delay": Kind(
        "the reply comes late, by up to jitter more",
        UDP,
        {"seconds": None, "jitter": 0.0},
        before=True,
    ),
    "corrupt": Kind("some octets of the reply are others", UDP, {"bytes": 1, "seed": 0}),
    "oversize": Kind("the reply is padded to this many bytes", UDP, {"bytes": 2000}),
    "wrong-source": Kind("the reply comes from another port", UDP),
}

#: What chooses where and when a fault happens, whatever its kind.
SELECTORS = ("service", "transport", "connection", "request", "when", "times", "chance", "seed")

_WHENS = ("before", "after")
# The longest UDP payload over IPv4: 65535 less the IP and UDP headers (RFC 768, RFC 791).
_LONGEST_DATAGRAM = 65507


def known(kind: str) -> Kind:
    """Return what the vocabulary says of ``kind``."""
    word = VOCABULARY.get(kind)
    if word is None:
        close = difflib.get_close_matches(str(kind), VOCABULARY, 1)
        meant = f"did you mean {close[0]!r}? T" if close else "t"
        raise FaultError(f"there is no fault {kind!r}; {meant}here are {', '.join(VOCABULARY)}")
    return word


def check_when(kind: str, word: Kind, when: str) -> None:
    """Check whether the fault makes sense then."""
    if when not in _WHENS:
        raise FaultError(f"when is before or after, not {when!r}")
    if when == "before" and kind == "accept-close":
        raise FaultError("accept-close comes before any request: it takes no when")
    if when == "before" and not word.before:
        raise FaultError(f"{kind} affects a reply: its request is executed, so when is after")


def check_transport(transport: object, kind: str, word: Kind) -> None:
    """Check whether the fault happens on that transport."""
    if transport is not None and transport not in sorted(word.transports):
        on = " and ".join(sorted(word.transports))
        raise FaultError(f"{kind} is a fault of {on}: it has no transport {transport!r}")


def check_chance(chance: object, seed: object, word: Kind, *, draws: bool) -> None:
    """Check a probability, and the seed that it is drawn from, or another thing is."""
    if seed is not None and type(seed) is not int:
        raise FaultError(f"seed is a whole number, not {seed!r}")
    if chance is None:
        if seed is not None and not draws and "seed" not in word.parameters:
            raise FaultError("seed goes with chance, or with jitter")
    elif isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
        raise FaultError(f"chance is a number from 0 to 1, not {chance!r}")


def checked_service(service: object, kind: str) -> str | None:
    """Return the service that a fault is for."""
    if service is not None and not (
        isinstance(service, str) and grammar.NAME.fullmatch(service.encode())
    ):
        raise FaultError(f"service is a name (a-z, then a-z 0-9 - . _), not {service!r}")
    if service is not None and kind == "accept-close":
        raise FaultError("accept-close comes before any request: it takes no service")
    return service


def checked_request(numbers: object, kind: str) -> frozenset[int] | None:
    """Return the numbers of the requests that a fault is for."""
    if numbers is not None and kind == "accept-close":
        raise FaultError("accept-close comes before any request: it takes no request")
    return checked_numbers("request", numbers)


def checked_numbers(what: str, numbers: object) -> frozenset[int] | None:
    """Return the numbers that a selector names."""
    if numbers is None:
        return None
    row = numbers if isinstance(numbers, list | tuple | set | frozenset | range) else [numbers]
    if not row or any(type(number) is not int or number < 1 for number in row):
        raise FaultError(f"{what} is a number from 1 on, or some of them, not {numbers!r}")
    return frozenset(row)


def checked_parameters(kind: str, word: Kind, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the parameters, the defaults filled in."""
    for key in given:
        if key not in word.parameters:
            known = ", ".join((*word.parameters, *SELECTORS))
            raise FaultError(f"{kind} takes no {key}; it takes {known}")
    values = {}
    for key, default in word.parameters.items():
        value = given.get(key, default)
        if value is None:
            raise FaultError(f"{kind} needs {key}")
        values[key] = _checked_value(kind, key, value)
    return values


def _checked_value(kind: str, key: str, value: object) -> object:
    if key == "at" and value in ("middle", "before-lf"):
        return value
    # A file may hold a whole number that is longer than any float.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -sys.float_info.max <= value <= sys.float_info.max
    ):
        besides = ", middle or before-lf" if key == "at" else ""
        raise FaultError(f"{kind}: {key} is a number{besides}, not {value!r}")
    if key in ("seconds", "jitter", "pause"):
        lowest: float = 0
    elif key == "bytes_per_second":
        lowest = 1
    else:
        if not isinstance(value, int):
            raise FaultError(f"{kind}: {key} is a whole number, not {value!r}")
        lowest = 0 if key == "seed" or (key == "bytes" and kind != "corrupt") else 1
    if value < lowest:
        raise FaultError(f"{kind}: {key} is {lowest} at least, not {value!r}")
    if key in ("bytes", "copies") and value > _LONGEST_DATAGRAM:
        raise FaultError(f"{kind}: {key} is {_LONGEST_DATAGRAM} at most, not {value!r}")
    return value
