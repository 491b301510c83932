"""How proxies and peers are made for a scenario, for ``--proxy``, and for the control port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.named_servers import NamedServers, PreparedServer
from esps_portal.control.peer_controls import peer_controls
from esps_portal.control.proxy_controls import proxy_controls
from esps_portal.exchanges.server_state import ServerState
from esps_portal.faults.fault import Fault
from esps_portal.mock.planned_peer import PlannedPeer, peer_to_values, read_peer
from esps_portal.mock.planned_proxy import PlannedProxy, proxy_to_values, read_proxy
from esps_portal.net.port_control import PortControl
from esps_portal.peer.planned import make_state as make_peer_state
from esps_portal.peer.planned import plan_of as plan_of_peer
from esps_portal.peer.serving import PeerConfig, serve_peer
from esps_portal.peer.state import PeerState
from esps_portal.proxy.planned import make_state as make_proxy_state
from esps_portal.proxy.planned import plan_of as plan_of_proxy
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState

OnFault = Callable[[Fault], None]


class _Plan(Protocol):
    @property
    def name(self) -> str:
        """The name of what is planned."""


_PlanT = TypeVar("_PlanT", bound=_Plan)
_StateT = TypeVar("_StateT", bound=ServerState)


@attrs.frozen(kw_only=True)
class ServerKind(Generic[_PlanT, _StateT]):
    """How a server of a kind is made from its entry in a scenario.

    Attributes:
        noun: what a report calls one: ``proxy`` or ``peer``.
        read: returns the plan that a value of a scenario is, given its path there.
        make_state: returns the state of a new one, and the faults that were placed on it.
        values: returns a state, with a name, as a scenario has it.
        serve: serves a state on a free port of loopback; see `serve_ports`.
        controls: returns what the control port does to it.
    """

    noun: str
    read: Callable[[object, str], _PlanT]
    make_state: Callable[[_PlanT, str], tuple[_StateT, list[Fault]]]
    values: Callable[[_StateT, str], dict[str, Any]]
    serve: Callable[..., Awaitable[None]]
    controls: Callable[[_StateT, PortControl, OnFault], ServerControls]

    def prepare(
        self, plan: _PlanT, path: str = "", on_fault: OnFault = lambda _: None
    ) -> PreparedServer:
        """Prepare a server from its plan in a scenario.

        Args:
            path: of it there, for an error.
            on_fault: called with each fault that is placed on it.

        Raises:
            ScenarioError: something in the plan makes no sense.
        """
        state, faults = self.make_state(plan, path)
        return PreparedServer(
            noun=self.noun,
            name=plan.name,
            serve=partial(self.serve, state),
            controls=lambda listeners: self.controls(state, listeners.ports, on_fault),
            values=partial(self.values, state, plan.name),
            start_clock=state.start_clock,
            faults=faults,
            on_fault=on_fault,
        )

    def read_and_prepare(self, on_fault: OnFault, value: object, path: str) -> PreparedServer:
        """Prepare a server from a value of a scenario. Raises `ScenarioError`."""
        return self.prepare(self.read(value, path), path, on_fault)


def _proxy_values(state: ProxyState, name: str) -> dict[str, Any]:
    return proxy_to_values(plan_of_proxy(state, name))


async def _serve_proxy(state: ProxyState, **options: Any) -> None:  # noqa: ANN401 - those of `serve_proxy`
    await serve_proxy(ProxyConfig(state=state, port=0, reserve_port=True), **options)


def _peer_values(state: PeerState, name: str) -> dict[str, Any]:
    return peer_to_values(plan_of_peer(state, name))


async def _serve_peer(state: PeerState, **options: Any) -> None:  # noqa: ANN401 - those of `serve_peer`
    await serve_peer(PeerConfig(state=state, port=0, reserve_port=True), **options)


PROXIES: ServerKind[PlannedProxy, ProxyState] = ServerKind(
    noun="proxy",
    read=read_proxy,
    make_state=make_proxy_state,
    values=_proxy_values,
    serve=_serve_proxy,
    controls=proxy_controls,
)
PEERS: ServerKind[PlannedPeer, PeerState] = ServerKind(
    noun="peer",
    read=read_peer,
    make_state=make_peer_state,
    values=_peer_values,
    serve=_serve_peer,
    controls=peer_controls,
)


def servers_beside(
    nursery: trio.Nursery, on_fault: Callable[[Fault], None] = lambda _: None
) -> dict[str, NamedServers]:
    """Return the servers of each kind, none yet; a kind has the name of its resource.

    Args:
        nursery: where they run.
        on_fault: called with each fault that is placed on one.
    """
    proxies = NamedServers(nursery, partial(PROXIES.read_and_prepare, on_fault))
    peers = NamedServers(nursery, partial(PEERS.read_and_prepare, on_fault))
    # A scenario has both, and a command gets variables for each.
    proxies.others, peers.others = (peers,), (proxies,)
    return {"proxies": proxies, "peers": peers}
