"""A server as a whole: ``/verify``, ``/reset``, ``/down`` and ``/scenario``."""

from __future__ import annotations

from typing import Any

from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.journal.values import wrong_value
from esps_portal.net.port_outage import OutageKind
from esps_portal.net.quiet import become_quiet


async def verify(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Return what a strict test fails for, once all is answered that has come."""
    request.table()
    await become_quiet(lambda: controls.state.is_busy)
    problems = controls.find_problems()
    report = controls.report(problems) if problems else ""
    return {"ok": not problems, "problems": problems, "report": report}


async def reset(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Forget stubs, faults and journal, end an outage and old connections."""
    request.table()
    await controls.reset()
    return {}


async def go_down(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Take the ports out of service; what was open is then reset."""
    how: OutageKind = request.table("how").get("how", _read_outage, "refuse")
    controls.ports.down(how)
    await controls.ports.until_down()
    return {"how": how}


def come_back(controls: ServerControls, _: EndpointRequest) -> dict[str, Any]:
    """Take the ports into service again."""
    controls.ports.up()
    return {}


def show_scenario(controls: ServerControls, _: EndpointRequest) -> dict[str, Any]:
    """Return what is placed, as a scenario file has it."""
    return controls.scenario()


async def replace_scenario(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Place a scenario in place of what is there; return what is placed then."""
    for fault in await controls.replace(request.value):
        controls.on_fault(fault)
    return controls.scenario()


def _read_outage(value: object, path: str) -> OutageKind:
    if value == "refuse":
        return "refuse"
    if value == "silent":
        return "silent"
    raise wrong_value(path, "'refuse' or 'silent'", value)
