"""Sockets that change places on one port, and what waits in the queue of a listener."""

from __future__ import annotations

import contextlib
import socket
import struct

from esps_portal.net.bind import bound


def share(sock: socket.socket, *, allowed: bool) -> None:
    """Let other sockets bind the same address, or not."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return host and port of a bound socket."""
    host, port = sock.getsockname()[:2]
    return host, port


def another(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Bind one more socket like ``sock`` to its address."""
    return bound(sock.family, sock.type, *address, share=True)


def refuse_waiting(listener: socket.socket) -> None:
    """Reset the connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):
        while True:
            connected, _ = listener.accept()
            on, no_time = 1, 0
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, no_time)
            )
            connected.close()
