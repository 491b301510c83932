"""Peers that are started beside a server: by a scenario or the control port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from esps_portal.control.named_servers import NamedServers
from esps_portal.control.peer_controls import peer_controls
from esps_portal.control.prepared_server import PreparedServer
from esps_portal.faults.fault import Fault
from esps_portal.mock.planned_peer import PlannedPeer, peer_to_values, read_peer
from esps_portal.mock.scenario_reading import read_fault, read_frame_match
from esps_portal.mock.scenario_writing import fault_to_values, frame_match_to_value
from esps_portal.peer.planned import make_state, plan_of
from esps_portal.peer.serving import PeerConfig, serve_peer
from esps_portal.peer.state import PeerState


def prepare_peer(
    plan: PlannedPeer, path: str = "", on_fault: Callable[[Fault], None] = lambda _: None
) -> PreparedServer:
    """Prepare what a scenario says of a peer.

    Args:
        path: of it there, for an error.
        on_fault: called with each fault that is placed on it.

    Raises:
        ScenarioError: the greeting, a stub or a fault makes no sense there.
    """
    state, faults = make_state(plan, path)
    return PreparedServer(
        noun="peer",
        name=plan.name,
        serve=partial(serve_peer, PeerConfig(state=state, port=0, reserve_port=True)),
        controls=lambda listeners: peer_controls(state, listeners.ports, on_fault),
        values=partial(_values, plan.name, state),
        start_clock=state.start_clock,
        faults=faults,
        on_fault=on_fault,
    )


def named_peers(
    nursery: trio.Nursery, on_fault: Callable[[Fault], None] = lambda _: None
) -> NamedServers:
    """Return the peers of a control port; there are none yet.

    Args:
        nursery: where they run.
        on_fault: called with each fault that is placed on one.
    """
    read = partial(read_peer, partial(read_fault, where=None), read_frame_match)

    def prepare(value: object, path: str) -> PreparedServer:
        return prepare_peer(read(value, path), path, on_fault)

    return NamedServers(nursery, prepare)


def _values(name: str, state: PeerState) -> dict[str, Any]:
    return peer_to_values(plan_of(state, name), fault_to_values, frame_match_to_value, "")
