"""UDP through a proxy: datagram for datagram, with a socket towards the upstream for each client.

The upstream sees a different source for each client, as it would without a proxy, so that what it
remembers of a client stays right. A client is forgotten after a silence of as long as a portal
would remember it, and soon where few descriptors are left.
"""

from __future__ import annotations

import trio

from esps_portal.journal.tap import DatagramTap
from esps_portal.net.datagram_clients import DatagramClients
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.silence import Silence
from esps_portal.proxy.flow import Flow
from esps_portal.proxy.state import ProxyState


class DatagramProxy:
    """Relays the datagrams of one UDP socket: the `DatagramService` of a proxy.

    Args:
        window: seconds of silence after which a client is forgotten.
        silence: as long as it is on, what comes from the upstream vanishes.
    """

    def __init__(self, state: ProxyState, window: float, silence: Silence) -> None:
        self._state = state
        self._window = window
        self._silence = silence
        self._flows = DatagramClients[Flow]()
        self._changed = trio.lowlevel.ParkingLot()
        # `begin` sets both.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter

    def begin(self, nursery: trio.Nursery, writer: DatagramFaultWriter) -> None:
        """Take where the task of each client runs, and what sends to clients."""
        self._nursery, self._writer = nursery, writer

    @property
    def is_idle(self) -> bool:
        """Whether there is no client."""
        return not self._flows.all()

    async def abort(self) -> None:
        """Forget every client; return when that is so."""
        aborted = set(self._flows.all())
        for flow in aborted:
            flow.end()
        while not aborted.isdisjoint(self._flows.all()):
            await self._changed.park()

    async def until_answered(self) -> None:
        """Wait until no reply of the upstream is waited for."""
        while any(flow.is_waiting for flow in self._flows.all()):
            await self._changed.park()

    def closed(self) -> None:
        """Nothing: each flow ends with its task."""

    def handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Pass a datagram on to the upstream."""
        flow = self._flows.get(sender)
        if flow is None or flow.has_ended:
            flow = self._begin(sender)
            self._nursery.start_soon(self._run, sender, flow)
        silent = self._flows.heard(sender, flow)
        if silent is not None:
            silent.end()
        flow.from_client(datagram, sender, now)

    def _begin(self, sender: Sender) -> Flow:
        state, window = self._state, self._window
        tap = None
        if state.upstream.is_esps:
            tap = DatagramTap(state.journal, sender.remote, window)
        state.clients += 1
        return Flow(
            state,
            sender,
            state.clients,
            to_client=self._writer,
            tap=tap,
            window=window,
            on_reply=self._changed.unpark_all,
            silence=self._silence,
        )

    async def _run(self, sender: Sender, flow: Flow) -> None:
        try:
            await flow.run()
        finally:
            self._flows.forget(sender, flow)
            self._changed.unpark_all()
