"""A proxy before a portal: it passes everything on as it comes, and sees calls and answers.

``await nursery.start(serve_proxy, ProxyConfig(...))`` reports when it listens.
"""

from __future__ import annotations

import socket

import attrs
import trio

from esps_portal.portal.answering import Portal
from esps_portal.portal.journal import Journal
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.registry import PORT
from esps_portal.protocol.urls import PortalURL
from esps_portal.server.binding import WILDCARDS, Sockets, bind, is_own_address
from esps_portal.server.product import PRODUCT
from esps_portal.server.relaying import CLIENT, Relay, Side
from esps_portal.server.relaying_datagrams import DatagramProxy
from esps_portal.server.tcp import ConnectionServer

# Seconds that ending all connections may take beyond the drain and linger of each.
_GRACE = 0.5


class OwnUpstreamError(ValueError):
    """The portal that a proxy was given is the proxy itself."""


@attrs.frozen(kw_only=True)
class ProxyConfig:
    """What is passed on, from where to where.

    Attributes:
        upstream: the portal. With a URL for TCP the datagrams go to the same host and port.
        hosts: names or addresses to listen on; loopback by default.
        port: the number for both transports; 0 takes a free one.
        journal: records what passes; its sinks are told at once.
        limits: only ``max_connections``, ``window`` and ``drain`` apply.
    """

    upstream: PortalURL
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = attrs.field(
        default=PORT, validator=[attrs.validators.ge(0), attrs.validators.le(65535)]
    )
    tcp: bool = True
    udp: bool = True
    # A sink sees everything; the journal itself keeps only the latest.
    journal: Journal = attrs.field(factory=Journal)
    limits: Limits = attrs.field(factory=Limits)

    def __attrs_post_init__(self) -> None:
        if self.upstream.transport == "tls":
            raise ValueError("esps+tls:// is not available in this release: use esps://")
        if self.upstream.transport == "udp" and self.tcp:
            raise ValueError("an upstream esps+udp:// takes no TCP")
        if not (self.tcp or self.udp) or not self.hosts:
            raise ValueError("a proxy needs a host, and TCP or UDP")


@attrs.frozen
class ProxyListening:
    """A proxy that listens: where, and how to end it in good order.

    Attributes:
        tcp, udp: the addresses, as (host, port), literal.
    """

    tcp: tuple[tuple[str, int], ...]
    udp: tuple[tuple[str, int], ...]
    _shutdown: trio.Event = attrs.field(repr=False)

    def shut_down(self) -> None:
        """Let running calls end, within the limits; `serve_proxy` then returns."""
        self._shutdown.set()


class RelayServer(ConnectionServer):
    """All TCP connections of a proxy."""

    def _stream(self, connected: socket.socket) -> Side:
        return Side(connected, CLIENT)


async def serve_proxy(
    config: ProxyConfig,
    *,
    task_status: trio.TaskStatus[ProxyListening] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Relay until it is shut down or cancelled. Reports a `ProxyListening` once it listens.

    Raises:
        CannotBindError: an address cannot be bound; raised before anything is served.
        OwnUpstreamError: it would connect to itself; raised before anything is served.
    """
    sockets = bind(config.hosts, config.port, tcp=config.tcp, udp=config.udp)
    try:
        await refuse_to_loop(config.upstream, sockets)
        await _serve(config, sockets, task_status)
    finally:
        sockets.close()


async def _serve(
    config: ProxyConfig, sockets: Sockets, task_status: trio.TaskStatus[ProxyListening]
) -> None:
    limits, journal = config.limits, config.journal
    shutdown = trio.Event()
    listening = ProxyListening(_names(sockets.tcp), _names(sockets.udp), shutdown)
    portal = Portal(product=PRODUCT, limits=limits)  # it never answers: only its limits are used

    def relay(client: Side, peer: tuple[str, int], _: Portal) -> Relay:
        return Relay(client, peer, config.upstream, journal)

    async with trio.open_nursery() as nursery:
        connections = RelayServer(portal, nursery, relay)
        datagrams = [DatagramProxy(s, limits, config.upstream, journal) for s in sockets.udp]
        for server in datagrams:
            nursery.start_soon(server.run)
        async with trio.open_nursery() as accepting:
            for listener in sockets.tcp:
                accepting.start_soon(connections.accept, listener)
            task_status.started(listening)
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        with trio.move_on_after(limits.drain + limits.linger + _GRACE):
            async with trio.open_nursery() as draining:
                draining.start_soon(connections.shut_down)
                for server in datagrams:
                    draining.start_soon(server.shut_down)
        nursery.cancel_scope.cancel()


async def refuse_to_loop(upstream: PortalURL, sockets: Sockets) -> None:
    """Raise `OwnUpstreamError` where what is passed on would come back to us."""
    try:
        found = await trio.socket.getaddrinfo(upstream.host, upstream.port)
    except OSError:
        return  # each client that connects is told
    addresses = {str(address[0]) for *_, address in found}
    for host, port in (*_names(sockets.tcp), *_names(sockets.udp)):
        everywhere = host in WILDCARDS.values() and any(map(is_own_address, addresses))
        if port == upstream.port and (host in addresses or everywhere):
            raise OwnUpstreamError(f"{upstream} is this proxy itself: give it a port of its own")


def _names(sockets: list[socket.socket]) -> tuple[tuple[str, int], ...]:
    return tuple(sock.getsockname()[:2] for sock in sockets)
