"""The datagrams between one client and the upstream, as exchanges under faults.

A datagram is a unit. A reply belongs to the latest request of its client's: which one a server
means only its protocol could tell, so replies are told apart by ``reply_match``.

A datagram reaches the upstream with a TTL that is less by one, so that one that goes round among
proxies of several processes is dropped at last: after 64 rounds, if its sender has set no other
TTL. A reply needs no such thing. It goes back through those flows alone through which its request
has come, each of which is younger than the one before, and ends at the client of the first.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator

import trio

from esps_portal.faults.datagram_plan import DatagramPlan, pad_bytes, pad_line
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.target import FaultTarget, Stage
from esps_portal.journal.records import ABORTED, FAULTED, REPLIED, RecordedConnection
from esps_portal.journal.tap import DatagramTap
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_socket import Sender
from esps_portal.net.dial import DialError, dial
from esps_portal.net.fork import closed_at_end
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.ttl import set_ttl
from esps_portal.proxy.circle import REASON, Link, Way, goes_round
from esps_portal.proxy.conversation import CLIENT, SERVER, LiveExchange, service_of
from esps_portal.proxy.state import ProxyState

_log = logging.getLogger("esps_portal")

# Read in a row, before other tasks get a turn.
_MAX_READS = 64
# Datagrams that wait for the socket towards the upstream to be made.
_MAX_WAITING = 64
_MAX_DATAGRAM = 65535
_USED_UP = "a datagram came with its TTL used up: do proxies point at each other?"


class UpstreamSocket:
    """The socket of one client towards the upstream, as a `DatagramFaultWriter` sends on it."""

    def __init__(self, connected: socket.socket, on_refused: Callable[[OSError], None]) -> None:
        self._socket = connected
        self._on_refused = on_refused
        # As it came with the last datagram; what is sent has one less.
        self._ttl: int | None = None

    def send(self, datagram: bytes, to: Sender) -> None:
        """Send a datagram of that sender's; it may be lost on the way."""
        if to.ttl != self._ttl:
            self._lower_ttl(to.ttl)
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            return  # as if lost on the way: the client sends it again
        except OSError as error:
            self._on_refused(error)

    def _lower_ttl(self, ttl: int | None) -> None:
        self._ttl = ttl
        if ttl is not None:
            set_ttl(self._socket, ttl - 1)

    def send_from_other_port(self, datagram: bytes, to: Sender) -> None:
        """Send it from another port, whose replies nobody gets."""
        with (
            contextlib.suppress(OSError),
            socket.socket(self._socket.family, socket.SOCK_DGRAM) as other,
        ):
            if to.ttl is not None:
                set_ttl(other, to.ttl - 1)
            other.connect(self._socket.getpeername())
            other.send(datagram)


class Flow:
    """The datagrams between one client and the upstream. `run` is its whole life.

    Args:
        number: of the client, counted by the proxy.
        to_client: sends to the client, or performs what a fault makes of it.
        tap: notes the calls of ESPS/1; ``None``: another protocol.
        window: seconds of silence after which it ends.
        on_reply: called after each datagram of the server's.
        silence: as long as it is on, what the server says vanishes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is composed
        self,
        state: ProxyState,
        sender: Sender,
        number: int,
        to_client: DatagramFaultWriter,
        tap: DatagramTap | None,
        window: float,
        on_reply: Callable[[], None],
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
        self._client = RecordedConnection(number, sender.remote, now - state.exchanges.start)
        self._opened = now
        self._number = 0
        self._current: LiveExchange | None = None
        self._to_server: DatagramFaultWriter | None = None
        self._connected: socket.socket | None = None
        self._waiting: deque[tuple[DatagramPlan, Sender]] = deque(maxlen=_MAX_WAITING)
        self._scope = trio.CancelScope(deadline=now + window)
        # Whether it has been noted that the upstream refuses; false again once it is heard.
        self._is_refused = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._scope.cancel_called

    @property
    def is_waiting(self) -> bool:
        """Whether a reply may still come."""
        if self._is_refused or self.has_ended:
            return False
        if self._tap is not None:
            return self._tap.is_waiting
        return self._current is not None and not self._current.record.reply_size

    def end(self) -> None:
        """Forget the client."""
        self._scope.cancel()

    async def run(self) -> None:
        """Relay until the client has been silent for long. Raises nothing but cancellation."""
        try:
            with self._scope:
                await self._relay()
        except DialError as error:
            self._note_unreachable(str(error))
        finally:
            self._scope.cancel()
            self._to_server = self._connected = None
            now = trio.current_time()
            self._end_exchange(now)
            if self._tap is not None:
                self._tap.give_up(now)
            self._state.faults.forget(self._sender.address)

    async def _relay(self) -> None:
        upstream = self._state.upstream
        if goes_round(self._state, self._came):
            raise DialError(REASON)
        connected = await dial(upstream.host, upstream.port, socket.SOCK_DGRAM)
        with closed_at_end(connected), self._linked(connected):
            async with trio.open_nursery() as nursery:
                writer = DatagramFaultWriter(UpstreamSocket(connected, self._refused), nursery)
                self._to_server, self._connected = writer, connected
                while self._waiting:
                    writer.perform(*self._waiting.popleft())
                while True:
                    await trio.lowlevel.wait_readable(connected)
                    now = trio.current_time()
                    self._scope.deadline = now + self._window
                    self._read(connected, now)

    @property
    def _came(self) -> Way:
        return Way("udp", self._sender.remote)

    @contextlib.contextmanager
    def _linked(self, connected: socket.socket) -> Iterator[None]:
        """Note whose datagrams the socket sends, before the first of them."""
        link = Link.note(self._state, self._came, connected)
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
                self._refused(error)
                continue
            if self._silence.is_on:
                continue
            self._is_refused = False
            self._from_server(datagram, now)
            self._on_reply()

    # -- units

    def from_client(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Take a datagram of the client's; ``sender`` has its TTL."""
        self._scope.deadline = now + self._window
        if self._connected is not None:
            # Where both have sent something the server's belongs to the exchange before.
            self._read(self._connected, now)
        if self._tap is not None:
            self._tap.from_client(datagram, now)
        exchange = self._begin(now, said_by=CLIENT)
        self._state.exchanges.said(exchange.record, CLIENT, datagram, now, is_whole=True)
        if sender.ttl is not None and sender.ttl <= 1:
            self._fail(_USED_UP)
            return
        plan = self._plan(exchange, Stage.REQUEST)
        if plan is None:
            self._send(DatagramPlan((datagram,)), sender)
            return
        delay = plan.delay_before() if plan.strikes_before else 0.0
        if delay is None:
            plan.finish()
            return  # it never reaches the server
        changed = plan.datagram(datagram, self._pad)
        self._send(
            DatagramPlan(
                changed.datagrams, changed.delay + delay, changed.hold, changed.from_other_port
            ),
            sender,
        )

    def _from_server(self, datagram: bytes, now: float) -> None:
        if self._tap is not None:
            self._tap.from_server(datagram, now)
        exchange = self._current or self._begin(now, said_by=SERVER)
        self._state.exchanges.said(exchange.record, SERVER, datagram, now, is_whole=True)
        plan = self._plan(exchange, Stage.REPLY)
        if plan is None:
            self._to_client.send(datagram, self._sender)
        else:
            self._to_client.perform(plan.datagram(datagram, self._pad), self._sender)
        exchange.record.note_reply()

    def _begin(self, now: float, *, said_by: str) -> LiveExchange:
        self._end_exchange(now)
        if said_by == CLIENT or self._number:
            self._number += 1
        record = self._state.exchanges.began(
            "udp", self._sender.remote, self._client, self._number, now
        )
        self._current = LiveExchange(record)
        return self._current

    def _end_exchange(self, now: float) -> None:
        if self._current is None:
            return
        exchange, self._current = self._current, None
        record = exchange.record
        if record.number and not record.reply_size and self._state.faults.in_force:
            self._state.faults.count_unanswered(self._target(exchange, Stage.REPLY))
        state = FAULTED if record.fault else REPLIED if record.reply_size else ABORTED
        complete = record.reply_size > 0
        self._state.exchanges.exchange_ended(record, state, now, complete=complete)

    def _plan(self, exchange: LiveExchange, stage: Stage) -> FaultPlan | None:
        faults = self._state.faults
        return faults.plan(self._target(exchange, stage)) if faults.in_force else None

    def _target(self, exchange: LiveExchange, stage: Stage) -> FaultTarget:
        record = exchange.record
        return FaultTarget(
            "udp",
            self._sender.address,
            service=service_of(record.request) if self._state.upstream.is_esps else None,
            record=record,
            stage=stage,
            said=record.request,
            number=record.number,
            age=trio.current_time() - self._opened,
            counted=exchange.counted,
        )

    def _pad(self, datagram: bytes, size: int) -> bytes:
        pad = pad_line if self._state.upstream.is_esps else pad_bytes
        return pad(datagram, size)

    def _send(self, plan: DatagramPlan, sender: Sender) -> None:
        if self._to_server is None:
            self._waiting.append((plan, sender))
        else:
            self._to_server.perform(plan, sender)

    # -- an upstream that is not there

    def _refused(self, error: OSError) -> None:
        self._fail(error.strerror or str(error))

    def _fail(self, reason: str) -> None:
        """Note that a datagram does not reach the upstream: once, until that is heard."""
        if not self._is_refused:
            self._note_unreachable(reason)
        self._is_refused = True

    def _note_unreachable(self, reason: str) -> None:
        _log.warning("cannot reach %s: %s", self._state.upstream, reason)
        self._state.note_unreachable(reason)
        if self._current is not None:
            self._end_exchange(trio.current_time())
