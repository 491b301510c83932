"""Makes a proxy from a scenario or from command-line options, after checking all of it."""

from __future__ import annotations

from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import FramingError
from esps_portal.journal.journal import Journal
from esps_portal.journal.values import ScenarioError, join_path
from esps_portal.mock.planned_fault import PlannedFault, make_faults
from esps_portal.mock.planned_proxy import PlannedProxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream, UpstreamError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def make_state(
    plan: PlannedProxy,
    path: str = "",
    journal: Journal | None = None,
    *,
    issues_certificates: bool = False,
) -> tuple[ProxyState, list[Fault]]:
    """Return the state of a new proxy, and its faults, which are placed.

    Args:
        path: of the proxy in the scenario, for an error.
        journal: for what happens; by default a new one.
        issues_certificates: see `ProxyState`.

    Raises:
        ScenarioError: the upstream is none, or a framing or a fault makes no sense there.
    """
    try:
        upstream = Upstream.parse(plan.upstream)
    except UpstreamError as error:
        raise ScenarioError(join_path(path, "upstream"), str(error)) from error
    for key, framing in (("framing", plan.framing), ("reply_framing", plan.reply_framing)):
        try:
            if framing is not None:
                upstream.check_framing(framing)
        except FramingError as error:
            raise ScenarioError(join_path(path, key), str(error)) from error
    state = ProxyState(
        upstream,
        plan.framing,
        plan.reply_framing,
        issues_certificates=issues_certificates,
        journal=journal or Journal(),
    )
    faults = make_faults(plan.faults, path, state.faults.where)
    for fault in faults:
        state.faults.place(fault)
    return state, faults


def add(state: ProxyState, plan: PlannedProxy, path: str = "") -> list[Fault]:
    """Place the faults of a plan on a proxy that runs: all of them, or none.

    The framings are fixed when it starts. The upstream is not compared: it may be elsewhere today.

    Args:
        path: of the proxy in the scenario, for an error.

    Raises:
        ScenarioError: the plan has other framings, or a fault makes no sense there.
    """
    running = plan_of(state)
    for key, given, has in (
        ("framing", plan.framing, running.framing),
        (
            "reply_framing",
            plan.reply_framing or plan.framing,
            running.reply_framing or running.framing,
        ),
    ):
        if given != has:
            raise ScenarioError(
                join_path(path, key), f"a proxy gets its {key} when it starts; this one has another"
            )
    faults = make_faults(plan.faults, path, state.faults.where)
    for fault in faults:
        state.faults.place(fault)
    return faults


def plan_of(state: ProxyState, name: str = "proxy") -> PlannedProxy:
    """Return the plan of a running proxy, as if none of it had been used."""
    framing, reply_framing = state.framing, state.reply_framing
    if state.upstream.is_esps:  # it has that of the protocol
        framing = reply_framing = None
    return PlannedProxy(
        name,
        str(state.upstream),
        framing,
        None if reply_framing == framing else reply_framing,
        tuple(PlannedFault.of(fault) for fault in state.faults.in_force),
    )
