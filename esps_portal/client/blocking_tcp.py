"""The blocking client over TCP."""

from __future__ import annotations

import contextlib
import socket

from esps_portal.client.blocking_client import BlockingClient
from esps_portal.client.deadline import socket_timeout
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

# Seconds that a wait may take longer than its deadline says (own choice: a busy machine adds more).
_TOLERANCE = 0.002


class BlockingTCPClient(BlockingClient):
    """A portal over a connected TCP socket, or TLS on one, which the client owns."""

    def __init__(
        self, connected: socket.socket | TLSSocket, timeout: float, url: PortalURL
    ) -> None:
        self._session = TCPSession()
        self._socket = connected
        # The timeout that the socket has, once it was set.
        self._socket_timeout = 0.0
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
            self._receive(deadline)

    def _transmit(self, pending: PendingRequest, deadline: float) -> None:
        self._send_line(pending.line, deadline)

    def _send_line(self, line: bytes, deadline: float) -> None:
        """Send one line, which the kernel's buffers hold even if the portal is slow."""
        self._set_timeout(deadline)
        try:
            self._socket.sendall(line)
        except TimeoutError as error:
            # Half a line may have been sent: nothing can follow it.
            stuck = TimedOutError("send timed out: the portal is not reading")
            raise self._session.lose(stuck) from error
        except OSError as error:
            raise self._session.send_failed(error) from error
        except BaseException:  # Ctrl-C, for example: half a line again
            self._session.lose(PeerError("a request was interrupted while it was sent"))
            raise

    def _receive(self, deadline: float, pending: PendingRequest | None = None) -> None:  # noqa: ARG002 - UDP needs it
        self._set_timeout(deadline)
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return  # nothing that TLS could decrypt yet
        except TimeoutError as error:
            unfinished = self._requests.unfinished
            raise TimedOutError("no reply in time", unfinished=unfinished) from error
        except OSError as error:
            raise self._session.receive_failed(error) from error
        self._session.receive_untrusted(data)

    def _set_timeout(self, deadline: float) -> None:
        """Let the socket wait until the deadline, and not much longer.

        Raises:
            TimedOutError: it has passed.
            ClosedError, PeerError: the connection is lost.
        """
        if self._session.lost is not None:
            raise self._session.lost_again()
        left = deadline - monotonic()
        if left <= 0:
            raise TimedOutError("no reply in time", unfinished=self._requests.unfinished)
        # To set one is a system call. Nearly always the one that it has will do.
        if not left <= self._socket_timeout <= left + _TOLERANCE:
            seconds = left + _TOLERANCE / 2
            self._socket.settimeout(socket_timeout(seconds))
            self._socket_timeout = seconds

    def _forget(self, pending: PendingRequest) -> None:
        if pending.final is None:
            self._requests.forget(pending)
            self._send_last(self._requests.cancellation(pending))

    def _send_last(self, line: bytes) -> None:
        """Send a line that needs no answer, if that is still possible."""
        with contextlib.suppress(EspsError):
            self._send_line(line, monotonic() + CLEANUP_TIMEOUT)

    def close(self) -> None:
        """Send QUIT, and close."""
        self._send_last(QUIT)
        self._is_closed = True
        self._socket.close()
