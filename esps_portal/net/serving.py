"""Serving connections and datagrams of any protocol, with faults, on ports that may go down.

A proxy and a peer share it. What serves a connection or a socket is handed in.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs
import trio

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.age_watch import AgeWatch, AgingConnection
from esps_portal.net.bind import Sockets
from esps_portal.net.connection_server import ConnectionHandler, ConnectionServer
from esps_portal.net.endpoint import Endpoint
from esps_portal.net.input_limit import InputLimit
from esps_portal.net.port_control import DatagramHandler, PortControl
from esps_portal.net.silence import Silence
from esps_portal.net.tls_server import ServerTLS

# Seconds that ending all connections may take beyond the drain and linger of each.
_GRACE = 0.5


@attrs.frozen
class OpenPorts:
    """What listens: where, and how to end it gracefully.

    Attributes:
        tcp, udp: the addresses, as (host, port), literal.
        ports: takes the ports out of service and back; that needs reserved ones.
    """

    tcp: tuple[tuple[str, int], ...]
    udp: tuple[tuple[str, int], ...]
    ports: PortControl = attrs.field(repr=False)
    _shutdown: trio.Event = attrs.field(repr=False)

    def shut_down(self) -> None:
        """Let what runs end, within the limits; what serves them then returns."""
        self._shutdown.set()


class PortHandler(ConnectionHandler, AgingConnection, Protocol):
    """What serves one connection, and is struck by faults at an age."""


@attrs.frozen(kw_only=True)
class PortService:
    """What is served on ports.

    Attributes:
        faults: those that strike it.
        connection: makes what serves a connection, of its stream and the client's address.
        datagrams: makes what serves a UDP socket; as long as the silence is on it serves nothing.
        policy: of the connections.
        drain: seconds that what runs may take to end.
        tls: what each TCP connection needs for TLS; `None`: they are plain. Whoever serves one does
            the handshake (`net.opening.opened`).
    """

    faults: FaultRegistry
    connection: Callable[[Silence, Endpoint, tuple[str, int]], PortHandler]
    datagrams: Callable[[socket.socket, Silence], DatagramHandler]
    policy: AcceptPolicy
    drain: float
    tls: ServerTLS | None = None


async def serve_ports(
    service: PortService, sockets: Sockets, task_status: trio.TaskStatus[OpenPorts]
) -> None:
    """Serve until it is shut down or cancelled. Reports an `OpenPorts` once it listens."""
    shutdown = trio.Event()
    silence = Silence()
    async with trio.open_nursery() as nursery:
        connections = ConnectionServer(
            partial(service.connection, silence),
            service.policy,
            nursery,
            stream=partial(Endpoint, silence=silence, tls=service.tls),
            silence=silence,
        )
        watch = AgeWatch(service.faults, connections.connections)
        connections.on_open = watch.opened
        nursery.start_soon(watch.run)
        nursery.start_soon(InputLimit(service.faults, connections).run)
        ports = PortControl(
            sockets,
            connections,
            lambda sock: service.datagrams(sock, silence),
            lambda: None,
            nursery,
        )
        addresses = sockets.tcp_addresses, sockets.udp_addresses
        try:
            ports.begin()
            task_status.started(OpenPorts(*addresses, ports, shutdown))
            await shutdown.wait()
            ports.stop_accepting()
            with trio.move_on_after(service.drain + service.policy.linger + _GRACE):
                await ports.shut_down()
            nursery.cancel_scope.cancel()
        finally:
            ports.close()
