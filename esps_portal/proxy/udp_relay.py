"""UDP through a proxy: datagram for datagram, with a socket towards the portal for each client.

The portal sees a source of its own for each client, as it would without a proxy, so that what it
remembers of a client stays right. A client is forgotten when it has been silent for as long as the
portal remembers it.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from esps_portal.journal.journal import Journal
from esps_portal.journal.tap import DatagramTap
from esps_portal.net.datagram_socket import DatagramSocket, Sender
from esps_portal.net.dial import DialError, dial
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.urls import PortalURL

_log = logging.getLogger("esps_portal")

# Clients at a time, for each listening socket; each costs a descriptor. One more, and the one that
# has been silent for longest is forgotten.
_MOST_CLIENTS = 512
# Read in a row, before other tasks get a turn.
_AT_A_STRETCH = 64
# Datagrams that wait for the socket towards the portal to be made.
_MOST_WAITING = 64
_LARGEST = 65535


class Flow:
    """The datagrams between one client and the portal. `run` is its whole life.

    Args:
        send_back: sends a datagram to the client.
        window: seconds of silence after which it ends.
    """

    def __init__(
        self,
        upstream: PortalURL,
        tap: DatagramTap,
        send_back: Callable[[bytes], None],
        window: float,
    ) -> None:
        self._upstream = upstream
        self._tap = tap
        self._send_back = send_back
        self._window = window
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._scope = trio.CancelScope(deadline=trio.current_time() + window)
        # Whether it has been logged that the portal refuses; false again once it is heard.
        self._is_refused = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._scope.cancel_called

    @property
    def is_waiting(self) -> bool:
        """Whether an answer may still come."""
        return self._tap.is_waiting and not self._is_refused and not self.has_ended

    def end(self) -> None:
        """Forget the client."""
        self._scope.cancel()

    def pass_on(self, datagram: bytes, now: float) -> None:
        """Take a datagram of the client's."""
        self._scope.deadline = now + self._window
        self._tap.from_client(datagram, now)
        if self._socket is None:
            self._waiting.append(datagram)
        else:
            self._send(self._socket, datagram)

    async def run(self) -> None:
        """Relay until the client has been silent for long. Raises nothing but cancellation."""
        try:
            with self._scope:
                await self._relay()
        except DialError as error:
            _log.warning("cannot reach %s: %s", self._upstream, error)
        finally:
            self._socket = None
            self._scope.cancel()
            self._tap.give_up(trio.current_time())

    async def _relay(self) -> None:
        with await dial(self._upstream.host, self._upstream.port, socket.SOCK_DGRAM) as connected:
            self._socket = connected
            while self._waiting:
                self._send(connected, self._waiting.popleft())
            while True:
                await trio.lowlevel.wait_readable(connected)
                now = trio.current_time()
                self._scope.deadline = now + self._window
                self._pass_back(connected, now)

    def _pass_back(self, connected: socket.socket, now: float) -> None:
        for _ in range(_AT_A_STRETCH):
            try:
                datagram = connected.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._refused(error)
                continue
            self._is_refused = False
            self._tap.from_portal(datagram, now)
            self._send_back(datagram)

    def _send(self, connected: socket.socket, datagram: bytes) -> None:
        try:
            connected.send(datagram)
        except BlockingIOError:
            return  # as if lost on the way: the client sends it again
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        if not self._is_refused:
            _log.warning("cannot reach %s: %s", self._upstream, error.strerror)
        self._is_refused = True


class DatagramProxy:
    """Relays what comes on one UDP socket, which it owns."""

    def __init__(
        self, sock: socket.socket, limits: Limits, upstream: PortalURL, journal: Journal
    ) -> None:
        self._socket = DatagramSocket(sock)
        self._upstream = upstream
        self._journal = journal
        self._limits = limits
        # By source and the address that was asked; the latest heard last.
        self._flows: OrderedDict[Sender, Flow] = OrderedDict()
        self._closing = False
        self._settled: trio.Event | None = None
        #: One task for each client; `run` opens it.
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Relay until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self._socket.run(self._handle)

    async def shut_down(self) -> None:
        """Pass on nothing more; return once what waits for an answer has had time for it."""
        self._closing = True
        with trio.move_on_after(self._limits.drain):
            while self._is_waiting:
                self._settled = trio.Event()
                await self._settled.wait()

    @property
    def _is_waiting(self) -> bool:
        return any(flow.is_waiting for flow in self._flows.values())

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        if self._closing:
            return
        flow = self._flows.get(sender)
        if flow is None or flow.has_ended:
            flow = self._begin(sender)
            self._nursery.start_soon(self._run, sender, flow)
        self._flows[sender] = flow
        self._flows.move_to_end(sender)
        if len(self._flows) > _MOST_CLIENTS:
            _, silent = self._flows.popitem(last=False)
            silent.end()
        flow.pass_on(datagram, now)

    def _begin(self, sender: Sender) -> Flow:
        def send_back(datagram: bytes) -> None:
            self._socket.send(datagram, sender)
            if self._settled is not None:
                self._settled.set()

        tap = DatagramTap(self._journal, sender.remote, self._limits.window)
        return Flow(self._upstream, tap, send_back, self._limits.window)

    async def _run(self, sender: Sender, flow: Flow) -> None:
        try:
            await flow.run()
        finally:
            if self._flows.get(sender) is flow:
                del self._flows[sender]
            if self._settled is not None:
                self._settled.set()
