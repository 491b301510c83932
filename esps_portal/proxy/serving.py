"""A proxy in front of a server of any protocol: it passes everything on, unless a fault strikes.

``await nursery.start(serve_proxy, ProxyConfig(...))`` reports when it listens.
"""

from __future__ import annotations

import ssl
from functools import partial

import attrs
import trio

from esps_portal.exchanges.live_exchange import SERVER
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.target import Stage
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection
from esps_portal.journal.tap import StreamTap
from esps_portal.log import log
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.addresses import check_port
from esps_portal.net.bind import WILDCARDS, Sockets, bind, is_own_address
from esps_portal.net.client_handler import AcceptedClient
from esps_portal.net.datagram_port import DatagramPort
from esps_portal.net.listeners import Listeners
from esps_portal.net.serving import PortService, serve_ports
from esps_portal.net.silence import Silence
from esps_portal.net.tls_contexts import client_context
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import BYE_BUSY, readable_tag
from esps_portal.protocol.registry import ALPN, PORT
from esps_portal.proxy.connector import Connector
from esps_portal.proxy.framed import Framed
from esps_portal.proxy.loop_detection import Leg
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.tcp_relay import Relay
from esps_portal.proxy.udp_relay import DatagramProxy
from esps_portal.proxy.unframed import Unframed
from esps_portal.proxy.unit_reader import RelayObserver
from esps_portal.proxy.units import Units
from esps_portal.proxy.upstream import Upstream


class OwnUpstreamError(ValueError):
    """The upstream that a proxy was given is the proxy itself."""


@attrs.frozen(kw_only=True)
class ProxyConfig:
    """What a proxy relays, and where it listens.

    Attributes:
        state: the upstream, the faults, and the journal, whose sinks are notified at once.
        hosts: names or addresses to listen on; loopback by default.
        port: the number for both transports; 0 takes a free one.
        tcp, udp: what is relayed, of what the upstream has.
        reserve_port: be able to take the ports out of service without giving them away
            (`PortControl`).
        limits: only ``max_connections``, ``window`` and ``drain`` apply.
        tls: what clients need for TLS, over TCP; `None`: they speak as the upstream does. What
            passes is plain text then: to faults, to the journal, in files.
        upstream_tls: what is trusted of an upstream that expects TLS; `None`: the system's CAs.
    """

    state: ProxyState
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = attrs.field(default=PORT, validator=check_port)
    tcp: bool = True
    udp: bool = True
    reserve_port: bool = False
    limits: Limits = attrs.field(factory=Limits)
    tls: ServerTLS | None = None
    upstream_tls: ssl.SSLContext | None = None

    def __attrs_post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("a proxy needs a host")
        if self.tls is not None and "tcp" not in self.transports:
            raise ValueError("TLS needs TCP, which is not relayed")
        if not self.transports:
            raise ValueError("neither TCP nor UDP is left to relay")
        if self.upstream_tls is not None and not self.state.upstream.is_tls:
            raise ValueError(
                f"there is nothing to trust of {self.state.upstream}: only tls:// and esps+tls://"
                " upstreams have certificates"
            )

    @property
    def transports(self) -> frozenset[str]:
        """What is relayed."""
        wanted = {name for name, on in (("tcp", self.tcp), ("udp", self.udp)) if on}
        return self.state.upstream.transports & wanted


async def serve_proxy(
    config: ProxyConfig,
    *,
    task_status: trio.TaskStatus[Listeners] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Relay until it is shut down or cancelled. Reports `Listeners` once it listens.

    Raises:
        CannotBindError: an address cannot be bound; raised before anything is served.
        OwnUpstreamError: it would connect to itself; raised before anything is served.
    """
    sockets = bind(
        config.hosts,
        config.port,
        tcp="tcp" in config.transports,
        udp="udp" in config.transports,
        reserve_port=config.reserve_port,
    )
    try:
        await refuse_to_loop(config.state.upstream, sockets)
        await serve_ports(_service(config), sockets, task_status)
    finally:
        sockets.close()


def _service(config: ProxyConfig) -> PortService:
    limits, state = config.limits, config.state
    upstream_tls = config.upstream_tls
    if state.upstream.is_tls and upstream_tls is None:
        upstream_tls = client_context(alpn=ALPN if state.upstream.is_esps else "")
    return PortService(
        faults=state.faults,
        connection=partial(_relay, state, upstream_tls),
        datagrams=lambda sock, silence: DatagramPort(
            DatagramProxy(state, limits.window, silence),
            sock,
            silence,
            drain=limits.drain,
            wants_ttl=True,
        ),
        policy=AcceptPolicy(
            max_connections=limits.max_connections,
            refusal=BYE_BUSY.encode() if state.upstream.is_esps else b"",
            linger=limits.linger,
        ),
        drain=limits.drain,
        tls=config.tls,
    )


def _relay(
    state: ProxyState,
    upstream_tls: ssl.SSLContext | None,
    silence: Silence,
    client: WatchedStream,
    remote: tuple[str, int],
) -> Relay:
    """Return what relays one client's connection."""
    now = trio.current_time()
    observer: RelayObserver
    if state.upstream.is_esps:
        tap = StreamTap(state.journal, remote, now)
        observer, connection = tap, tap.connection
    else:
        connection = state.journal.opened(remote, now)
        observer = _EndObserver(state.journal, connection)
    tracker = state.new_tracker(connection, now)
    units = _units(state, tracker)
    state.faults.live.add(units.explain)
    accepted = AcceptedClient(
        stream=client,
        as_aged=partial(tracker.connection_target, Stage.AGE),
        certificate_problem=tracker.certificate_problem,
        on_failed_handshake=tracker.note_failed_handshake,
        is_refused=tracker.is_refused(),
    )
    # Nobody waits for another client's TLS handshake, or for one that a fault refuses.
    has_place = not (accepted.is_refused or client.needs_handshake)
    connector = Connector(
        state=state,
        connection=connection,
        inbound=Leg("tcp", remote, client.own_address),
        turns=client.turns,
        silence=silence,
        tls=upstream_tls,
        place=state.dialling.take() if has_place else None,
    )

    def on_closed() -> None:
        state.faults.live.discard(units.explain)
        connector.leave()

    return Relay(
        accepted,
        connector.connect,
        units,
        observer,
        on_closed=on_closed,
        server_name="portal" if state.upstream.is_esps else SERVER,
    )


def _units(state: ProxyState, tracker: ExchangeTracker) -> Units:
    if state.framing is None or state.reply_framing is None:
        return Unframed(tracker)
    key_of = readable_tag if state.upstream.is_esps else None
    return Framed(tracker, state.framing, state.reply_framing, state.note_leftover, key_of)


@attrs.frozen
class _EndObserver:
    """Records how a connection ends; its units record what is sent on it."""

    _journal: Journal
    _connection: RecordedConnection

    def from_client(self, data: bytes, now: float) -> None:
        """Nothing: its units record it."""

    def from_server(self, data: bytes, now: float) -> None:
        """Nothing: its units record it."""

    def closed(self, by: str, how: str, now: float) -> None:
        """Note the end: who closed first, and how."""
        self._journal.closed(self._connection, by, how, now)


async def refuse_to_loop(upstream: Upstream, sockets: Sockets) -> None:
    """Raise `OwnUpstreamError` if the upstream is the proxy itself."""
    try:
        found = await trio.socket.getaddrinfo(upstream.host, upstream.port)
    except OSError as error:
        # Each connect then fails, and notes why; the name may be known by then.
        log.warning("cannot resolve %s so far: %s", upstream.host, error.strerror)
        return
    addresses = {str(address[0]) for *_, address in found}
    for host, port in (*sockets.tcp_addresses, *sockets.udp_addresses):
        everywhere = host in WILDCARDS.values() and any(map(is_own_address, addresses))
        if port == upstream.port and (host in addresses or everywhere):
            raise OwnUpstreamError(f"{upstream} is this proxy itself: give it a port of its own")
