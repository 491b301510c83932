"""A peer over UDP: each datagram is a frame, and each frame of an answer is a datagram.

An answer that takes its time, such as a stub with a delay, does not hold up other datagrams. But
while a conversation takes its time, further datagrams of its client wait, and are answered in
order.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from esps_portal.framings.framing import FramingError
from esps_portal.framings.transport_ends import datagrams
from esps_portal.journal.records import RecordedConnection
from esps_portal.mock.frame_script import HandlerResult
from esps_portal.mock.peer_connection import PeerConnection
from esps_portal.mock.peer_steps import AnswerStep, SendFrames, Wait
from esps_portal.net.datagram_clients import DatagramClients
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import DatagramSocket
from esps_portal.net.silence import Silence
from esps_portal.peer.answerer import Answerer
from esps_portal.peer.datagram_client import DatagramClient, DatagramExchange
from esps_portal.peer.state import PeerState
from esps_portal.protocol.urls import host_port

# Answers that take their time; what comes beyond them is lost, as in a full buffer.
_MAX_RUNNING = 1024
# Datagrams of a client that come while a conversation answers it, likewise.
_MAX_WAITING = 64


class DatagramPeer:
    """Answers what comes on one UDP socket, which it owns. `run` is its whole life.

    Args:
        handlers: where handlers run that have to be awaited (`detached_nursery`).
        drain: seconds that answers may take to end.
        silence: as long as it is on, what comes and what is sent vanishes.
    """

    def __init__(
        self,
        state: PeerState,
        handlers: trio.Nursery,
        drain: float,
        sock: socket.socket,
        silence: Silence,
    ) -> None:
        self._socket = DatagramSocket(sock, silence)
        self._state = state
        self._handlers = handlers
        self._drain = drain
        self._clients = DatagramClients[DatagramClient]()
        self._running: set[trio.CancelScope] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self._is_closing = False
        # `run` opens the first, and makes the second.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter

    async def run(self) -> None:
        """Serve until cancelled or closed."""
        async with trio.open_nursery() as self._nursery:
            self._writer = DatagramFaultWriter(self._socket, self._nursery)
            try:
                await self._socket.run(self._handle)
            finally:
                self._forget_clients()
            self._nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        self._socket.close()

    @property
    def has_calls(self) -> bool:
        """Never: nothing outlives the socket."""
        return False

    @property
    def is_idle(self) -> bool:
        """Whether there is no client."""
        return not (self._running or self._clients.all())

    def discard_waiting(self) -> None:
        """Discard what has come and was not read."""
        self._socket.discard_waiting()

    async def abort(self) -> None:
        """Forget every client, and drop what is late; return when that is so."""
        for scope in self._running:
            scope.cancel()
        while self._running:
            await self._changed.park()
        if hasattr(self, "_writer"):
            self._writer.forget()
        self._forget_clients()

    async def shut_down(self) -> None:
        """Answer nothing more; return once answers that run have had time to end."""
        self._is_closing = True
        with trio.move_on_after(self._drain):
            while self._running:
                await self._changed.park()

    def _forget_clients(self) -> None:
        now = trio.current_time()
        while (client := self._clients.forget_latest()) is not None:
            client.closed(now)

    # -- datagrams

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        if self._is_closing or len(self._running) >= _MAX_RUNNING:
            return
        client = self._client(sender, now)
        exchange, delay = client.request(datagram, now)
        if delay is None:
            client.end(exchange, now)
            return  # a fault has it lost
        if delay:
            self._later(partial(self._answer_late, client, exchange, delay))
            return
        self._answer(client, exchange, now)

    def _answer(self, client: DatagramClient, exchange: DatagramExchange, now: float) -> None:
        """Answer a datagram: at once, or later if that takes its time."""
        if client.waiting is not None:
            if len(client.waiting) < _MAX_WAITING:
                client.waiting.append(exchange)
            else:
                client.end(exchange, now)
            return
        found = client.answerer.answer(exchange.request)
        if isinstance(found, list) and not any(isinstance(step, Wait) for step in found):
            self._send_all(client, exchange, found)
            client.end(exchange, now)
        elif client.answerer.is_in_conversation:
            client.waiting = deque()
            self._later(partial(self._perform_in_order, client, exchange, found))
        else:
            self._later(partial(self._perform, client, exchange, found))

    def _client(self, sender: Sender, now: float) -> DatagramClient:
        client = self._clients.get(sender)
        if client is None:
            client = self._new_client(sender, now)
        silent = self._clients.heard(sender, client)
        if silent is not None:
            silent.closed(now)
        return client

    def _new_client(self, sender: Sender, now: float) -> DatagramClient:
        state = self._state
        state.clients += 1
        record = RecordedConnection(state.clients, sender.remote, now - state.journal.start)
        connection = PeerConnection(state.clients, sender.remote, "udp")
        where = f"udp {host_port(*sender.remote)}"
        tracker = state.new_tracker(record, now, "udp")
        answerer = Answerer(state.script, connection, where, self._handlers)
        client = DatagramClient(sender, tracker, answerer)
        state.faults.live.add(client.explain)
        client.on_closed = lambda: state.faults.live.discard(client.explain)
        return client

    # -- answers that take their time

    def _later(self, answer: Callable[[], Awaitable[None]]) -> None:
        scope = trio.CancelScope()
        self._running.add(scope)
        self._nursery.start_soon(self._run, scope, answer)

    async def _run(self, scope: trio.CancelScope, answer: Callable[[], Awaitable[None]]) -> None:
        try:
            with scope:
                await answer()
        finally:
            self._running.discard(scope)
            self._changed.unpark_all()

    async def _answer_late(
        self, client: DatagramClient, exchange: DatagramExchange, delay: float
    ) -> None:
        await trio.sleep(delay)
        self._answer(client, exchange, trio.current_time())

    async def _perform_in_order(
        self,
        client: DatagramClient,
        exchange: DatagramExchange,
        found: list[AnswerStep] | Awaitable[HandlerResult],
    ) -> None:
        """Answer a datagram, and then those of its client that have come meanwhile."""
        try:
            await self._perform(client, exchange, found)
            while client.waiting:
                following = client.waiting.popleft()
                await self._perform(client, following, client.answerer.answer(following.request))
        finally:
            client.waiting = None

    async def _perform(
        self,
        client: DatagramClient,
        exchange: DatagramExchange,
        found: list[AnswerStep] | Awaitable[HandlerResult],
    ) -> None:
        if not isinstance(found, list):
            found = await client.answerer.result_of(exchange.request, found)
        for step in found:
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            else:
                self._send_all(client, exchange, [step])
        client.end(exchange, trio.current_time())

    def _send_all(
        self, client: DatagramClient, exchange: DatagramExchange, steps: Iterable[AnswerStep]
    ) -> None:
        """Send what needs no waiting; an end of the connection means nothing here."""
        framing = datagrams()
        for step in steps:
            if isinstance(step, SendFrames):
                for frame in step.frames:
                    try:
                        datagram = framing.join(frame)
                    except FramingError as error:
                        client.answerer.failed_to_send(error)
                        return
                    client.reply(datagram, exchange, self._writer)
