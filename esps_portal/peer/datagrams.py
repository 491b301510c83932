"""A peer over UDP: each datagram is a frame, and each frame of an answer is a datagram.

An answer that takes its time, such as a stub with a delay, does not hold up other datagrams. But
while a conversation takes its time, further datagrams of its client wait, and are answered in
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from esps_portal.exchanges.live_exchange import LiveExchange
from esps_portal.framings.framing import FramingError
from esps_portal.framings.transport_ends import datagrams
from esps_portal.journal.records import RecordedConnection
from esps_portal.mock.frame_script import HandlerResult
from esps_portal.mock.peer_connection import PeerConnection
from esps_portal.mock.peer_steps import AnswerStep, SendFrames, Wait
from esps_portal.net.datagram_clients import DatagramClients
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.peer.answerer import Answerer
from esps_portal.peer.datagram_client import DatagramClient
from esps_portal.peer.state import PeerState
from esps_portal.protocol.urls import host_port

# Answers that take their time; what comes beyond them is lost, as in a full buffer.
_MAX_RUNNING = 1024
# Datagrams of a client that come while a conversation answers it, likewise.
_MAX_WAITING = 64


class DatagramPeer:
    """Answers the datagrams of one UDP socket: the `DatagramService` of a peer.

    Args:
        handlers: where handlers run that have to be awaited (`detached_nursery`).
    """

    def __init__(self, state: PeerState, handlers: trio.Nursery) -> None:
        self._state = state
        self._handlers = handlers
        self._clients = DatagramClients[DatagramClient]()
        self._running: set[trio.CancelScope] = set()
        self._changed = trio.lowlevel.ParkingLot()
        # `begin` sets both.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter

    def begin(self, nursery: trio.Nursery, writer: DatagramFaultWriter) -> None:
        """Take the nursery for answers that take their time, and the writer that sends them."""
        self._nursery, self._writer = nursery, writer

    @property
    def is_idle(self) -> bool:
        """Whether there is no client."""
        return not (self._running or self._clients.all())

    async def abort(self) -> None:
        """Forget every client; return when that is so."""
        for scope in self._running:
            scope.cancel()
        await self.until_answered()
        self.closed()

    async def until_answered(self) -> None:
        """Wait until no answer is still running."""
        while self._running:
            await self._changed.park()

    def closed(self) -> None:
        """Forget every client."""
        now = trio.current_time()
        while (client := self._clients.forget_latest()) is not None:
            client.closed(now)

    # -- datagrams

    def handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Answer a datagram, unless too many answers take their time."""
        if len(self._running) >= _MAX_RUNNING:
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

    def _answer(self, client: DatagramClient, exchange: LiveExchange, now: float) -> None:
        """Answer a datagram: at once, or later if that takes its time."""
        if client.waiting is not None:
            if len(client.waiting) < _MAX_WAITING:
                client.waiting.append(exchange)
            else:
                client.end(exchange, now)
            return
        found = client.answerer.answer(exchange.payload)
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
        self, client: DatagramClient, exchange: LiveExchange, delay: float
    ) -> None:
        await trio.sleep(delay)
        self._answer(client, exchange, trio.current_time())

    async def _perform_in_order(
        self,
        client: DatagramClient,
        exchange: LiveExchange,
        found: list[AnswerStep] | Awaitable[HandlerResult],
    ) -> None:
        """Answer a datagram, and then those of its client that have come meanwhile."""
        try:
            await self._perform(client, exchange, found)
            while client.waiting:
                following = client.waiting.popleft()
                await self._perform(client, following, client.answerer.answer(following.payload))
        finally:
            client.waiting = None

    async def _perform(
        self,
        client: DatagramClient,
        exchange: LiveExchange,
        found: list[AnswerStep] | Awaitable[HandlerResult],
    ) -> None:
        if not isinstance(found, list):
            found = await client.answerer.result_of(exchange.payload, found)
        for step in found:
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            else:
                self._send_all(client, exchange, [step])
        client.end(exchange, trio.current_time())

    def _send_all(
        self, client: DatagramClient, exchange: LiveExchange, steps: Iterable[AnswerStep]
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
