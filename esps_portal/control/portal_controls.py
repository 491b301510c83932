"""The controls of a scripted portal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.routes import SERVER_ROUTES, STUB_ROUTES
from esps_portal.faults.fault import Fault
from esps_portal.mock.scenario import PlannedStub, Scenario, place_all
from esps_portal.mock.scenario_reading import read_scenario, read_stub
from esps_portal.mock.scenario_writing import scenario_to_values, stub_to_values
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.mock.verification import find_problems, problem_report
from esps_portal.net.port_control import PortControl


def portal_controls(
    portal: ScriptedPortal, ports: PortControl, on_fault: Callable[[Fault], None] = lambda _: None
) -> ServerControls:
    """Return the controls of a portal that is served on these ports.

    Args:
        on_fault: called with each fault that is placed through them; its seed is chosen by then.
    """
    script = portal.script

    def make(value: object) -> tuple[list[Stub], list[Fault]]:
        return read_scenario(value).make(portal)

    async def replace(value: object) -> list[Fault]:
        # A body holds 20,000 stubs, which take a second: others have their turn meanwhile.
        stubs, faults = await trio.to_thread.run_sync(make, value)
        script.stubs.clear()
        script.faults.clear()
        place_all(portal, stubs, faults)
        return faults

    return ServerControls(
        routes={**STUB_ROUTES, **SERVER_ROUTES},
        state=portal,
        ports=ports,
        stubs=_PortalStubs(portal),
        waits_for=("service",),
        find_problems=partial(find_problems, script),
        report=partial(problem_report, script),
        scenario=partial(_scenario, portal),
        replace=replace,
        on_fault=on_fault,
    )


def _scenario(portal: ScriptedPortal) -> dict[str, Any]:
    """Return what is placed as a scenario has it; each stub is written while it is sent."""
    stubs = portal.script.stubs.all
    values = scenario_to_values(Scenario.without_stubs(portal))
    return {"stubs": map(_planned, stubs), **values} if stubs else values


@attrs.frozen
class _PortalStubs:
    """The stubs of a portal; see `StubControls`."""

    _portal: ScriptedPortal

    def all(self) -> Iterator[dict[str, Any]]:
        """Return the stubs that are placed now, in order."""
        return map(_values, self._portal.script.stubs.all)

    def place(self, value: object) -> dict[str, Any]:
        """Place a stub of a scenario. Raises `ScenarioError`."""
        stub = read_stub(value).make(self._portal.limits.longest_reply)
        return _values(self._portal.script.stubs.place(stub))

    def remove(self, name: str) -> bool:
        """Remove the stub with an ID; return whether there was one."""
        stubs = self._portal.script.stubs
        stub = next((each for each in stubs.all if str(each.number) == name), None)
        if stub is not None:
            stubs.remove(stub)
        return stub is not None


def _values(stub: Stub) -> dict[str, Any]:
    return {"id": str(stub.number), **_planned(stub), "used": stub.used}


def _planned(stub: Stub) -> dict[str, Any]:
    return stub_to_values(PlannedStub.of(stub))
