"""The controls of a proxy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from esps_portal.control.controls import ServerControls
from esps_portal.control.routes import SERVER_ROUTES
from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ValueTable, read_list
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values, read_fault
from esps_portal.net.port_control import PortControl
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.verification import find_problems, problem_report


def proxy_controls(
    state: ProxyState, ports: PortControl, on_fault: Callable[[Fault], None] = lambda _: None
) -> ServerControls:
    """Return the controls of a proxy that is served on these ports.

    Args:
        on_fault: called with each fault that is placed through them; its seed is chosen by then.
    """

    async def replace(value: object) -> list[Fault]:
        return replace_faults(state, value)

    # The exchanges of a portal are its calls.
    waits_for = ("service", "match") if state.upstream.is_esps else ("match",)
    return ServerControls(
        routes=SERVER_ROUTES,
        state=state,
        ports=ports,
        waits_for=waits_for,
        find_problems=partial(find_problems, state),
        report=partial(problem_report, state),
        scenario=partial(_scenario, state),
        replace=replace,
        on_fault=on_fault,
    )


def replace_faults(state: ProxyState, value: object) -> list[Fault]:
    """Place the faults of a scenario in place of those of a proxy: all of them, or none.

    Raises:
        ScenarioError: it has something else, or a fault makes no sense there.
    """
    where = state.faults.where
    table = ValueTable.of(value, "", ("faults",))
    plans: tuple[PlannedFault, ...] = table.get(
        "faults", partial(read_list, partial(read_fault, where=where)), ()
    )
    faults = [plan.make() for plan in plans]
    state.faults.clear()
    return [state.faults.place(fault) for fault in faults]


def _scenario(state: ProxyState) -> dict[str, Any]:
    faults = [fault_to_values(PlannedFault.of(fault)) for fault in state.faults.in_force]
    return {"faults": faults} if faults else {}
