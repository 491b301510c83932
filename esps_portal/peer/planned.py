"""Makes a peer of what a scenario or the command line says, after checking all of it."""

from __future__ import annotations

from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import FramingError
from esps_portal.journal.journal import Journal
from esps_portal.journal.values import ScenarioError
from esps_portal.mock.planned_peer import PlannedFrameStub, PlannedPeer
from esps_portal.mock.scenario import PlannedFault
from esps_portal.peer.state import PeerState
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def make_state(
    plan: PlannedPeer, path: str = "", journal: Journal | None = None
) -> tuple[PeerState, list[Fault]]:
    """Return the state of a new peer, and its faults, which are placed.

    Args:
        path: of the peer in the scenario, for an error.
        journal: for what happens; by default a new one.

    Raises:
        ScenarioError: there is no framing, or the greeting, a stub or a fault makes no sense there.
    """
    if plan.framing is None:
        raise ScenarioError(_join(path, "framing"), "this key is required")
    try:
        state = PeerState(plan.framing, plan.greeting, udp=plan.udp, journal=journal or Journal())
    except FramingError as error:
        raise ScenarioError(_join(path, "greeting"), str(error)) from error
    return state, place(state, plan, path)


def place(state: PeerState, plan: PlannedPeer, path: str = "") -> list[Fault]:
    """Place the stubs and faults of a plan on a peer: all of them, or none.

    Args:
        path: of the peer in the scenario, for an error.

    Raises:
        ScenarioError: one is wrong, or makes no sense there.
    """
    stubs = [
        stub.make(state.framings, _join(path, f"stubs[{number}]"))
        for number, stub in enumerate(plan.stubs)
    ]
    faults = [
        fault.make(_join(path, f"faults[{number}]"), state.faults.where)
        for number, fault in enumerate(plan.faults)
    ]
    state.script.stubs.extend(stubs)
    for fault in faults:
        state.faults.place(fault)
    return faults


def plan_of(state: PeerState, name: str = "peer") -> PlannedPeer:
    """Return the plan of a running peer, as if none of it had been used.

    Its handler and its conversations are not part of it.
    """
    return PlannedPeer(
        name=name,
        framing=state.framing,
        greeting=state.greeting,
        udp=state.udp,
        stubs=tuple(PlannedFrameStub.of(s) for s in state.script.stubs if not s.is_broken),
        faults=tuple(map(PlannedFault.of, state.faults.in_force)),
    )


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key
