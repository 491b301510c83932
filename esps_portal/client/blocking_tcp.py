"""The blocking client over TCP."""

from __future__ import annotations

import contextlib
import socket

from esps_portal.client.blocking_client import BlockingClient
from esps_portal.client.deadline_socket import DeadlineSocket
from esps_portal.client.tcp_session import (
    CLEANUP_TIMEOUT,
    HELLO,
    HELLO_DELAY,
    QUIT,
    READ_SIZE,
    TCPSession,
)
from esps_portal.clock import monotonic
from esps_portal.net.tls import TLSSocket
from esps_portal.protocol.errors import EspsError, PeerError, TimedOutError
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class BlockingTCPClient(BlockingClient):
    """A portal over a connected TCP socket, or TLS on one, which the client owns."""

    def __init__(
        self, connected: socket.socket | TLSSocket, timeout: float, url: PortalURL
    ) -> None:
        self._session = TCPSession()
        self._socket = DeadlineSocket(connected)
        super().__init__(self._session.requests, timeout, url)

    def wait_for_greeting(self, deadline: float) -> None:
        """Wait for the greeting; send a HELLO if none comes for `HELLO_DELAY` seconds.

        Raises:
            TimedOutError, ClosedError, PeerError: none came.
        """
        due = min(deadline, monotonic() + HELLO_DELAY)
        try:
            self._read_greeting(due)
        except TimedOutError:
            if self._session.lost is not None or due == deadline:
                raise
            self._requests.forget(self._send(*HELLO, deadline))
            self._read_greeting(deadline)

    def _read_greeting(self, deadline: float) -> None:
        while not self._session.has_greeted:
            self._read(deadline)

    def _transmit(self, pending: PendingRequest, deadline: float) -> None:
        if self._session.lost is not None:
            raise self._session.lost_again()
        self._send_line(pending.line, deadline)

    def _send_line(self, line: bytes, deadline: float) -> None:
        """Send one line, which the kernel's buffers hold even if the portal is slow."""
        if monotonic() >= deadline:
            raise TimedOutError("no reply in time")
        try:
            self._socket.send_all(line, deadline)
        except TimeoutError as error:
            # Half a line may have been sent: nothing can follow it.
            stuck = TimedOutError("send timed out: the portal is not reading")
            raise self._session.lose(stuck) from error
        except OSError as error:
            raise self._session.send_failed(error) from error
        except BaseException:  # Ctrl-C, for example: half a line again
            self._session.lose(PeerError("a request was interrupted while it was sent"))
            raise

    def _receive(self, pending: PendingRequest, deadline: float) -> None:  # noqa: ARG002 - UDP needs it
        self._read(deadline)

    def _read(self, deadline: float) -> None:
        if self._session.lost is not None:
            raise self._session.lost_again()
        try:
            data = self._socket.receive(READ_SIZE, deadline)
        except TimeoutError as error:
            unfinished = self._requests.unfinished
            raise TimedOutError("no reply in time", unfinished=unfinished) from error
        except OSError as error:
            raise self._session.receive_failed(error) from error
        self._session.receive_untrusted(data)

    def _forget(self, pending: PendingRequest) -> None:
        if pending.final is None:
            self._requests.forget(pending)
            self._send_last(self._requests.cancellation(pending))

    def _send_last(self, line: bytes) -> None:
        """Send a line that needs no answer, if that is still possible."""
        if self._session.lost is None:
            with contextlib.suppress(EspsError):
                self._send_line(line, monotonic() + CLEANUP_TIMEOUT)

    def close(self) -> None:
        """Send QUIT, and close."""
        self._send_last(QUIT)
        self._socket.close()
