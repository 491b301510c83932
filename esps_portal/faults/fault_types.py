"""The fault types: the name of each, what it makes a client see, and its parameters.

The fixture, scenario files, the command line and the control port share this table; an unknown
name or a wrong value is an error at once.
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

# The longest UDP payload over IPv4, in bytes: 65535 less 20 of IP header (RFC 791, section 3.1) and
# 8 of UDP header (RFC 768).
_MAX_DATAGRAM = 65507


class FaultError(ValueError):
    """An unknown fault, an unknown parameter or selector, or a wrong value."""


@attrs.frozen
class Parameter:
    """The values of one parameter of a fault.

    Attributes:
        type: `float` is any finite number, `int` an integer.
        default: ``None``: the parameter is required.
        minimum, maximum: the bounds of a number, both included.
        names: allowed in place of a number.
    """

    type: type[float]
    default: float | str | None = None
    minimum: float = 0
    maximum: float = sys.float_info.max
    names: tuple[str, ...] = ()

    def accepts(self, value: object) -> bool:
        """Whether the parameter may have this value."""
        if isinstance(value, str):
            return value in self.names
        if isinstance(value, bool) or not isinstance(value, int | self.type):
            return False
        # The bounds exclude nan, and integers that no float can hold.
        return self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        number = "an integer" if self.type is int else "a number"
        if self.maximum != sys.float_info.max:
            number += f" from {self.minimum:g} to {self.maximum:.0f}"
        elif self.type is int and self.minimum == 1:
            number = "a positive integer"
        else:
            number += f" of at least {self.minimum:g}"
        return " or ".join(filter(None, (", ".join(map(repr, self.names)), number)))


def _seconds(default: float | None = None, minimum: float = 0) -> Parameter:
    return Parameter(float, default, minimum)


def _bytes(default: int, minimum: int = 0) -> Parameter:
    return Parameter(int, default, minimum, _MAX_DATAGRAM)


# Seconds; a fault that holds a reply for less would pass a test without having done anything.
_SOME_TIME = 0.001
_COUNT = Parameter(int, minimum=1)
_SEED = Parameter(int, 0)


#: What chooses where and when a fault strikes; the same for all types.
SELECTORS = ("service", "transport", "connection", "request", "when", "times", "chance", "seed")
# Those that make sense before any request.
_CONNECTION_SELECTORS = ("transport", "connection", "times", "chance", "seed")


@attrs.frozen
class FaultType:
    """One type of fault.

    Attributes:
        meaning: what the client's socket sees.
        transports: ``tcp``, ``udp`` or both.
        parameters: by name.
        allows_before: it may strike before the request is executed (``when="before"``).
        hits_connections: it strikes a connection as it is accepted, not a request.
    """

    meaning: str
    transports: frozenset[str]
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    allows_before: bool = False
    hits_connections: bool = False

    @property
    def selectors(self) -> tuple[str, ...]:
        """The selectors that it has."""
        return _CONNECTION_SELECTORS if self.hits_connections else SELECTORS


FAULT_TYPES: dict[str, FaultType] = {
    "latency": FaultType(
        "the reply comes late, by up to jitter more",
        TCP,
        {"seconds": _seconds(), "jitter": _seconds(0.0)},
        allows_before=True,
    ),
    "bandwidth": FaultType(
        "the reply comes at this rate", TCP, {"bytes_per_second": Parameter(float, minimum=1)}
    ),
    "slice": FaultType(
        "the reply comes in pieces: cut at a byte, in the middle, or before-lf",
        TCP,
        {
            "at": Parameter(int, "middle", minimum=1, names=("middle", "before-lf")),
            "pause": _seconds(0.05),
        },
    ),
    "coalesce": FaultType(
        "replies are held until there are that many, or for that long, and come at once",
        TCP,
        {"replies": attrs.evolve(_COUNT, default=2), "seconds": _seconds(1.0, _SOME_TIME)},
    ),
    "close": FaultType("FIN in place of the reply", TCP, allows_before=True),
    "reset": FaultType("RST in place of the reply", TCP, allows_before=True),
    "half-close": FaultType(
        "FIN in place of the reply; what the client sends is discarded", TCP, allows_before=True
    ),
    "stall": FaultType("nothing comes any more; the connection stays", TCP, allows_before=True),
    "truncate": FaultType(
        "the first bytes of the reply; over TCP, then FIN", BOTH, {"bytes": _bytes(1)}
    ),
    "garbage": FaultType(
        "random bytes in place of the reply, then FIN",
        TCP,
        {"bytes": _bytes(64), "seed": _SEED},
        allows_before=True,
    ),
    "no-terminator": FaultType("the reply without its last LF; the connection stays", TCP),
    "accept-close": FaultType(
        "the connection is accepted, and closed without a word", TCP, hits_connections=True
    ),
    "drop": FaultType("no reply", UDP, allows_before=True),
    "duplicate": FaultType(
        "the reply comes that many times", UDP, {"copies": _bytes(2, minimum=2)}
    ),
    "reorder": FaultType(
        "the reply comes after that many others, or that long",
        UDP,
        {"replies": attrs.evolve(_COUNT, default=1), "seconds": _seconds(1.0, _SOME_TIME)},
    ),
    "delay": FaultType(
        "the reply comes late, by up to jitter more",
        UDP,
        {"seconds": _seconds(), "jitter": _seconds(0.0)},
        allows_before=True,
    ),
    "corrupt": FaultType(
        "some bytes of the reply are changed", UDP, {"bytes": _bytes(1, minimum=1), "seed": _SEED}
    ),
    "oversize": FaultType(
        "the reply is padded to this many bytes", UDP, {"bytes": _bytes(2000, minimum=1)}
    ),
    "wrong-source": FaultType("the reply comes from another port", UDP),
}


def find_fault_type(kind: str) -> FaultType:
    """Return the fault type with a name.

    Raises:
        FaultError: there is none.
    """
    # Compared, not looked up: a file or a test may give what is not hashable.
    if kind not in list(FAULT_TYPES):
        raise FaultError(f"unknown fault {kind!r}; {_suggestion(kind, FAULT_TYPES)}")
    return FAULT_TYPES[kind]


def _suggestion(wrong: object, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(wrong), names, 1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"


# ---- selectors ---------------------------------------------------------------------------------


def check_key(kind: str, fault_type: FaultType, key: str) -> None:
    """Check that a fault has such a parameter or selector."""
    allowed = dict.fromkeys((*fault_type.parameters, *fault_type.selectors))
    if key in allowed:
        return
    if key in SELECTORS:
        raise FaultError(f"fault {kind!r} strikes before any request: it has no {key}")
    raise FaultError(f"fault {kind!r} has no parameter {key!r}; {_suggestion(key, allowed)}")


def check_when(kind: str, fault_type: FaultType, when: object) -> None:
    """Check that the fault may strike before or after execution, as asked."""
    if when not in ("before", "after"):
        raise FaultError(f"when must be 'before' or 'after', got {when!r}")
    if when == "before" and not fault_type.allows_before:
        raise FaultError(f"fault {kind!r} needs a reply: when must be 'after', got 'before'")


def check_transport(transport: object, kind: str, fault_type: FaultType) -> None:
    """Check that the fault works over a transport."""
    if transport is None:
        return
    if transport not in ("tcp", "udp"):
        raise FaultError(f"transport must be 'tcp' or 'udp', got {transport!r}")
    if transport not in fault_type.transports:
        raise FaultError(works_over(kind))


def works_over(kind: str) -> str:
    """Return a sentence that says over which transport a fault works."""
    (transport,) = FAULT_TYPES[kind].transports
    return f"fault {kind!r} works over {transport.upper()} only"


def check_chance(chance: object, seed: object, fault_type: FaultType, *, is_random: bool) -> None:
    """Check a probability, and a seed: of that, of jitter, or of the fault's own bytes."""
    if seed is not None and type(seed) is not int:
        raise FaultError(f"seed must be an integer, got {seed!r}")
    if seed is not None and not is_random and "seed" not in fault_type.parameters:
        raise FaultError("seed needs chance, or jitter")
    if chance is not None and (
        isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 < chance <= 1
    ):
        raise FaultError(f"chance must be greater than 0 and at most 1, got {chance!r}")


def checked_service(service: object) -> str | None:
    """Return a service selector, checked."""
    if service is not None and not (
        isinstance(service, str) and grammar.NAME.fullmatch(service.encode("utf-8", "replace"))
    ):
        raise FaultError(f"service must be a name (a-z, then a-z 0-9 - . _), got {service!r}")
    return service


def checked_times(times: object) -> int | None:
    """Return how often a fault may strike, checked."""
    if times is None:
        return None
    if type(times) is not int or times < 1:
        raise FaultError(f"times must be a positive integer, got {times!r}")
    return times


def checked_numbers(name: str, numbers: object) -> frozenset[int] | None:
    """Return the numbers of a selector: one integer, or several."""
    if numbers is None:
        return None
    found = numbers if isinstance(numbers, list | tuple | set | frozenset | range) else [numbers]
    if not found or any(type(number) is not int or number < 1 for number in found):
        raise FaultError(f"{name} must be a positive integer or several, got {numbers!r}")
    return frozenset(found)


# ---- parameters --------------------------------------------------------------------------------


def checked_parameters(
    kind: str, fault_type: FaultType, given: Mapping[str, object]
) -> dict[str, Any]:
    """Return the parameters, checked, with the defaults of those that are not given."""
    values = {}
    for name, parameter in fault_type.parameters.items():
        value = given.get(name, parameter.default)
        if value is None:
            raise FaultError(f"fault {kind!r} needs {name}")
        if not parameter.accepts(value):
            raise FaultError(f"fault {kind!r}: {name} must be {parameter}, got {value!r}")
        values[name] = value
    if "jitter" in values and not (values["seconds"] or values["jitter"]):
        raise FaultError(f"{kind}: seconds or jitter must be greater than 0")
    return values
