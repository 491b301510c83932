"""Why a fault never struck: how often it was selected, and the unit that came nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from esps_portal.faults.fault import Fault, NearMiss, Obstacle, Unit
from esps_portal.faults.fault_types import VOCABULARY, works_over
from esps_portal.journal.records import RecordedCall
from esps_portal.journal.transcript import where
from esps_portal.mock.matching import shown
from esps_portal.mock.stubs import shown_call


def describe_never_struck(fault: Fault, *, in_force: bool) -> str:
    """Return a fault that never struck for a report: two lines."""
    return f"fault never struck: {fault}\n    {why_never_struck(fault, in_force=in_force)}"


def why_never_struck(fault: Fault, *, in_force: bool) -> str:
    """Return how often it was selected, the nearest unit, and why it did not strike that."""
    selected = f"selected {fault.selected} time{'s' * (fault.selected != 1)}"
    return f"{selected}; {_why(fault, in_force=in_force)}"


def _why(fault: Fault, *, in_force: bool) -> str:
    miss = _nearest(fault)
    if miss is None:
        came = "connection was accepted" if _hits_connections(fault) else "request came"
        return f"no {came} {'after it was placed' if in_force else 'before it was removed'}"
    if miss.obstacle is Obstacle.NO_CHANGE:
        return f"it changes nothing in the reply, which is {miss.number} bytes long"
    unit = _described(miss.unit)
    return f"nearest: {unit}: {_obstacle(fault, miss)}" if unit else _obstacle(fault, miss)


def _nearest(fault: Fault) -> NearMiss | None:
    """Return the nearest unit: among calls of other services the one whose name is most alike."""
    miss = fault.nearest
    if miss is None or miss.obstacle is not Obstacle.SERVICE or not fault.passed:
        return miss
    service = (fault.service or "").encode()
    names = [name.decode("latin-1") for name in fault.passed]
    (alike, *_) = difflib.get_close_matches(service.decode(), names, 1, cutoff=0)
    return NearMiss(Obstacle.SERVICE, fault.passed[alike.encode("latin-1")])


def _obstacle(  # noqa: PLR0911 - one for each obstacle
    fault: Fault, miss: NearMiss
) -> str:
    unit = miss.unit
    if miss.obstacle is Obstacle.TRANSPORT:
        came = unit.transport.upper()
        if unit.transport in VOCABULARY[fault.kind].transports:
            return f"it came over {came}, not {(fault.transport or '').upper()}"
        return f"it came over {came}; {works_over(fault.kind)}"
    if miss.obstacle is Obstacle.SERVICE:
        if unit.service is None:
            return f"it calls no service; this is a fault of {fault.service!r}"
        return f"service is {shown(unit.service)}, not {fault.service!r}"
    if miss.obstacle is Obstacle.CONNECTION:
        return _never_came("connection", fault.connection, fault.connections_matched) or (
            f"it is connection {miss.number}, not {_list(fault.connection)}"
        )
    if miss.obstacle is Obstacle.REQUEST:
        return _never_came("request", fault.request, fault.requests_matched)
    if miss.obstacle is Obstacle.TAKEN:
        return "an earlier fault took it"
    return "no reply was sent that it could change"


def _never_came(name: str, wanted: frozenset[int] | None, matched: int) -> str:
    """Return that so high a number never came; empty where it did."""
    if not wanted or min(wanted) <= matched:
        return ""
    several = len(wanted) > 1
    return (
        f"{name}{'s' * several} {_list(wanted)} never came:"
        f" {matched} {name}{'s' * (matched != 1)} matched"
    )


def _list(numbers: Iterable[int] | None) -> str:
    return ", ".join(map(str, sorted(numbers or ())))


def _hits_connections(fault: Fault) -> bool:
    return VOCABULARY[fault.kind].hits_connections


def _described(unit: Unit) -> str:
    """Return a unit as the transcript has it; empty where the journal has no record of it."""
    record = unit.record
    if record is None:
        return ""
    if not isinstance(record, RecordedCall):
        return f"tcp #{record.number}"
    name = record.service.encode() if record.is_call else record.verb.encode()
    return f"{shown_call(name, record.args)} ({where(record)})"
