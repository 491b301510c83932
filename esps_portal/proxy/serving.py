"""A proxy before a server of any protocol: it passes everything on, unless a fault says otherwise.

``await nursery.start(serve_proxy, ProxyConfig(...))`` reports when it listens.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import attrs
import trio

from esps_portal.exchanges.conversation import SERVER, Conversation
from esps_portal.faults.target import Stage
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection
from esps_portal.journal.tap import StreamTap
from esps_portal.log import log
from esps_portal.net.accept import AcceptPolicy, ConnectionHandler
from esps_portal.net.bind import WILDCARDS, Sockets, bind, is_own_address
from esps_portal.net.dial import DialError, dial
from esps_portal.net.endpoint import Endpoint
from esps_portal.net.serving import OpenPorts, PortService, serve_ports
from esps_portal.net.silence import Silence
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import BYE_BUSY, readable_tag
from esps_portal.protocol.registry import PORT
from esps_portal.proxy.circle import REASON, Link, Way, goes_round
from esps_portal.proxy.framed import Framed
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
    """What is passed on, from where to where.

    Attributes:
        state: the upstream, the faults, and the journal, whose sinks are notified at once.
        hosts: names or addresses to listen on; loopback by default.
        port: the number for both transports; 0 takes a free one.
        tcp, udp: what is relayed, of what the upstream has.
        reserve_port: be able to take the ports out of service without giving them away
            (`PortControl`).
        limits: only ``max_connections``, ``window`` and ``drain`` apply.
    """

    state: ProxyState
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = attrs.field(
        default=PORT, validator=[attrs.validators.ge(0), attrs.validators.le(65535)]
    )
    tcp: bool = True
    udp: bool = True
    reserve_port: bool = False
    limits: Limits = attrs.field(factory=Limits)

    def __attrs_post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("a proxy needs a host")
        if not self.transports:
            raise ValueError("neither TCP nor UDP is left to relay")

    @property
    def transports(self) -> frozenset[str]:
        """What is relayed."""
        wanted = {name for name, on in (("tcp", self.tcp), ("udp", self.udp)) if on}
        return self.state.upstream.transports & wanted


async def serve_proxy(
    config: ProxyConfig,
    *,
    task_status: trio.TaskStatus[OpenPorts] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Relay until it is shut down or cancelled. Reports an `OpenPorts` once it listens.

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
    return PortService(
        faults=state.faults,
        connection=partial(_relay, state),
        aging=_relays,
        datagrams=lambda sock, silence: DatagramProxy(sock, limits, state, silence),
        policy=AcceptPolicy(
            max_connections=limits.max_connections,
            refusal=BYE_BUSY.encode() if state.upstream.is_esps else b"",
            linger=limits.linger,
        ),
        drain=limits.drain,
    )


def _relay(state: ProxyState, silence: Silence, client: Endpoint, remote: tuple[str, int]) -> Relay:
    """Return what relays one client's connection."""
    now = trio.current_time()
    observer: RelayObserver
    if state.upstream.is_esps:
        tap = StreamTap(state.journal, remote, now)
        observer, connection = tap, tap.connection
    else:
        connection = state.journal.opened(remote, now)
        observer = _EndNoted(state.journal, connection)
    conversation = state.conversation(connection, now)
    units = _units(state, conversation)
    state.live.add(units.explain)
    return Relay(
        client,
        partial(_connect, state, connection, Way("tcp", remote, client.own_address), silence),
        units,
        observer,
        on_closed=partial(state.live.discard, units.explain),
        is_refused=conversation.is_refused(),
        server_name="portal" if state.upstream.is_esps else SERVER,
        as_aged=partial(conversation.as_target, Stage.AGE),
    )


def _relays(connections: Iterable[ConnectionHandler]) -> list[Relay]:
    return [relay for relay in connections if isinstance(relay, Relay)]


def _units(state: ProxyState, conversation: Conversation) -> Units:
    if state.framing is None or state.reply_framing is None:
        return Unframed(conversation)
    key_of = readable_tag if state.upstream.is_esps else None
    return Framed(conversation, state.framing, state.reply_framing, state.note_leftover, key_of)


@attrs.frozen
class _EndNoted:
    """Notes in the journal how a connection ends; what is said on it its units note."""

    _journal: Journal
    _connection: RecordedConnection

    def from_client(self, data: bytes, now: float) -> None:
        """Nothing: its units note it."""

    def from_server(self, data: bytes, now: float) -> None:
        """Nothing: its units note it."""

    def closed(self, by: str, how: str, now: float) -> None:
        """Note the end: who closed first, and how."""
        self._journal.closed(self._connection, by, how, now)


async def _connect(
    state: ProxyState, connection: RecordedConnection, came: Way, silence: Silence
) -> Endpoint | None:
    """Connect to the upstream for a client; note it where that fails."""
    state.connecting += 1
    try:
        return await _dial(state, came, silence)
    except DialError as error:
        reason = str(error)
    finally:
        state.connecting -= 1
    log.warning("cannot reach %s: %s", state.upstream, reason)
    state.note_unreachable(reason)
    connection.unreachable = reason
    return None


async def _dial(state: ProxyState, came: Way, silence: Silence) -> Endpoint:
    """Connect to the upstream.

    Raises:
        DialError: nobody answers there, or what the client sends has come through here before.
    """
    if goes_round(state, came):
        raise DialError(REASON)
    connected = await dial(state.upstream.host, state.upstream.port)
    try:
        link = Link.note(state, came, connected)
        end = Endpoint(connected, silence)
    except OSError as error:
        connected.close()
        raise DialError(error.strerror or "it was reset") from error
    end.on_close = link.remove
    # The other proxy may have noted its socket only now, after we had accepted it.
    if goes_round(state, came):
        end.abort()
        raise DialError(REASON)
    return end


async def refuse_to_loop(upstream: Upstream, sockets: Sockets) -> None:
    """Raise `OwnUpstreamError` where what is passed on would come back to us."""
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
