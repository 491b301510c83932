"""The vocabulary of faults: each name, what it makes a client see, and the values that it takes.

One vocabulary serves the fixture, the scenario file, the command line and the control port; a
name or a value that it does not hold is an error at once.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from esps_portal.protocol import grammar
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

TCP = frozenset({"tcp"})
UDP = frozenset({"udp"})
BOTH = TCP | UDP

# The longest UDP payload over IPv4: 65535 less the IP and UDP headers (RFC 768, RFC 791).
_LONGEST_DATAGRAM = 65507


class FaultError(ValueError):
    """There is no such fault, or it cannot have such a value."""


@attrs.frozen
class Parameter:
    """What one parameter of a fault takes.

    Attributes:
        type: `float` is any finite number, `int` a whole one.
        default: ``None``: it must be given.
        least, most: bounds of a number, both included.
        names: what may stand in place of a number.
    """

    type: type[float]
    default: float | str | None = None
    least: float = 0
    most: float = sys.float_info.max
    names: tuple[str, ...] = ()

    def takes(self, value: object) -> bool:
        """Whether a value is one of these."""
        if isinstance(value, str):
            return value in self.names
        if isinstance(value, bool) or not isinstance(value, int | self.type):
            return False
        # The bounds keep nan out, and whole numbers of a file that are longer than any float.
        return self.least <= value <= self.most

    def __str__(self) -> str:
        number = "an integer" if self.type is int else "a number"
        if self.most != sys.float_info.max:
            number += f" from {self.least:g} to {self.most:.0f}"
        elif self.type is int and self.least == 1:
            number = "a positive integer"
        else:
            number += f" of at least {self.least:g}"
        return " or ".join(filter(None, (", ".join(map(repr, self.names)), number)))


def _seconds(default: float | None = None) -> Parameter:
    return Parameter(float, default)


def _bytes(default: int, least: int = 0) -> Parameter:
    return Parameter(int, default, least, _LONGEST_DATAGRAM)


_COUNT = Parameter(int, least=1)
_SEED = Parameter(int, 0)


#: What chooses where and when a fault strikes, whatever it is.
SELECTORS = ("service", "transport", "connection", "request", "when", "times", "chance", "seed")
# Those that make sense before there is any request.
_OF_CONNECTIONS = ("transport", "connection", "times", "chance", "seed")


@attrs.frozen
class Kind:
    """One fault of the vocabulary.

    Attributes:
        meaning: what the client's socket sees.
        before: it makes sense without executing the request.
        hits_connections: it strikes a connection as it is accepted, not a request.
    """

    meaning: str
    transports: frozenset[str]
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    before: bool = False
    hits_connections: bool = False

    @property
    def selectors(self) -> tuple[str, ...]:
        """The selectors that it takes."""
        return _OF_CONNECTIONS if self.hits_connections else SELECTORS


VOCABULARY: dict[str, Kind] = {
    "latency": Kind(
        "the reply comes late, by up to jitter more",
        TCP,
        {"seconds": _seconds(), "jitter": _seconds(0.0)},
        before=True,
    ),
    "bandwidth": Kind(
        "the reply comes at this rate", TCP, {"bytes_per_second": Parameter(float, least=1)}
    ),
    "slice": Kind(
        "the reply comes in pieces: cut at a byte, in the middle, or before-lf",
        TCP,
        {
            "at": Parameter(int, "middle", least=1, names=("middle", "before-lf")),
            "pause": _seconds(0.05),
        },
    ),
    "coalesce": Kind(
        "replies are held until there are that many, or for that long, and come at once",
        TCP,
        {"replies": attrs.evolve(_COUNT, default=2), "seconds": _seconds(1.0)},
    ),
    "close": Kind("FIN in place of the reply", TCP, before=True),
    "reset": Kind("RST in place of the reply", TCP, before=True),
    "half-close": Kind(
        "FIN in place of the reply; what the client sends is discarded", TCP, before=True
    ),
    "stall": Kind("nothing comes any more; the connection stays", TCP, before=True),
    "truncate": Kind(
        "the first bytes of the reply; over TCP, then FIN", BOTH, {"bytes": _bytes(1)}
    ),
    "garbage": Kind(
        "random bytes in place of the reply, then FIN",
        TCP,
        {"bytes": _bytes(64), "seed": _SEED},
        before=True,
    ),
    "no-terminator": Kind("the reply without its last LF; the connection stays", TCP),
    "accept-close": Kind(
        "the connection is accepted, and closed without a word", TCP, hits_connections=True
    ),
    "drop": Kind("no reply", UDP, before=True),
    "duplicate": Kind("the reply comes that many times", UDP, {"copies": _bytes(2, least=2)}),
    "reorder": Kind(
        "the reply comes after that many others, or that long",
        UDP,
        {"replies": attrs.evolve(_COUNT, default=1), "seconds": _seconds(1.0)},
    ),
    "delay": Kind(
        "the reply comes late, by up to jitter more",
        UDP,
        {"seconds": _seconds(), "jitter": _seconds(0.0)},
        before=True,
    ),
    "corrupt": Kind(
        "some bytes of the reply are changed", UDP, {"bytes": _bytes(1, least=1), "seed": _SEED}
    ),
    "oversize": Kind(
        "the reply is padded to this many bytes", UDP, {"bytes": _bytes(2000, least=1)}
    ),
    "wrong-source": Kind("the reply comes from another port", UDP),
}


def known(kind: str) -> Kind:
    """Return what the vocabulary says of ``kind``."""
    # Not `get`: what a file or a test has need not be a str, nor hashable.
    if kind not in list(VOCABULARY):
        raise FaultError(f"unknown fault {kind!r}; {_instead(kind, VOCABULARY)}")
    return VOCABULARY[kind]


def _instead(said: object, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(said), names, 1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"


# ---- selectors ---------------------------------------------------------------------------------


def check_key(kind: str, word: Kind, key: str) -> None:
    """Check that a fault has such a parameter or selector."""
    takes = dict.fromkeys((*word.parameters, *word.selectors))
    if key in takes:
        return
    if key in SELECTORS:
        raise FaultError(f"fault {kind!r} strikes before any request: it takes no {key}")
    raise FaultError(f"fault {kind!r} has no parameter {key!r}; {_instead(key, takes)}")


def check_when(kind: str, word: Kind, when: object) -> None:
    """Check whether the fault makes sense then."""
    if when not in ("before", "after"):
        raise FaultError(f"when must be 'before' or 'after', got {when!r}")
    if when == "before" and not word.before:
        raise FaultError(f"fault {kind!r} needs a reply: when must be 'after', got 'before'")


def check_transport(transport: object, kind: str, word: Kind) -> None:
    """Check whether the fault works over that transport."""
    if transport is None:
        return
    if transport not in ("tcp", "udp"):
        raise FaultError(f"transport must be 'tcp' or 'udp', got {transport!r}")
    if transport not in word.transports:
        raise FaultError(works_over(kind))


def works_over(kind: str) -> str:
    """Return what transport a fault works over, as a sentence."""
    (transport,) = VOCABULARY[kind].transports
    return f"fault {kind!r} works over {transport.upper()} only"


def check_chance(chance: object, seed: object, word: Kind, *, is_random: bool) -> None:
    """Check a probability, and the seed of its random numbers or of others."""
    if seed is not None and type(seed) is not int:
        raise FaultError(f"seed must be an integer, got {seed!r}")
    if seed is not None and not is_random and "seed" not in word.parameters:
        raise FaultError("seed needs chance, or jitter")
    if chance is not None and (
        isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1
    ):
        raise FaultError(f"chance must be a number from 0 to 1, got {chance!r}")


def checked_service(service: object) -> str | None:
    """Return the service that a fault is for."""
    if service is not None and not (
        isinstance(service, str) and grammar.NAME.fullmatch(service.encode("utf-8", "replace"))
    ):
        raise FaultError(f"service must be a name (a-z, then a-z 0-9 - . _), got {service!r}")
    return service


def checked_times(times: object) -> int | None:
    """Return how often a fault may strike."""
    if times is None:
        return None
    if type(times) is not int or times < 1:
        raise FaultError(f"times must be a positive integer, got {times!r}")
    return times


def checked_numbers(name: str, numbers: object) -> frozenset[int] | None:
    """Return the numbers that a selector names."""
    if numbers is None:
        return None
    row = numbers if isinstance(numbers, list | tuple | set | frozenset | range) else [numbers]
    if not row or any(type(number) is not int or number < 1 for number in row):
        raise FaultError(f"{name} must be a positive integer or several, got {numbers!r}")
    return frozenset(row)


# ---- parameters --------------------------------------------------------------------------------


def checked_parameters(kind: str, word: Kind, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the parameters, with defaults where none is given."""
    values = {}
    for name, parameter in word.parameters.items():
        value = given.get(name, parameter.default)
        if value is None:
            raise FaultError(f"fault {kind!r} needs {name}")
        if not parameter.takes(value):
            raise FaultError(f"fault {kind!r}: {name} must be {parameter}, got {value!r}")
        values[name] = value
    return values
