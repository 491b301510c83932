"""Sockets that change places on one port, and what waits in the queue of a listener."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable

import trio

from esps_portal.net.addresses import literal
from esps_portal.net.bind import BACKLOG, WILDCARDS, bound
from esps_portal.net.fork import close_socket, closed_in_child, unforked
from esps_portal.net.listening import accepted

# A client that connects in this very moment may take the place of our connection. After so many of
# them the last one keeps it: the queue is full as well, but that client is reset in the end.
_TRIES = 100
# Seconds (own choice). Over loopback a handshake takes microseconds.
_HANDSHAKE = 0.05
_LOOPBACK = {WILDCARDS[socket.AF_INET]: "127.0.0.1", WILDCARDS[socket.AF_INET6]: "::1"}


def replaced(listener: socket.socket) -> socket.socket:
    """Close a listener, and return a new one on its address, with an empty queue."""
    address = address_of(listener)
    # Linux binds no socket beside one that listens. A shut one is only bound, and one that took
    # port 0 not even that: the reserved one beside it keeps the number.
    listener.shutdown(socket.SHUT_RD)
    new = another(listener, address)
    new.listen(BACKLOG)
    trio.lowlevel.notify_closing(listener)
    close_socket(listener)
    return new


def share(sock: socket.socket, *, allowed: bool) -> None:
    """Let other sockets bind the same address, or not."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return host and port of a bound socket."""
    return literal(sock.getsockname())


def another(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Bind one more socket like ``sock`` to its address."""
    with unforked:
        return closed_in_child(bound(sock.family, sock.type, *address, share=True))


def refuse_waiting(listener: socket.socket) -> None:
    """Reset the connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):
        while True:
            connected, _ = accepted(listener)
            on, no_time = 1, 0
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, no_time)
            )
            close_socket(connected)


def fill_queue(
    listener: socket.socket, accept_waiting: Callable[[socket.socket], None]
) -> socket.socket:
    """Let no more connections through to a listener; return the one that fills its queue.

    If the queue is full the kernel drops each SYN, so that a connect times out. The shortest queue
    holds one connection: one of ours, which nobody accepts.

    Args:
        accept_waiting: accepts what waits in the queue already.
    """
    host, *rest = listener.getsockname()
    address = (_LOOPBACK.get(host, host), *rest)
    listener.listen(0)
    for _ in range(_TRIES):
        accept_waiting(listener)
        with unforked:
            filler = closed_in_child(socket.socket(listener.family, socket.SOCK_STREAM))
        filler.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        filler.connect_ex(address)
        if _is_connected(filler, listener):
            break
        close_socket(filler)
    return filler


def _is_connected(filler: socket.socket, listener: socket.socket) -> bool:
    """Whether it is in the queue, rather than a client that was faster."""
    poll = select.poll()
    poll.register(filler, select.POLLOUT)
    poll.register(listener, select.POLLIN)
    poll.poll(_HANDSHAKE * 1000)
    try:
        filler.getpeername()
    except OSError:
        return False
    return True
