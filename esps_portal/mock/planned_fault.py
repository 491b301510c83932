"""A fault of a scenario, or a schedule of faults: its selectors and parameters, as given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS, find_fault_type
from esps_portal.faults.matching import Match
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.place import PORTAL_WITH_CERTIFICATES, Place
from esps_portal.faults.selectors import check_key
from esps_portal.given_numbers import shown_value
from esps_portal.journal.values import ScenarioError, ValueTable, join_path, read_bool, read_text
from esps_portal.mock.match_values import match_to_value, read_match
from esps_portal.protocol.escape import shorten
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Selectors that are never None.
_DEFAULTS = {"when": "after", "to": "client", "offset": 0}
# Selectors that search bytes.
_MATCHES = {"match", "reply_match"}
# Characters of an error that quotes a value.
_MAX_ERROR_TEXT = 300


@attrs.frozen
class PlannedFault:
    """The plan of a fault.

    Attributes:
        options: selectors and parameters, for `Fault.create`; without those that are defaults.
        optional: a strict test does not fail if it never strikes.
    """

    kind: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    optional: bool = False

    @classmethod
    def of(cls, fault: Fault) -> PlannedFault:
        """Return the plan of a placed fault; its strikes do not count."""
        options: dict[str, Any] = {}
        for selector in SELECTORS:
            value = getattr(fault, selector)
            if isinstance(value, frozenset):
                value = sorted(value)
            if isinstance(value, Match):
                value = value.given
            if value is not None and _DEFAULTS.get(selector) != value:
                options[selector] = value
        known = FAULT_TYPES[fault.kind].parameters
        given = fault.parameters.items()
        options |= {name: value for name, value in given if value != known[name].default}
        return cls(fault.kind, options, fault.is_optional)

    def make(self, path: str = "", where: Place | None = None) -> Fault:
        """Return a new fault. A fault by chance without a seed gets one.

        Args:
            path: of the fault in the scenario, for an error.
            where: it has to make sense there; ``None``: that is checked later.

        Raises:
            ScenarioError: an option is unknown, its value is wrong, or makes no sense.
        """

        def make(**options: Any) -> Fault:  # noqa: ANN401 - `create` checks each by its name
            made = Fault.create(self.kind, **options)
            if where is not None:
                where.check(made)
            return made

        try:
            fault = make(**self.options)
        except FaultError as error:
            key = offending_key(make, self.options, error)
            raise ScenarioError(
                join_path(path, key), shorten(str(error), _MAX_ERROR_TEXT)
            ) from error
        fault.is_optional = self.optional
        return fault


def make_faults(plans: Iterable[PlannedFault], path: str, where: Place) -> list[Fault]:
    """Return new faults for a server, which are not placed.

    Args:
        path: of the server in the scenario, for an error.

    Raises:
        ScenarioError: as `PlannedFault.make` does.
    """
    return [p.make(join_path(path, f"faults[{n}]"), where) for n, p in enumerate(plans)]


def checked_schedule(schedule: object) -> list[PlannedFault]:
    """Return the faults of a schedule.

    Raises:
        TypeError: it is not several of them.
    """
    several: list[Any] = list(schedule) if isinstance(schedule, Iterable) else [None]
    if all(isinstance(planned, PlannedFault) for planned in several):
        return several
    raise TypeError(f"a schedule is a list of PlannedFault(...), got {shown_value(schedule)}")


def offending_key(
    make: Callable[..., object], options: Mapping[str, Any], error: ValueError
) -> str:
    """Return the key that makes ``make(**options)`` raise ``error``: without it, it does not.

    Of several it is the one that the error names: without a required key the error is another one.
    """
    keys = []
    for key in options:
        try:
            make(**{name: value for name, value in options.items() if name != key})
        except ValueError as another:
            if str(another) == str(error):
                continue
        keys.append(key)
    named = (key for key in keys if re.search(rf"\b{re.escape(key)}\b", str(error)))
    return next(named, keys[0] if keys else "")


# ---- values ------------------------------------------------------------------------------------


def read_fault(
    value: object, path: str = "", *, where: Place | None = PORTAL_WITH_CERTIFICATES
) -> PlannedFault:
    """Return the plan of a fault of a scenario.

    Args:
        path: of the fault there, for an error.
        where: it has to make sense there; ``None``: that is checked later.

    Raises:
        ScenarioError: a key is wrong.
    """
    table = ValueTable.of(value, path, None)
    kind = table.required("fault", read_text)
    try:
        fault_type = find_fault_type(kind)
    except FaultError as error:
        raise table.error("fault", str(error)) from error
    options = {
        key: value for key, value in table.values.items() if key not in ("fault", "optional")
    }
    for key in options:
        try:
            check_key(kind, fault_type, key)
        except FaultError as error:
            raise table.error(key, str(error)) from error
    for key in _MATCHES & options.keys():
        options[key] = table.required(key, read_match)
    planned = PlannedFault(kind, options, table.get("optional", read_bool, default=False))
    planned.make(path, where)
    return planned


def fault_to_values(fault: PlannedFault, path: str = "") -> dict[str, Any]:
    """Return a fault as values for TOML or JSON.

    Raises:
        ScenarioError: it has a predicate, which cannot be written.
    """
    options = {key: value[0] if _is_one(value) else value for key, value in fault.options.items()}
    for key in _MATCHES & options.keys():
        options[key] = match_to_value(options[key], f"{path}.{key}")
    values = {"fault": fault.kind, **options}
    return values | {"optional": True} if fault.optional else values


def _is_one(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1
