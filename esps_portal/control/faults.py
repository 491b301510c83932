"""The faults of a server: ``/faults`` and ``/faults/ID``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.control.http_messages import HttpError, Reply
from esps_portal.faults.fault import Fault
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values, read_fault


def list_faults(controls: ServerControls, _: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the faults in force, in the order of placing."""
    return map(_values, list(controls.state.faults.in_force))


def place_fault(controls: ServerControls, request: EndpointRequest) -> Reply:
    """Place a fault."""
    fault = read_fault(request.value, where=controls.state.faults.where).make()
    controls.state.faults.place(fault)
    controls.on_fault(fault)
    return Reply(_values(fault), 201)


def remove_fault(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """End a fault; return what it has done."""
    fault = controls.fault(request.name)
    if fault is None:
        raise no_fault(request.name)
    controls.remove_fault(fault)
    return _values(fault)


def remove_faults(controls: ServerControls, _: EndpointRequest) -> list[dict[str, Any]]:
    """End all faults at once; return what they have done."""
    return [_values(fault) for fault in controls.remove_faults()]


def no_fault(name: str) -> HttpError:
    """Return the error that there is no fault with an ID."""
    return HttpError(404, f"no fault has the ID {name[:40]!r}; a reset forgets them")


def _values(fault: Fault) -> dict[str, Any]:
    """Return a fault as a scenario has it, with its ID, how often it struck, and its text."""
    planned = fault_to_values(PlannedFault.of(fault))
    return {
        "id": str(fault.number),
        **planned,
        "happened": fault.happened,
        "text": str(fault),
    }
