"""The controls of a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from esps_portal.control.controls import ServerControls
from esps_portal.control.routes import PUSH_ROUTES, SERVER_ROUTES, STUB_ROUTES
from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ValueTable, read_list
from esps_portal.mock.frame_stubs import FrameStub
from esps_portal.mock.peer_steps import SendFrames
from esps_portal.mock.planned_fault import read_fault
from esps_portal.mock.planned_peer import (
    PlannedFrameStub,
    PlannedPeer,
    frame_stub_to_values,
    peer_to_values,
    read_frame_stub,
)
from esps_portal.net.port_control import PortControl
from esps_portal.peer.planned import place, plan_of
from esps_portal.peer.state import PeerState
from esps_portal.peer.verification import find_problems, problem_report


def peer_controls(
    state: PeerState, ports: PortControl, on_fault: Callable[[Fault], None] = lambda _: None
) -> ServerControls:
    """Return the controls of a peer that is served on these ports.

    Args:
        on_fault: called with each fault that is placed through them; its seed is chosen by then.
    """

    async def replace(value: object) -> list[Fault]:
        return _replace(state, value)

    return ServerControls(
        routes={**STUB_ROUTES, **PUSH_ROUTES, **SERVER_ROUTES},
        state=state,
        ports=ports,
        stubs=_PeerStubs(state),
        push=lambda frames, connection: state.push(SendFrames(frames), connection),
        waits_for=("match",),
        find_problems=partial(find_problems, state),
        report=partial(problem_report, state),
        scenario=partial(_scenario, state),
        replace=replace,
        on_fault=on_fault,
    )


def _scenario(state: PeerState) -> dict[str, Any]:
    values = peer_to_values(plan_of(state))
    return {key: values[key] for key in ("stubs", "faults") if key in values}


def _replace(state: PeerState, value: object) -> list[Fault]:
    """Place the stubs and faults of a scenario in place of those of a peer: all, or none."""
    table = ValueTable.of(value, "", ("stubs", "faults"))
    read_later = partial(read_fault, where=None)
    plan = PlannedPeer(
        name="peer",
        framing=state.framing,
        udp=state.udp,
        stubs=table.get("stubs", partial(read_list, read_frame_stub), ()),
        faults=table.get("faults", partial(read_list, read_later), ()),
    )
    # First on another peer, so that an error leaves this one as it is.
    place(PeerState(state.framing, udp=state.udp), plan)
    state.script.stubs.clear()
    state.faults.clear()
    return place(state, plan)


@attrs.frozen
class _PeerStubs:
    """The stubs of a peer; see `StubControls`."""

    _state: PeerState

    def all(self) -> Iterator[dict[str, Any]]:
        """Return the stubs that are placed now, in order."""
        return map(_values, [stub for stub in self._state.script.stubs if not stub.is_broken])

    def place(self, value: object) -> dict[str, Any]:
        """Place a stub of a scenario. Raises `ScenarioError`."""
        stub = read_frame_stub(value, "").make(self._state.framings)
        return _values(self._state.script.place(stub))

    def remove(self, name: str) -> bool:
        """Remove the stub with an ID; return whether there was one."""
        stubs = self._state.script.stubs
        found = next((stub for stub in stubs if str(stub.number) == name), None)
        if found is not None:
            stubs.remove(found)
        return found is not None


def _values(stub: FrameStub) -> dict[str, Any]:
    planned = frame_stub_to_values(PlannedFrameStub.of(stub))
    return {"id": str(stub.number), **planned, "used": stub.used}
