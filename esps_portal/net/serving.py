"""Serves connections and datagrams of any protocol, with faults, on ports that can be taken down.

A proxy and a peer share it. The caller supplies what serves a connection or a UDP socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

import attrs
import trio

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.age_watch import AgingHandler, watch_ages
from esps_portal.net.bind import Sockets
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.input_limit import InputLimit
from esps_portal.net.listeners import Listeners, serve_until_shut_down
from esps_portal.net.port_control import PortControl
from esps_portal.net.port_tasks import DatagramHandler
from esps_portal.net.silence import Silence
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.turns import ConnectionTurns
from esps_portal.net.watched_stream import WatchedStream


@attrs.frozen(kw_only=True)
class PortService:
    """What is served on ports.

    Attributes:
        faults: those that strike it.
        connection: makes what serves a connection, of its stream and the client's address.
        datagrams: makes what serves a UDP socket; as long as the silence is on it serves nothing.
        policy: of the connections.
        drain: seconds that what runs may take to end.
        tls: what each TCP connection needs for TLS; `None`: they are plain. The handler of a
            connection does the handshake (`net.handshake.open_stream`).
    """

    faults: FaultRegistry
    connection: Callable[[Silence, WatchedStream, tuple[str, int]], AgingHandler]
    datagrams: Callable[[socket.socket, Silence], DatagramHandler]
    policy: AcceptPolicy
    drain: float
    tls: ServerTLS | None = None


async def serve_ports(
    service: PortService, sockets: Sockets, task_status: trio.TaskStatus[Listeners]
) -> None:
    """Serve until it is shut down or cancelled. Reports `Listeners` once it listens."""
    silence, turns = Silence(), ConnectionTurns()
    async with trio.open_nursery() as nursery:
        connections = ConnectionServer(
            partial(service.connection, silence),
            service.policy,
            nursery,
            stream=partial(WatchedStream, silence=silence, tls=service.tls, turns=turns),
            silence=silence,
            opening=turns.opening,
        )
        watch_ages(service.faults, connections, nursery)
        nursery.start_soon(InputLimit(service.faults, connections).run)
        ports = PortControl(
            sockets,
            connections,
            lambda sock: service.datagrams(sock, silence),
            lambda: None,
            nursery,
        )
        seconds = service.drain + service.policy.linger
        await serve_until_shut_down(sockets, ports, nursery, task_status, seconds=seconds)
