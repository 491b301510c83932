"""The datagrams between one client and the upstream, as exchanges under faults.

A datagram is a unit. A reply belongs to the latest request of the client. Only the protocol could
tell which request a server means, so faults tell replies apart by ``reply_match``.

A datagram is passed to the upstream with its TTL lowered by one. So one that goes round among
proxies of several processes is dropped in the end: after 64 rounds, unless its sender has set
another TTL. A reply needs no such thing. It goes back only through the flows through which its
request came, each of which is younger than the one before, and ends at the client of the first.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterator

import attrs
import trio

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange
from esps_portal.faults.datagram_plan import DatagramPlan, pad_bytes, pad_line
from esps_portal.faults.fault import Fault
from esps_portal.faults.target import Stage
from esps_portal.journal.records import RecordedConnection
from esps_portal.journal.tap import DatagramTap
from esps_portal.log import log
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.descriptors import is_scarce
from esps_portal.net.dial import DialError, dial
from esps_portal.net.fork import closed_at_end
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.proxy.loop_detection import REASON, Leg, Link, is_loop
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream_socket import UpstreamSocket

# Datagrams that are read in a row, before other tasks get a turn.
_MAX_READS = 64
# Datagrams that may wait until the socket towards the upstream is made; the oldest are dropped.
_MAX_WAITING = 64
_MAX_DATAGRAM = 65535
# Seconds of silence after which a flow ends if its socket has one of the last descriptors (own
# choice: more than a reply takes).
_SCARCE_WINDOW = 5.0
_USED_UP = "a datagram came with its TTL used up: do proxies point at each other?"


class Flow:
    """The datagrams between one client and the upstream. `run` is its whole life.

    Args:
        sender: the client.
        number: of the client, counted by the proxy.
        to_client: sends to the client, or performs the plan of a fault.
        tap: notes the calls of ESPS/1; ``None``: another protocol.
        window: seconds of silence after which it ends.
        on_reply: called after each datagram of the server.
        silence: as long as it is on, what the server sends vanishes.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        state: ProxyState,
        sender: Sender,
        number: int,
        *,
        to_client: DatagramFaultWriter,
        tap: DatagramTap | None,
        window: float,
        on_reply: Callable[[], object],
        silence: Silence = NEVER_SILENT,
    ) -> None:
        now = trio.current_time()
        self._state = state
        self._sender = sender
        self._to_client = to_client
        self._tap = tap
        self._window = window
        self._on_reply = on_reply
        self._silence = silence
        client = RecordedConnection(number, sender.remote, now - state.exchanges.start)
        self._tracker = state.new_tracker(client, now, "udp")
        self._current: LiveExchange | None = None
        self._to_server: DatagramFaultWriter | None = None
        self._connected: socket.socket | None = None
        self._waiting: deque[tuple[DatagramPlan, Sender]] = deque(maxlen=_MAX_WAITING)
        self._scope = trio.CancelScope(deadline=now + window)
        # Whether it was recorded that nothing reaches the upstream; false again once it answers.
        self._is_unreachable = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._scope.cancel_called

    @property
    def is_waiting(self) -> bool:
        """Whether a reply may still come."""
        if self._is_unreachable or self.has_ended:
            return False
        if self._tap is not None:
            return self._tap.is_waiting
        return self._current is not None and self._current.record.answered is None

    def end(self) -> None:
        """Forget the client."""
        self._scope.cancel()

    async def run(self) -> None:
        """Relay until the client has been silent for long. Raises nothing but cancellation."""
        try:
            with self._scope:
                await self._relay()
        except DialError as error:
            self._fail(str(error))
        finally:
            self._scope.cancel()
            self._to_server = self._connected = None
            now = trio.current_time()
            self._end_exchange(now)
            if self._tap is not None:
                self._tap.give_up(now)
            self._tracker.closed()

    async def _relay(self) -> None:
        upstream = self._state.upstream
        if is_loop(self._state, self._inbound):
            raise DialError(REASON)
        connected = await dial(upstream.host, upstream.port, socket.SOCK_DGRAM)
        if is_scarce(connected.fileno()):
            # Together they could keep out all others for as long as they are silent.
            self._window = min(self._window, _SCARCE_WINDOW)
            self._scope.deadline = trio.current_time() + self._window
        with closed_at_end(connected), self._linked(connected):
            async with trio.open_nursery() as nursery:
                writer = DatagramFaultWriter(UpstreamSocket(connected, self._note_error), nursery)
                self._to_server, self._connected = writer, connected
                while self._waiting:
                    writer.perform(*self._waiting.popleft())
                while True:
                    await trio.lowlevel.wait_readable(connected)
                    now = trio.current_time()
                    self._scope.deadline = now + self._window
                    self._read(connected, now)

    @property
    def _inbound(self) -> Leg:
        return Leg("udp", self._sender.remote)

    @contextlib.contextmanager
    def _linked(self, connected: socket.socket) -> Iterator[None]:
        """Note whose datagrams the socket sends, before the first of them."""
        link = Link.note(self._state, self._inbound, connected)
        try:
            yield
        finally:
            link.remove()

    def _read(self, connected: socket.socket, now: float) -> None:
        for _ in range(_MAX_READS):
            try:
                datagram = connected.recv(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._note_error(error)
                continue
            if self._silence.is_on:
                continue
            self._is_unreachable = False
            self._from_server(datagram, now)
            self._on_reply()

    # -- units

    def from_client(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Take a datagram of the client's; ``sender`` has its TTL."""
        self._scope.deadline = now + self._window
        if self._connected is not None:
            # If both sides have sent something, that of the server belongs to the exchange before.
            self._read(self._connected, now)
        if self._tap is not None:
            self._tap.from_client(datagram, now)
        exchange = self._begin(now, sent_by=CLIENT)
        exchange.payload = datagram
        self._tracker.journal.sent(exchange.record, CLIENT, datagram, now, is_whole=True)
        if sender.ttl is not None and sender.ttl <= 1:
            self._fail(_USED_UP)
            return
        plan = self._tracker.plan_of_unit(exchange, Stage.REQUEST, now)
        if plan is None:
            self._send(DatagramPlan((datagram,)), sender)
            return
        delay = plan.delay_before() if plan.strikes_before else 0.0
        if delay is None:
            plan.finish()
            return  # it never reaches the server
        changed = plan.datagram(datagram, self._pad, self._holds_to_server)
        self._send(attrs.evolve(changed, delay=changed.delay + delay), sender)

    def _from_server(self, datagram: bytes, now: float) -> None:
        if self._tap is not None:
            self._tap.from_server(datagram, now)
        exchange = self._current or self._begin(now, sent_by=SERVER)
        self._tracker.journal.sent(exchange.record, SERVER, datagram, now, is_whole=True)
        plan = self._tracker.plan_of_unit(exchange, Stage.REPLY, now)
        if plan is None:
            self._to_client.send(datagram, self._sender)
        else:
            changed = plan.datagram(datagram, self._pad, self._to_client.holds)
            self._to_client.perform(changed, self._sender, lambda: self._delivered(exchange))
        exchange.record.complete = True

    def _delivered(self, exchange: LiveExchange) -> None:
        self._tracker.journal.delivered(exchange.record, trio.current_time())

    def _begin(self, now: float, *, sent_by: str) -> LiveExchange:
        self._end_exchange(now)
        self._current = self._tracker.begin(now, sent_by=sent_by)
        return self._current

    def _end_exchange(self, now: float) -> None:
        exchange, self._current = self._current, None
        if exchange is not None:
            self._tracker.end(exchange, now, complete=exchange.record.answered is not None)

    def _pad(self, datagram: bytes, size: int) -> bytes:
        pad = pad_line if self._state.upstream.is_esps else pad_bytes
        return pad(datagram, size)

    def _holds_to_server(self, fault: Fault) -> bool:
        if self._to_server is not None:
            return self._to_server.holds(fault)
        # Not connected yet. Once it is, `_waiting` is sent in order: how many others will the
        # datagram that the fault holds then still wait for?
        others = 0
        for plan, _ in self._waiting:
            others = plan.hold if plan.held_by is fault else max(0, others - bool(plan.datagrams))
        return others > 0

    def _send(self, plan: DatagramPlan, sender: Sender) -> None:
        if self._to_server is None:
            self._waiting.append((plan, sender))
        else:
            self._to_server.perform(plan, sender)

    # -- an upstream that is not there

    def _note_error(self, error: OSError) -> None:
        self._fail(error.strerror or str(error))

    def _fail(self, reason: str) -> None:
        """Record that a datagram does not reach the upstream; once, until that answers again."""
        state = self._state
        if not self._is_unreachable:
            log.warning("cannot reach %s: %s", state.upstream, reason)
            state.note_unreachable(reason)
        self._is_unreachable = True
        exchange = self._current
        if exchange is not None and exchange.record.answered is None:
            exchange.record.unreachable = reason
            self._end_exchange(trio.current_time())
