"""A proxy before a portal: it passes everything on as it comes, and sees calls and answers.

``await nursery.start(serve_proxy, ProxyConfig(...))`` reports when it listens.
"""

from __future__ import annotations

import logging
from functools import partial

import attrs
import trio

from esps_portal.journal.journal import Journal
from esps_portal.journal.tap import StreamTap
from esps_portal.net.accept import AcceptPolicy, ConnectionServer
from esps_portal.net.bind import WILDCARDS, Sockets, bind, is_own_address
from esps_portal.net.dial import DialError, dial
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import BYE_BUSY
from esps_portal.protocol.registry import PORT
from esps_portal.protocol.urls import PortalURL
from esps_portal.proxy.tcp_relay import CLIENT, SERVER, Endpoint, Relay
from esps_portal.proxy.udp_relay import DatagramProxy

_log = logging.getLogger("esps_portal")

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
        journal: records what passes; its sinks are notified at once.
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
class ProxyListeners:
    """A proxy that listens: where, and how to end it gracefully.

    Attributes:
        tcp, udp: the addresses, as (host, port), literal.
    """

    tcp: tuple[tuple[str, int], ...]
    udp: tuple[tuple[str, int], ...]
    _shutdown: trio.Event = attrs.field(repr=False)

    def shut_down(self) -> None:
        """Let running calls end, within the limits; `serve_proxy` then returns."""
        self._shutdown.set()


async def serve_proxy(
    config: ProxyConfig,
    *,
    task_status: trio.TaskStatus[ProxyListeners] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Relay until it is shut down or cancelled. Reports a `ProxyListeners` once it listens.

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
    config: ProxyConfig, sockets: Sockets, task_status: trio.TaskStatus[ProxyListeners]
) -> None:
    limits, journal = config.limits, config.journal
    shutdown = trio.Event()
    listeners = ProxyListeners(sockets.tcp_addresses, sockets.udp_addresses, shutdown)

    async def connect() -> Endpoint | None:
        return await _connect(config.upstream)

    def relay(client: Endpoint, remote: tuple[str, int]) -> Relay:
        return Relay(client, connect, StreamTap(journal, remote, trio.current_time()))

    async with trio.open_nursery() as nursery:
        policy = AcceptPolicy(
            max_connections=limits.max_connections,
            refusal=BYE_BUSY.encode(),
            linger=limits.linger,
        )
        connections = ConnectionServer(
            relay, policy, nursery, stream=partial(Endpoint, name=CLIENT)
        )
        datagrams = [DatagramProxy(s, limits, config.upstream, journal) for s in sockets.udp]
        for server in datagrams:
            nursery.start_soon(server.run)
        async with trio.open_nursery() as accepting:
            for listener in sockets.tcp:
                accepting.start_soon(connections.accept, listener)
            task_status.started(listeners)
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        with trio.move_on_after(limits.drain + limits.linger + _GRACE):
            async with trio.open_nursery() as draining:
                draining.start_soon(connections.shut_down)
                for server in datagrams:
                    draining.start_soon(server.shut_down)
        nursery.cancel_scope.cancel()


async def _connect(upstream: PortalURL) -> Endpoint | None:
    """Connect to the portal; say so in the log where that fails."""
    try:
        connected = await dial(upstream.host, upstream.port)
    except DialError as error:
        _log.warning("cannot reach %s: %s", upstream, error)
        return None
    try:
        return Endpoint(connected, SERVER)
    except OSError as error:
        connected.close()
        _log.warning("cannot reach %s: %s", upstream, error.strerror)
        return None


async def refuse_to_loop(upstream: PortalURL, sockets: Sockets) -> None:
    """Raise `OwnUpstreamError` where what is passed on would come back to us."""
    try:
        found = await trio.socket.getaddrinfo(upstream.host, upstream.port)
    except OSError:
        return  # each connect then fails, and logs why
    addresses = {str(address[0]) for *_, address in found}
    for host, port in (*sockets.tcp_addresses, *sockets.udp_addresses):
        everywhere = host in WILDCARDS.values() and any(map(is_own_address, addresses))
        if port == upstream.port and (host in addresses or everywhere):
            raise OwnUpstreamError(f"{upstream} is this proxy itself: give it a port of its own")
