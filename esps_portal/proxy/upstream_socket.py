"""The UDP socket of one client towards the upstream; it sends each datagram with a lower TTL."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from esps_portal.net.datagram_sender import Sender
from esps_portal.net.ttl import set_ttl


class UpstreamSocket:
    """The socket of one client towards the upstream: the `DatagramSender` of a fault writer.

    Args:
        on_error: called with the error where a datagram cannot be sent: the upstream refuses it, or
            has refused an earlier one.
    """

    def __init__(self, connected: socket.socket, on_error: Callable[[OSError], None]) -> None:
        self._socket = connected
        self._on_error = on_error
        # The TTL of the last datagram as it came; it is sent with one less.
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
            self._on_error(error)

    def _lower_ttl(self, ttl: int | None) -> None:
        self._ttl = ttl
        if ttl is not None:
            set_ttl(self._socket, ttl - 1)

    def send_from_other_port(self, datagram: bytes, to: Sender) -> None:
        """Send it from another port, whose replies nobody gets."""
        with (
            contextlib.suppress(OSError),
            # Not socket.socket, which a test may have replaced: see `accepted`.
            type(self._socket)(self._socket.family, socket.SOCK_DGRAM) as other,
        ):
            if to.ttl is not None:
                set_ttl(other, to.ttl - 1)
            other.connect(self._socket.getpeername())
            other.send(datagram)
