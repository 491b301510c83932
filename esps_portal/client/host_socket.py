"""A UDP socket to a host that may have several addresses, for both clients. No trio here."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any

from esps_portal.protocol.errors import UnreachableError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_MAX_DATAGRAM = 65535  # bytes; the length field of UDP has 16 bits (RFC 768)


class HostSocket:
    """A UDP socket connected to one address of a host; to the next one where nobody listens.

    localhost is two addresses, ::1 and 127.0.0.1, and a portal may listen on one alone. Without a
    handshake that shows only when a datagram is refused. What was refused was not executed, so it
    may be sent to the next address. A connected socket takes datagrams from that address only.

    Args:
        infos: what ``getaddrinfo`` returned.

    Attributes:
        address: the literal address that it is connected to.

    Raises:
        OSError: no address can be reached from here.
    """

    def __init__(self, infos: Iterable[tuple[Any, ...]]) -> None:
        self._infos = iter(infos)
        self._has_received = False
        self.address: str
        self.address, self._socket = self._connect_next()

    def send(self, datagram: bytes) -> None:
        """Send a datagram. It counts as lost where the system has no room for it.

        Raises:
            UnreachableError: it cannot be sent to any address of the host.
        """
        while True:
            try:
                self._socket.send(datagram)
            except (BlockingIOError, TimeoutError):
                return
            except OSError as error:
                if not self._try_next(error):
                    raise UnreachableError(f"cannot send: {error.strerror}") from error
            else:
                return

    def receive(self) -> bytes | None:
        """Return the next datagram; ``None`` after a change to the next address: send again.

        Raises:
            BlockingIOError, TimeoutError: none has come; see `settimeout`.
            UnreachableError: nobody listens there.
        """
        try:
            datagram = self._socket.recv(_MAX_DATAGRAM)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            if self._try_next(error):
                return None
            raise UnreachableError(f"nobody listens there: {error.strerror}") from error
        self._has_received = True
        return datagram

    def settimeout(self, seconds: float | None) -> None:
        """Let `receive` wait for that long; 0 does not block, ``None`` waits indefinitely."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _try_next(self, error: OSError) -> bool:
        """Connect to the next address after this one has refused; return whether there is one."""
        if self._has_received or error.errno != errno.ECONNREFUSED:
            return False
        timeout = self._socket.gettimeout()
        try:
            self.address, connected = self._connect_next()
        except OSError:
            return False
        self._socket.close()
        self._socket = connected
        self._socket.settimeout(timeout)
        return True

    def _connect_next(self) -> tuple[str, socket.socket]:
        failure = OSError(errno.EADDRNOTAVAIL, "no other address")
        for family, kind, _, _, address in self._infos:
            made = socket.socket(family, kind)
            try:
                made.connect(address)
            except OSError as error:
                made.close()
                failure = error
            else:
                return str(address[0]), made
        raise failure
