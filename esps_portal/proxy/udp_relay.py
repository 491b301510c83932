"""UDP through a proxy: datagram for datagram, with a socket towards the upstream for each client.

The upstream sees a different source for each client, as it would without a proxy, so that what it
remembers of a client stays right. A client is forgotten after a silence of as long as a portal
would remember it.
"""

from __future__ import annotations

import socket

import trio

from esps_portal.journal.tap import DatagramTap
from esps_portal.net.datagram_clients import DatagramClients
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import DatagramSocket
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.protocol.limits import Limits
from esps_portal.proxy.flow import Flow
from esps_portal.proxy.state import ProxyState


class DatagramProxy:
    """Relays what comes on one UDP socket, which it owns. `run` is its whole life.

    Args:
        silence: as long as it is on, what comes from either side vanishes.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        state: ProxyState,
        silence: Silence = NEVER_SILENT,
    ) -> None:
        self._socket = DatagramSocket(sock, silence, wants_ttl=True)
        self._silence = silence
        self._limits = limits
        self._state = state
        self._flows = DatagramClients[Flow]()
        self._closing = False
        self._changed = trio.lowlevel.ParkingLot()
        # `run` opens the first, with one task for each client, and makes the second.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter

    async def run(self) -> None:
        """Relay until cancelled or closed."""
        async with trio.open_nursery() as self._nursery:
            self._writer = DatagramFaultWriter(self._socket, self._nursery)
            await self._socket.run(self._handle)
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
        return not self._flows.all()

    def discard_waiting(self) -> None:
        """Discard what has come and was not read."""
        self._socket.discard_waiting()

    async def abort(self) -> None:
        """Forget every client, and drop what is late; return when that is so."""
        aborted = set(self._flows.all())
        for flow in aborted:
            flow.end()
        while not aborted.isdisjoint(self._flows.all()):
            await self._changed.park()
        if hasattr(self, "_writer"):
            self._writer.forget()

    async def shut_down(self) -> None:
        """Pass on nothing more; return once what waits for a reply has had time for it."""
        self._closing = True
        with trio.move_on_after(self._limits.drain):
            while any(flow.is_waiting for flow in self._flows.all()):
                await self._changed.park()

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        if self._closing:
            return
        flow = self._flows.get(sender)
        if flow is None or flow.has_ended:
            flow = self._begin(sender)
            self._nursery.start_soon(self._run, sender, flow)
        silent = self._flows.heard(sender, flow)
        if silent is not None:
            silent.end()
        flow.from_client(datagram, sender, now)

    def _begin(self, sender: Sender) -> Flow:
        state, window = self._state, self._limits.window
        tap = None
        if state.upstream.is_esps:
            tap = DatagramTap(state.journal, sender.remote, window)
        state.clients += 1
        return Flow(
            state,
            sender,
            state.clients,
            self._writer,
            tap,
            window,
            self._note_change,
            self._silence,
        )

    def _note_change(self) -> None:
        self._changed.unpark_all()

    async def _run(self, sender: Sender, flow: Flow) -> None:
        try:
            await flow.run()
        finally:
            self._flows.forget(sender, flow)
            self._changed.unpark_all()
