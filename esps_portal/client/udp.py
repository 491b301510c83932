"""The client over UDP: retransmission, padding, and nothing taken from a stranger.

The socket is connected, so that the kernel drops what others send and reports a refusal; a tag
is 64 random bits, so that nobody else can answer (spec, UDP).
"""

from __future__ import annotations

import random
import secrets

import attrs
import trio

from esps_portal.client.host_socket import HostSocket
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.shared_reader import SharedReader
from esps_portal.protocol.client_connection import ClientConnection, PendingRequest
from esps_portal.protocol.errors import TimedOutError, UnreachableError
from esps_portal.protocol.retransmission import Retransmission, padded_length
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_LARGEST = 65535


@attrs.define
class _Sent:
    """What was sent for a request, and when it is to be sent again."""

    datagram: bytes
    waits: list[float]
    deadline: float = 0.0


class UDPClient(PortalClient):
    """A portal over a UDP socket, which it owns, and which does not block."""

    def __init__(self, connected: HostSocket, schedule: Retransmission) -> None:
        self._socket = connected
        self._schedule = schedule
        self._requester = ClientConnection(lambda: secrets.token_hex(8).encode())
        self._turns = SharedReader(self._read)
        self._sent: dict[PendingRequest, _Sent] = {}

    async def _send(self, verb: bytes, args: tuple[str | bytes, ...]) -> PendingRequest:
        await trio.lowlevel.checkpoint()
        pending = self._requester.ask(verb, args)
        self._transmit(pending, pending.request.encode())
        return pending

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Wait for the answer; send the request again as long as none comes."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not pending.has_news:
            sent = self._sent[pending]
            with trio.move_on_at(sent.deadline):
                await self._turns.wait_for_news(pending)
            length = padded_length(pending, len(sent.datagram))
            if length is not None:
                self._requester.resume(pending)
                self._transmit(pending, pending.request.encode(length))
            elif not pending.has_news:
                self._retransmit(sent)
        if pending.is_over:
            self._sent.pop(pending, None)

    def _transmit(self, pending: PendingRequest, datagram: bytes) -> None:
        first, *others = self._schedule.waits(random.random())  # noqa: S311 - jitter, no secret
        sent = self._sent[pending] = _Sent(datagram, others, trio.current_time() + first)
        self._put(sent.datagram)

    def _retransmit(self, sent: _Sent) -> None:
        if not sent.waits:
            count = self._schedule.max_retransmit + 1
            raise TimedOutError(f"no answer to {count} datagrams", self._requester.rejected)
        sent.deadline = trio.current_time() + sent.waits.pop(0)
        self._put(sent.datagram)

    def _put(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            return  # as if lost on the way: it will be sent again
        except OSError as error:
            if not self._socket.move_on(error):
                raise UnreachableError(f"cannot send: {error.strerror}") from error
            self._put(datagram)

    async def _read(self) -> None:
        await trio.lowlevel.wait_readable(self._socket.fileno())
        try:
            datagram = self._socket.receive(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if not self._socket.move_on(error):
                raise UnreachableError(f"nobody listens there: {error.strerror}") from error
            for sent in self._sent.values():
                self._put(sent.datagram)
            return
        self._requester.receive_datagram_untrusted(datagram)

    async def _abandon(self, pending: PendingRequest) -> None:
        # UDP has no CANCEL: the portal's own time bound ends the call.
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._requester.forget(pending)
        self._sent.pop(pending, None)

    async def wait_closed(self) -> None:
        """Wait indefinitely: over UDP nothing ends."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Close the socket: there is no conversation to end."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        trio.lowlevel.notify_closing(self._socket.fileno())
        self._socket.close()
