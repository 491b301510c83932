"""The blocking client over UDP: one request at a time, sent again until it is answered."""

from __future__ import annotations

from esps_portal.client.blocking_client import BlockingClient
from esps_portal.client.deadline import now_before, socket_timeout
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.transmission import Transmission, udp_requests
from esps_portal.clock import monotonic
from esps_portal.protocol.messages import padded
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class BlockingUDPClient(BlockingClient):
    """A portal over a UDP socket, which the client owns."""

    def __init__(self, connected: HostSocket, timeout: float, url: PortalURL) -> None:
        super().__init__(udp_requests(), timeout, url)
        self._socket = connected
        self._schedule = Retransmission.for_host(connected.address)
        self._transmissions: dict[PendingRequest, Transmission] = {}

    def _transmit(self, pending: PendingRequest, deadline: float) -> None:  # noqa: ARG002 - TCP needs it
        self._send_datagram(pending, pending.line)

    def _send_datagram(self, pending: PendingRequest, datagram: bytes, late: int = 0) -> None:
        sent = Transmission(datagram, self._schedule, monotonic(), late)
        self._socket.send(datagram)
        self._transmissions[pending] = sent

    def _receive(self, deadline: float, pending: PendingRequest) -> None:
        now = now_before(deadline, self._requests.rejected)
        sent = self._transmissions[pending]
        if sent.due <= now:
            sent.repeat(now, self._requests.rejected)
            self._socket.send(sent.datagram)
        self._socket.settimeout(socket_timeout(min(deadline, sent.due) - now))
        try:
            datagram = self._socket.receive()
        except TimeoutError:
            return
        if datagram is None:
            self._socket.send(sent.datagram)
            return
        self._requests.receive_datagram_untrusted(datagram)
        length = sent.padded_length(pending)
        if length is not None:
            self._requests.resume(pending)
            self._send_datagram(pending, padded(pending.line, length), sent.unanswered)
        elif sent.is_answered_late(pending):
            self._requests.await_again(pending)

    def _forget(self, pending: PendingRequest) -> None:
        # UDP has no CANCEL: the portal's own time limit ends the call.
        self._requests.forget(pending)
        self._transmissions.pop(pending, None)

    def close(self) -> None:
        """Close the socket."""
        self._is_closed = True
        self._socket.close()
