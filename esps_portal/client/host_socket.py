"""A UDP socket towards a host that may have several addresses, for both clients: no trio here."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any


class HostSocket:
    """A UDP socket connected to one address of a host; to the next one where nobody listens.

    localhost is two addresses, ::1 and 127.0.0.1, and a portal may listen on one alone. Without a
    handshake that shows only when a datagram is refused. What was refused was not executed, so it
    may be sent to the next address.

    Args:
        infos: what ``getaddrinfo`` returned.

    Raises:
        OSError: no address can be reached from here.
    """

    def __init__(self, infos: Iterable[tuple[Any, ...]]) -> None:
        self._infos = iter(infos)
        self._was_heard = False
        self.address, self._socket = self._connect_next()

    def send(self, datagram: bytes) -> None:
        """Send a datagram.

        Raises:
            OSError: as of a socket.
        """
        self._socket.send(datagram)

    def receive(self, size: int) -> bytes:
        """Return the next datagram.

        Raises:
            OSError: as of a socket.
        """
        datagram = self._socket.recv(size)
        self._was_heard = True
        return datagram

    def settimeout(self, seconds: float | None) -> None:
        """Let `receive` wait for that long; 0 does not block."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def move_on(self, refused: OSError) -> bool:
        """Whether there is another address to ask, after this one has refused; connect to it."""
        if self._was_heard or refused.errno != errno.ECONNREFUSED:
            return False
        timeout = self._socket.gettimeout()
        try:
            self.address, after = self._connect_next()
        except OSError:
            return False
        self._socket.close()
        self._socket = after
        self._socket.settimeout(timeout)
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _connect_next(self) -> tuple[str, socket.socket]:
        failed = OSError(errno.EADDRNOTAVAIL, "no other address")
        for family, kind, _, _, address in self._infos:
            made = socket.socket(family, kind)
            try:
                made.connect(address)
            except OSError as error:
                made.close()
                failed = error
            else:
                return str(address[0]), made
        raise failed
