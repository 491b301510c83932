"""Makes a peer from a scenario or from command-line options, after checking all of it."""

from __future__ import annotations

from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import FramingError
from esps_portal.journal.journal import Journal
from esps_portal.journal.values import ScenarioError, join_path
from esps_portal.mock.planned_fault import PlannedFault, make_faults
from esps_portal.mock.planned_peer import PlannedFrameStub, PlannedPeer
from esps_portal.peer.state import PeerState
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def make_state(
    plan: PlannedPeer,
    path: str = "",
    journal: Journal | None = None,
    *,
    issues_certificates: bool = False,
) -> tuple[PeerState, list[Fault]]:
    """Return the state of a new peer, and its faults, which are placed.

    Args:
        path: of the peer in the scenario, for an error.
        journal: for what happens; by default a new one.
        issues_certificates: see `PeerState`.

    Raises:
        ScenarioError: there is no framing, or the greeting, a stub or a fault makes no sense there.
    """
    if plan.framing is None:
        raise ScenarioError(join_path(path, "framing"), "this key is required")
    try:
        state = PeerState(
            plan.framing,
            plan.greeting,
            udp=plan.udp,
            issues_certificates=issues_certificates,
            journal=journal or Journal(),
        )
    except FramingError as error:
        raise ScenarioError(join_path(path, "greeting"), str(error)) from error
    return state, place(state, plan, path)


def place(state: PeerState, plan: PlannedPeer, path: str = "") -> list[Fault]:
    """Place the stubs and faults of a plan on a peer: all of them, or none.

    Args:
        path: of the peer in the scenario, for an error.

    Raises:
        ScenarioError: one is wrong, or makes no sense there.
    """
    stubs = [
        stub.make(state.framings, join_path(path, f"stubs[{number}]"))
        for number, stub in enumerate(plan.stubs)
    ]
    faults = make_faults(plan.faults, path, state.faults.where)
    for stub in stubs:
        state.script.place(stub)
    for fault in faults:
        state.faults.place(fault)
    return faults


def add(state: PeerState, plan: PlannedPeer, path: str = "") -> list[Fault]:
    """Do what `place` does on a peer that runs, whose framing and greeting are fixed.

    Raises:
        ScenarioError: the plan has others; or as `place` does.
    """
    for key in ("framing", "greeting", "udp"):
        if getattr(plan, key) != getattr(state, key):
            raise ScenarioError(
                join_path(path, key), f"a peer gets its {key} when it starts; this one has another"
            )
    return place(state, plan, path)


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
