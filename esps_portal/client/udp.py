"""The client on trio over UDP: many calls at once, each sent again until it is answered."""

from __future__ import annotations

import trio

from esps_portal.client.errors import CLIENT_CLOSED
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.shared_reader import SharedReader
from esps_portal.client.transmission import Transmission, udp_requests
from esps_portal.protocol.messages import padded
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class UDPClient(PortalClient):
    """A portal over a non-blocking UDP socket, which the client owns."""

    def __init__(self, connected: HostSocket, schedule: Retransmission, url: PortalURL) -> None:
        self._url = url
        self._socket = connected
        self._schedule = schedule
        self._requests = udp_requests()
        self._reader = SharedReader(self._read)
        self._transmissions: dict[PendingRequest, Transmission] = {}

    async def _send(self, verb: str, args: tuple[str | bytes, ...]) -> PendingRequest:
        if self._socket.fileno() < 0:
            raise RuntimeError(CLIENT_CLOSED)
        await trio.lowlevel.checkpoint()
        pending = self._requests.ask(verb, args)
        self._send_datagram(pending, pending.line)
        return pending

    def _send_datagram(self, pending: PendingRequest, datagram: bytes, late: int = 0) -> None:
        sent = Transmission(datagram, self._schedule, trio.current_time(), late)
        self._socket.send(datagram)
        self._transmissions[pending] = sent

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Wait until there is something to collect for ``pending``; meanwhile send it again."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not pending.is_ready:
            sent = self._transmissions[pending]
            with trio.move_on_at(sent.due):
                await self._reader.wait_for_news(pending)
            length = sent.padded_length(pending)
            if length is not None:
                self._requests.resume(pending)
                self._send_datagram(pending, padded(pending.line, length), sent.unanswered)
            elif sent.is_answered_late(pending):
                self._requests.await_again(pending)
            elif not pending.is_ready:
                sent.repeat(trio.current_time(), self._requests.rejected)
                self._socket.send(sent.datagram)
        if pending.is_over:
            self._transmissions.pop(pending, None)

    async def _read(self) -> None:
        if self._socket.fileno() < 0:
            raise RuntimeError(CLIENT_CLOSED)
        await trio.lowlevel.wait_readable(self._socket.fileno())
        try:
            datagram = self._socket.receive()
        except BlockingIOError:
            return
        if datagram is not None:
            self._requests.receive_datagram_untrusted(datagram)
            return
        # The address before this one has refused them all.
        for sent in self._transmissions.values():
            self._socket.send(sent.datagram)

    async def _abandon(self, pending: PendingRequest) -> None:
        # UDP has no CANCEL: the portal's own time limit ends the call.
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._requests.forget(pending)
        self._transmissions.pop(pending, None)

    async def wait_closed(self) -> None:
        """Wait indefinitely: over UDP there is no connection that could end."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Close the socket."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        trio.lowlevel.notify_closing(self._socket.fileno())
        self._socket.close()
