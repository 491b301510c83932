"""The overloads of `fault()` have the same parameters as the fault types at run time."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection
from typing import Any, Literal, get_args, get_origin, is_typeddict

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS
from esps_portal.faults.matching import Matchable
from esps_portal.faults.parameters import FaultError, Parameter
from esps_portal.testing import FaultName
from esps_portal.testing.fault_overloads import PlacesFaults
from tests.cases import cases

Numbers = int | Collection[int] | None
# What makes each selector be taken, if it is: its type in an overload, and a value.
VALUES: dict[str, tuple[object, object]] = {
    "service": (str | None, "echo"),
    "connection": (Numbers, [1, 2]),
    "request": (Numbers, 3),
    "reply": (Numbers, [0, 2]),
    "match": (Matchable | None, b"x"),
    "reply_match": (Matchable | None, "x"),
    "offset": (int | None, 3),
    "unit": (Literal["connection"] | None, "connection"),
    "age": (float | None, 0.5),
    "times": (int | None, 2),
    "chance": (float | None, 0.5),
    "seed": (int | None, 7),
}


def overloads() -> dict[str, dict[str, tuple[object, object]]]:
    """Return for each fault what its overload takes: the type and the default of each name."""
    found = {}
    for overload in typing.get_overloads(PlacesFaults.fault):
        hints = typing.get_type_hints(overload)
        (kind,) = get_args(hints["kind"])
        assert kind not in found, "it has two"
        found[kind] = takes(overload, hints)
    return found


def takes(overload: Callable[..., Any], hints: dict[str, Any]) -> dict[str, tuple[object, object]]:
    found: dict[str, tuple[object, object]] = {}
    for name, parameter in inspect.signature(overload).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            found[name] = hints[name], parameter.default
        elif parameter.kind is parameter.VAR_KEYWORD:
            (selectors,) = get_args(hints[name])
            assert is_typeddict(selectors)
            assert not selectors.__required_keys__
            found |= {key: (hint, None) for key, hint in typing.get_type_hints(selectors).items()}
    return found


OVERLOADS = overloads()
NEEDED: dict[str, dict[str, Any]] = {
    "latency": {"seconds": 1},
    "delay": {"seconds": 1},
    "bandwidth": {"bytes_per_second": 1},
    "patch": {"at": 0, "hex": "00"},
    "certificate": {"problem": "expired"},
}


def test_each_fault_has_one() -> None:
    assert list(OVERLOADS) == list(FAULT_TYPES)
    assert list(get_args(FaultName)) == list(FAULT_TYPES)


@cases("kind", FAULT_TYPES)
def test_parameters(kind: str) -> None:
    """They come first, in the same order, with the same types and defaults."""
    expected = {
        name: (
            typed(parameter),
            default(parameter),
        )
        for name, parameter in FAULT_TYPES[kind].parameters.items()
    }
    overload = list(OVERLOADS[kind].items())
    assert overload[: len(expected)] == list(expected.items())


def default(parameter: Parameter) -> object:
    is_required = parameter.default is None and not parameter.is_optional
    return inspect.Parameter.empty if is_required else parameter.default


def typed(parameter: Parameter) -> object:
    hint: Any = parameter.type
    if parameter.names:
        choices: Any = Literal[parameter.names]
        hint = choices if hint is str else hint | choices
    return hint | None if parameter.is_optional else hint


@cases("kind", FAULT_TYPES)
def test_selectors(kind: str) -> None:
    """A selector is in the overload just where it is taken when it runs."""
    for selector in VALUES.keys() - FAULT_TYPES[kind].parameters:
        hint, value = VALUES[selector]
        with_chance = {"chance": 0.5} if selector == "seed" else {}
        taken = accepts(kind, {selector: value, **with_chance})
        assert OVERLOADS[kind].get(selector) == ((hint, None) if taken else None), selector


@pytest.mark.parametrize(
    ("selector", "values"),
    [("when", ("before", "after")), ("transport", ("tcp", "udp")), ("to", ("client", "server"))],
)
@cases("kind", FAULT_TYPES)
def test_choices(kind: str, selector: str, values: tuple[str, ...]) -> None:
    """Of ``when``, ``transport`` and ``to`` an overload has the values that make sense."""
    taken = {value for value in values if accepts(kind, {selector: value})}
    if not taken:
        assert selector not in OVERLOADS[kind]
        return
    hint, _ = OVERLOADS[kind][selector]
    literal = next(part for part in (hint, *get_args(hint)) if get_origin(part) is Literal)
    assert set(get_args(literal)) == taken


@cases("kind", FAULT_TYPES)
def test_nothing_else(kind: str) -> None:
    assert OVERLOADS[kind].keys() <= {*FAULT_TYPES[kind].parameters, *SELECTORS}


def accepts(kind: str, given: dict[str, Any]) -> bool:
    try:
        Fault.create(kind, **NEEDED.get(kind, {}), **given)
    except FaultError:
        return False
    return True
