"""Proxies that are started beside a server: by a scenario, ``--proxy`` or the control port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from esps_portal.control.named_servers import NamedServers
from esps_portal.control.prepared_server import PreparedServer
from esps_portal.control.proxy_controls import proxy_controls
from esps_portal.faults.fault import Fault
from esps_portal.mock.planned_proxy import PlannedProxy, proxy_to_values, read_proxy
from esps_portal.mock.scenario_reading import read_fault
from esps_portal.mock.scenario_writing import fault_to_values
from esps_portal.proxy.planned import make_state, plan_of
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState


def prepare_proxy(
    plan: PlannedProxy, path: str = "", on_fault: Callable[[Fault], None] = lambda _: None
) -> PreparedServer:
    """Prepare what a scenario says of a proxy.

    Args:
        path: of it there, for an error.
        on_fault: called with each fault that is placed on it.

    Raises:
        ScenarioError: the upstream is none, or a framing or a fault makes no sense there.
    """
    state, faults = make_state(plan, path)

    return PreparedServer(
        noun="proxy",
        name=plan.name,
        serve=partial(serve_proxy, ProxyConfig(state=state, port=0, reserve_port=True)),
        controls=lambda listeners: proxy_controls(state, listeners.ports, on_fault),
        values=partial(_values, plan.name, state),
        start_clock=state.start_clock,
        faults=faults,
        on_fault=on_fault,
    )


def named_proxies(
    nursery: trio.Nursery, on_fault: Callable[[Fault], None] = lambda _: None
) -> NamedServers:
    """Return the proxies of a control port; there are none yet.

    Args:
        nursery: where they run.
        on_fault: called with each fault that is placed on one.
    """
    read = partial(read_proxy, partial(read_fault, where=None))

    def prepare(value: object, path: str) -> PreparedServer:
        return prepare_proxy(read(value, path), path, on_fault)

    return NamedServers(nursery, prepare)


def _values(name: str, state: ProxyState) -> dict[str, Any]:
    return proxy_to_values(plan_of(name, state), fault_to_values, "")
