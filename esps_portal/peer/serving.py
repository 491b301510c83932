"""A peer on its ports: it accepts connections and datagrams of any protocol, and answers them.

``await nursery.start(serve_peer, PeerConfig(...))`` reports when it listens.
"""

from __future__ import annotations

from functools import partial

import attrs
import trio

from esps_portal.faults.target import Stage
from esps_portal.framings.transport_ends import UntilClose
from esps_portal.mock.peer_connection import PeerConnection
from esps_portal.mock.peer_steps import AnswerStep, End, SendFrames
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.addresses import check_port
from esps_portal.net.bind import bind
from esps_portal.net.client_handler import AcceptedClient
from esps_portal.net.datagram_port import DatagramPort
from esps_portal.net.detached import detached_nursery
from esps_portal.net.listeners import Listeners
from esps_portal.net.serving import PortService, serve_ports
from esps_portal.net.silence import Silence
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.peer.answerer import Answerer
from esps_portal.peer.connection import PeerHandler
from esps_portal.peer.datagrams import DatagramPeer
from esps_portal.peer.state import PeerState
from esps_portal.peer.units import PeerUnits
from esps_portal.protocol.limits import Limits


@attrs.frozen(kw_only=True)
class PeerConfig:
    """What is served, and where.

    Attributes:
        state: the framing, the script, the faults, and the journal, whose sinks are notified at
            once.
        hosts: names or addresses to listen on; loopback by default.
        port: the number for both transports; 0, the default, takes a free one.
        reserve_port: be able to take the ports out of service without giving them away
            (`PortControl`).
        limits: only ``max_connections``, ``linger`` and ``drain`` apply.
        tls: what clients need for TLS, over TCP; `None`: they are plain.
    """

    state: PeerState
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = attrs.field(default=0, validator=check_port)
    reserve_port: bool = False
    limits: Limits = attrs.field(factory=Limits)
    tls: ServerTLS | None = None

    def __attrs_post_init__(self) -> None:
        if self.tls is not None and "tcp" not in self.state.transports:
            raise ValueError("TLS needs TCP, and this peer is served over UDP alone")
        if not self.hosts:
            raise ValueError("a peer needs a host")


async def serve_peer(
    config: PeerConfig, *, task_status: trio.TaskStatus[Listeners] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until it is shut down or cancelled. Reports `Listeners` once it listens.

    A handler that ignores its cancellation does not hold it: it is left behind, and a line in the
    log says for which frame. Only trio itself waits for its task, at the end of `trio.run`.

    Raises:
        CannotBindError: an address cannot be bound; raised before anything is served.
    """
    state, limits = config.state, config.limits
    sockets = bind(
        config.hosts,
        config.port,
        tcp="tcp" in state.transports,
        udp="udp" in state.transports,
        reserve_port=config.reserve_port,
    )
    try:
        async with detached_nursery() as handlers:
            service = PortService(
                faults=state.faults,
                connection=partial(_handler, state, handlers),
                datagrams=lambda sock, silence: DatagramPort(
                    DatagramPeer(state, handlers), sock, silence, drain=limits.drain
                ),
                policy=AcceptPolicy(max_connections=limits.max_connections, linger=limits.linger),
                drain=limits.drain,
                tls=config.tls,
            )
            await serve_ports(service, sockets, task_status)
    finally:
        sockets.close()


def _handler(
    state: PeerState,
    handlers: trio.Nursery,
    _: Silence,
    client: WatchedStream,
    remote: tuple[str, int],
) -> PeerHandler:
    """Return what serves one client's connection."""
    now = trio.current_time()
    record = state.journal.opened(remote, now)
    tracker = state.new_tracker(record, now)
    units = PeerUnits(tracker, state.new_splitter(), state.note_leftover)
    connection = PeerConnection(record.number, remote, "tcp")
    state.faults.live.add(units.explain)

    def closed(by: str, how: str, at: float) -> None:
        state.faults.live.discard(units.explain)
        state.pushers.pop(record, None)
        state.journal.closed(record, by, how, at)

    accepted = AcceptedClient(
        stream=client,
        as_aged=partial(tracker.connection_target, Stage.AGE),
        certificate_problem=tracker.certificate_problem,
        on_failed_handshake=tracker.note_failed_handshake,
        is_refused=tracker.is_refused(),
    )
    handler = PeerHandler(
        accepted,
        units,
        Answerer(state.script, connection, f"tcp #{record.number}", handlers),
        state.framing,
        greeting=_greeting(state),
        on_closed=closed,
    )
    state.pushers[record] = handler.push
    return handler


def _greeting(state: PeerState) -> list[AnswerStep]:
    """Return what is done first on each connection."""
    if not state.greeting:
        return []
    # With this framing only FIN ends what is sent.
    ends = [End("close")] if isinstance(state.framing, UntilClose) else []
    return [SendFrames(state.greeting), *ends]
