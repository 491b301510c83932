"""Checks the selectors and parameters that a test, a file or a command line gives a fault."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

from esps_portal.faults.fault_types import (
    FAULT_TYPES,
    SELECTORS,
    TIMED,
    FaultType,
    find_fault_type,
    parameter_hint,
)
from esps_portal.faults.matching import Match
from esps_portal.faults.parameters import FaultError
from esps_portal.given_numbers import MAX_INTEGER, is_integer, is_seconds, shown_value
from esps_portal.protocol import grammar
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: Selectors that count bytes of a connection, so they make no sense for datagrams.
OF_CONNECTIONS = frozenset({"offset", "unit"})
# They select units: a fault of a whole connection, or of a moment, has none of them.
_OF_UNITS = ("service", "request", "reply", "match", "reply_match")


def checked_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Fault` for what was given, checked, except ``kind``.

    Raises:
        FaultError: there is no such fault or option, or a value is not allowed.
    """
    fault_type = find_fault_type(kind)
    for key in options:
        check_key(kind, fault_type, key)
    _check_together(kind, fault_type, options)
    options = _with_seed(options, fault_type)
    age = _checked_age(kind, options)
    return {
        "parameters": _checked_parameters(kind, fault_type, options),
        "when": options.get("when", "after"),
        "service": _checked_service(options.get("service")),
        "transport": options.get("transport"),
        "connection": _checked_numbers("connection", options.get("connection")),
        "request": _checked_numbers("request", options.get("request")),
        "reply": _checked_numbers("reply", options.get("reply"), minimum=0),
        "match": _checked_match("match", options.get("match")),
        "reply_match": _checked_match("reply_match", options.get("reply_match")),
        "offset": _checked_offset(options.get("offset")),
        "to": options.get("to") or "client",
        "unit": options.get("unit"),
        "age": age,
        "times": _checked_times(options.get("times")),
        "chance": options.get("chance"),
        "seed": options.get("seed"),
        "given": frozenset(key for key, value in options.items() if value is not None),
    }


def check_key(kind: str, fault_type: FaultType, key: str) -> None:
    """Check that a fault has such a parameter or selector."""
    allowed = dict.fromkeys((*fault_type.parameters, *fault_type.selectors))
    if key in allowed:
        return
    if key in SELECTORS:
        raise FaultError(f"fault {kind!r} strikes before any request: it has no {key}")
    raise FaultError(f"fault {kind!r} has no parameter {key!r}; {parameter_hint(key, allowed)}")


def _check_together(kind: str, fault_type: FaultType, options: Mapping[str, object]) -> None:
    """Check selectors that depend on each other, or on the type of the fault."""
    given = {key for key, value in options.items() if value is not None}
    _check_when(kind, fault_type, options, given)
    _check_transport(options.get("transport"), kind, fault_type)
    _check_to(kind, options, given)
    _check_unit(options, given)
    _check_stream_keys(kind, fault_type, options, given)
    _check_greeting(options, given)
    if given >= {"at", "every"}:
        raise FaultError(f"fault {kind!r} takes either at or every, not both")


def _check_stream_keys(
    kind: str, fault_type: FaultType, options: Mapping[str, object], given: set[str]
) -> None:
    if options.get("reply") == 0 and "tcp" not in fault_type.transports:
        raise FaultError("reply=0 is what a server sends first on a connection: UDP has none")
    keys = given & OF_CONNECTIONS
    if not keys or ("tcp" in fault_type.transports and options.get("transport") != "udp"):
        return
    why = works_over(kind) if len(fault_type.transports) == 1 else "transport is 'udp'"
    raise FaultError(f"{min(keys)} is for connections, and {why}")


def _check_when(
    kind: str, fault_type: FaultType, options: Mapping[str, object], given: set[str]
) -> None:
    when = options.get("when", "after")
    if when not in ("before", "after"):
        raise FaultError(f"when must be 'before' or 'after', got {shown_value(when)}")
    if when == "after":
        return
    if not fault_type.allows_before:
        raise FaultError(f"fault {kind!r} needs a reply: when must be 'after', got 'before'")
    for key in ("reply", "reply_match", "offset"):
        if key in given:
            raise FaultError(f"with when='before' there is no reply: leave out {key}")


def _check_transport(transport: object, kind: str, fault_type: FaultType) -> None:
    if transport is None:
        return
    if transport not in ("tcp", "udp"):
        raise FaultError(f"transport must be 'tcp' or 'udp', got {shown_value(transport)}")
    if transport not in fault_type.transports:
        raise FaultError(works_over(kind))


def _check_to(kind: str, options: Mapping[str, object], given: set[str]) -> None:
    to = options.get("to")
    if to not in (None, "client", "server"):
        raise FaultError(f"to must be 'client' or 'server', got {shown_value(to)}")
    if to is not None and kind == "deaf":
        raise FaultError("fault 'deaf' is about what the client sends: it has no to")
    if to != "server":
        return
    for key in ("when", "reply", "reply_match"):
        if key in given:
            raise FaultError(f"to='server' strikes the request itself: leave out {key}")


def _check_unit(options: Mapping[str, object], given: set[str]) -> None:
    unit = options.get("unit")
    if unit not in (None, "connection"):
        raise FaultError(
            f"unit must be 'connection', got {shown_value(unit)}: leave it out for replies"
        )
    if unit is None:
        return
    for key in (*_OF_UNITS, "when"):
        if key in given:
            raise FaultError(f"{key} selects replies: leave out either it or unit='connection'")


def _check_greeting(options: Mapping[str, object], given: set[str]) -> None:
    reply = options.get("reply")
    numbers = reply if isinstance(reply, Collection) and not isinstance(reply, str) else [reply]
    if 0 not in numbers:
        return
    for key in ("service", "request", "match"):
        if key in given:
            raise FaultError(
                f"reply 0 is what the server sends before any request: leave out either it or {key}"
            )


def _selects_units(options: Mapping[str, object]) -> bool:
    """Whether a selector is given that only a unit can match."""
    return any(options.get(key) is not None for key in _OF_UNITS)


def works_over(kind: str) -> str:
    """Return a sentence that says over which transport a fault works."""
    (transport,) = FAULT_TYPES[kind].transports
    return f"fault {kind!r} works over {transport.upper()} only"


def _with_seed(options: Mapping[str, Any], fault_type: FaultType) -> Mapping[str, Any]:
    """Return the options with a seed where chance or jitter need one that was not given.

    A kind with a seed parameter uses the same number: one seed reproduces the fault.
    """
    chance, seed = options.get("chance"), options.get("seed")
    is_random = chance is not None or bool(options.get("jitter"))
    _check_chance(chance, seed, fault_type, is_random=is_random)
    if not is_random or seed is not None:
        return options
    return {**options, "seed": secrets.randbits(32)}


def _check_chance(chance: object, seed: object, fault_type: FaultType, *, is_random: bool) -> None:
    """Check a probability, and a seed: of that, of jitter, or of the fault's own bytes."""
    if seed is not None and not is_integer(seed, -MAX_INTEGER):
        raise FaultError(f"seed must be an integer, got {shown_value(seed)}")
    if seed is not None and not is_random and "seed" not in fault_type.parameters:
        raise FaultError("seed needs chance, or jitter")
    if chance is not None and (
        isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 < chance <= 1
    ):
        raise FaultError(f"chance must be greater than 0 and at most 1, got {shown_value(chance)}")


def _checked_service(service: object) -> str | None:
    """Return a service selector, checked."""
    if service is not None and not (
        isinstance(service, str) and grammar.NAME.fullmatch(service.encode("utf-8", "replace"))
    ):
        raise FaultError(
            f"service must be a name (a-z, then a-z 0-9 - . _), got {shown_value(service)}"
        )
    return service


def _checked_times(times: object) -> int | None:
    """Return how often a fault may strike, checked."""
    if times is None:
        return None
    if not is_integer(times, 1):
        raise FaultError(f"times must be a positive integer, got {shown_value(times)}")
    return times


def _checked_numbers(name: str, numbers: object, *, minimum: int = 1) -> frozenset[int] | None:
    """Return the numbers of a selector: one integer, or several."""
    if numbers is None:
        return None
    found = numbers if isinstance(numbers, list | tuple | set | frozenset | range) else [numbers]
    if not found or not all(is_integer(number, minimum) for number in found):
        integer = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise FaultError(f"{name} must be {integer} or several, got {shown_value(numbers)}")
    return frozenset(found)


def _checked_offset(offset: object) -> int:
    """Return how many bytes of a unit pass before a fault, checked."""
    if offset is None:
        return 0
    if not is_integer(offset):
        raise FaultError(f"offset must be a number of bytes, 0 or more, got {shown_value(offset)}")
    return offset


def _checked_age(kind: str, options: Mapping[str, object]) -> float | None:
    """Return the age of a connection in seconds, checked."""
    age = options.get("age")
    if age is None:
        return None
    if not is_seconds(age):
        raise FaultError(f"age must be a number of seconds, 0 or more, got {shown_value(age)}")
    if kind in TIMED and "offset" in options and not _selects_units(options):
        raise FaultError("a fault at an age strikes at once: leave out offset")
    return float(age)


def _checked_match(name: str, match: object) -> Match | None:
    """Return a selector of bytes."""
    if match is None:
        return None
    try:
        return Match.of(name, match)
    except (TypeError, ValueError) as error:
        raise FaultError(str(error)) from error


def _checked_parameters(
    kind: str, fault_type: FaultType, given: Mapping[str, object]
) -> dict[str, Any]:
    """Return the parameters, checked, with the defaults of those that are not given."""
    values: dict[str, Any] = {}
    for name, parameter in fault_type.parameters.items():
        value = given.get(name, parameter.default)
        if value is None and not parameter.is_optional:
            raise FaultError(f"fault {kind!r} needs {name}")
        if value is not None and not parameter.accepts(value):
            raise FaultError(
                f"fault {kind!r}: {name} must be {parameter}, got {shown_value(value)}"
            )
        values[name] = value
    if "jitter" in values and not (values["seconds"] or values["jitter"]):
        raise FaultError(f"{kind}: seconds or jitter must be greater than 0")
    return values
