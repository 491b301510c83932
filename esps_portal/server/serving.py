"""Serving a portal: ``await nursery.start(serve, ServerConfig(...))`` reports when it listens."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

import attrs
import trio

from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.addresses import check_port
from esps_portal.net.age_watch import watch_ages
from esps_portal.net.bind import Sockets, bind
from esps_portal.net.buffered_bytes import BufferedBytes
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.detached import detached_nursery
from esps_portal.net.input_limit import InputLimit
from esps_portal.net.listeners import Listeners, serve_until_shut_down
from esps_portal.net.poller import new_poller
from esps_portal.net.port_control import PortControl
from esps_portal.net.ready_set import ReadySet
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.stream import Stream
from esps_portal.net.tls_server import ServerTLS
from esps_portal.product import PRODUCT
from esps_portal.protocol.datagram_server import DatagramServer
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import BYE_BUSY
from esps_portal.protocol.registry import PORT
from esps_portal.server.connection import PortalConnection
from esps_portal.server.datagrams import PortalDatagrams
from esps_portal.server.observer import ConnectionObserver, DatagramObserver
from esps_portal.server.shared_work import SharedWork
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.dispatcher import Dispatcher

if TYPE_CHECKING:
    from esps_portal.mock.scripted import ScriptedPortal


@attrs.frozen(kw_only=True)
class ServerConfig:
    """What is served, and where.

    Attributes:
        portal: what answers; defaults to every built-in service, with the default limits.
        hosts: names or addresses to listen on; loopback by default.
        port: the number for both transports; 0 takes a free one.
        sockets: bound already, as by a service manager; hosts and port then say nothing, and
            `serve` closes them.
        reserve_port: be able to take the ports out of service without giving them away
            (`PortControl`).
        reuse_port: share the number with other processes of this user that do the same: to clients
            they are one server, of which each has its own state. Only without the two above.
        tls: what each TCP connection needs for TLS; `None`: TCP is plain. UDP always is.
        require_hello: over TCP, end a connection whose first line is not a HELLO that offers
            ESPS/1: so nothing that a client of another protocol sends is ever executed.
        proxy_protocol: over TCP, read the header of a balancer first (PROXY protocol, version 1 or
            2): the client is the one that it names. A connection without a valid one is closed.
    """

    portal: Dispatcher = attrs.field(factory=lambda: builtin_portal(PRODUCT))
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = attrs.field(default=PORT, validator=check_port)
    tcp: bool = True
    udp: bool = True
    sockets: Sockets | None = None
    reserve_port: bool = False
    reuse_port: bool = False
    tls: ServerTLS | None = None
    require_hello: bool = False
    proxy_protocol: bool = False

    def __attrs_post_init__(self) -> None:
        if not (self.tcp or self.udp) or not self.hosts:
            message = "a portal needs a host, and TCP or UDP"
            raise ValueError(message)
        if self.reuse_port and (self.reserve_port or self.sockets is not None):
            raise ValueError("reuse_port goes with neither reserve_port nor sockets")


async def serve(
    config: ServerConfig,
    *,
    task_status: trio.TaskStatus[Listeners] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until it is shut down or cancelled. Reports `Listeners` once it listens.

    A call whose service ignores its cancellation does not hold it: it is left behind, and a line in
    the log names the service. Only trio itself waits for its task, at the end of `trio.run`.

    Raises:
        CannotBindError: an address cannot be bound; raised before anything is served.
    """
    sockets = config.sockets or bind(
        config.hosts,
        config.port,
        tcp=config.tcp,
        udp=config.udp,
        reserve_port=config.reserve_port,
        reuse_port=config.reuse_port,
    )
    limits = config.portal.limits
    async with detached_nursery() as calls, trio.open_nursery() as nursery:
        ports = _ports(sockets, config, nursery, calls)
        seconds = limits.drain + limits.linger
        await serve_until_shut_down(sockets, ports, nursery, task_status, seconds=seconds)


def _ports(
    sockets: Sockets, config: ServerConfig, nursery: trio.Nursery, calls: trio.Nursery
) -> PortControl:
    """Combine all that serves a portal on bound sockets; ``calls`` is where calls run."""
    portal, silence = config.portal, Silence()
    protocol = DatagramServer(portal.limits)
    poller = new_poller()
    ready = None if poller is None else ReadySet(poller)
    handler = partial(
        portal_connection,
        portal,
        ready=ready,
        requires_hello=config.require_hello,
        shared_work=SharedWork(portal.limits.max_calls),
        calls=calls,
        buffered=BufferedBytes(portal.limits.max_buffered),
    )
    connections = ConnectionServer(
        handler,
        attrs.evolve(accept_policy(portal.limits), reads_proxy_header=config.proxy_protocol),
        nursery,
        stream=partial(SocketStream, silence=silence, tls=config.tls),
        silence=silence,
        ready=ready,
    )
    if ready is not None:
        nursery.start_soon(ready.run)
    datagrams = partial(portal_datagrams, portal, protocol, calls=calls, silence=silence)
    if _is_scripted(portal):
        nursery.start_soon(InputLimit(portal.script.faults, connections).run)
        watch_ages(portal.script.faults, connections, nursery)
    return PortControl(sockets, connections, datagrams, protocol.forget_all, nursery)


def portal_connection(  # noqa: PLR0913 - what is composed
    portal: Dispatcher,
    stream: Stream,
    remote: tuple[str, int],
    *,
    ready: ReadySet | None = None,
    requires_hello: bool = False,
    shared_work: SharedWork | None = None,
    calls: trio.Nursery | None = None,
    buffered: BufferedBytes | None = None,
) -> PortalConnection:
    """Return what serves one client of a portal; a scripted one is observed, and has faults."""
    portal.statistics.connections += 1
    observer, faults = None, None
    if _is_scripted(portal):
        observer = ConnectionObserver(portal.script.journal, remote)
        faults = portal.script.faults
    return PortalConnection(
        stream,
        remote,
        portal,
        observer=observer,
        faults=faults,
        ready=ready,
        requires_hello=requires_hello,
        shared_work=shared_work,
        calls=calls,
        buffered=buffered,
    )


def _is_scripted(portal: Dispatcher) -> TypeGuard[ScriptedPortal]:
    """Whether a test scripts the portal; any other starts without what that takes."""
    return hasattr(portal, "script")


def accept_policy(limits: Limits) -> AcceptPolicy:
    """Return the policy for the connections of a portal with these limits."""
    return AcceptPolicy(
        max_connections=limits.max_connections,
        max_per_address=limits.max_connections_per_address,
        refusal=BYE_BUSY.encode(),
        linger=limits.linger,
        # A client that acknowledges nothing is noticed when the watch looks: at most a quarter of
        # `stall` late.
        watch_interval=min(limits.idle, limits.stall / 4),
    )


def portal_datagrams(
    portal: Dispatcher,
    protocol: DatagramServer,
    sock: socket.socket,
    *,
    calls: trio.Nursery | None = None,
    silence: Silence = NEVER_SILENT,
) -> PortalDatagrams:
    """Return what answers on one socket of a portal; a scripted one is observed, and has faults."""
    observer, faults = None, None
    if _is_scripted(portal):
        observer = DatagramObserver(portal.script.journal)
        faults = portal.script.faults
    return PortalDatagrams(
        sock,
        portal,
        protocol,
        observer=observer,
        faults=faults,
        calls=calls,
        silence=silence,
    )
