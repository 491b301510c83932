"""Replaces sockets by others on the same address, and empties or fills the queue of a listener."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable

import trio

from esps_portal.net.acceptor import accepted
from esps_portal.net.addresses import literal
from esps_portal.net.bind import BACKLOG, WILDCARDS, CannotBindError, bound
from esps_portal.net.fork import close_socket, closed_in_child, unforked
from esps_portal.net.systems import let_share, reset_at_close, wait_for

# A client that connects at the same moment may take the place of our connection. After this many
# attempts the last such client keeps it: then too the queue is full, but that client is reset in
# the end.
_TRIES = 100
# Seconds (own choice). Over loopback a handshake takes microseconds.
_HANDSHAKE = 0.05
# RFC 863, discard. Nothing is sent there: any port that is not a client's would do.
_DISCARD_PORT = 9
_LOOPBACK = {WILDCARDS[socket.AF_INET]: "127.0.0.1", WILDCARDS[socket.AF_INET6]: "::1"}


def replace_listener(listener: socket.socket) -> socket.socket:
    """Close a listener, and return a new one on its address, with an empty queue."""
    address = address_of(listener)
    # Linux binds no socket beside one that listens. After shutdown a listener is only bound, and
    # one that took port 0 not even that: the reserved socket beside it keeps the number.
    stop_listening(listener)
    new = None
    with contextlib.suppress(CannotBindError):  # a system that binds no two sockets to one address
        new = bind_another(listener, address)
    trio.lowlevel.notify_closing(listener)
    close_socket(listener)
    new = new or bind_another(listener, address)
    new.listen(BACKLOG)
    return new


def stop_listening(listener: socket.socket) -> None:
    """Stop listening, even if a child that was forked in C still has the listener open."""
    with contextlib.suppress(OSError):  # on other systems than Linux: it is not connected
        listener.shutdown(socket.SHUT_RD)


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return host and port of a bound socket."""
    return literal(sock.getsockname())


def bind_another(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Bind one more socket like ``sock`` to its address."""
    with unforked:
        return closed_in_child(bound(sock.family, sock.type, *address, beside=sock))


def bind_all_again(held: Iterable[tuple[socket.socket, tuple[str, int]]]) -> list[socket.socket]:
    """Bind a new socket to the address of each of these, which may be closed.

    Raises:
        CannotBindError: another program has taken one; then none is bound.
    """
    made: list[socket.socket] = []
    try:
        made.extend(bind_another(*each) for each in held)
    except CannotBindError:
        for sock in made:
            close_socket(sock)
        raise
    return made


def reserve_datagrams(sock: socket.socket) -> socket.socket | None:
    """Bind a socket that keeps the address of a UDP socket, but receives no datagram.

    The caller then closes the other socket. `None`: this system cannot bind a second one.
    """
    let_share(sock, allowed=True)
    address = address_of(sock)
    try:
        reserved = bind_another(sock, address)
    except CannotBindError:
        return None
    # A socket that is connected takes datagrams of that peer alone.
    reserved.connect((address[0], _DISCARD_PORT))
    sock.connect((address[0], _DISCARD_PORT))  # for a child that a fork in C has made
    return reserved


def refuse_waiting(listener: socket.socket) -> None:
    """Reset the connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):
        while True:
            connected, _ = accepted(listener)
            with contextlib.suppress(OSError):  # it was reset
                reset_at_close(connected)
            close_socket(connected)


def fill_queue(
    listener: socket.socket, accept_waiting: Callable[[socket.socket], None]
) -> socket.socket:
    """Fill the queue of a listener, so that connecting times out; return what fills it.

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
            filler = closed_in_child(type(listener)(listener.family, socket.SOCK_STREAM))
        filler.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        filler.connect_ex(address)
        if _is_connected(filler, listener):
            break
        close_socket(filler)
    return filler


def _is_connected(filler: socket.socket, listener: socket.socket) -> bool:
    """Whether it is in the queue, rather than a client that was faster."""
    wait_for([listener], [filler], _HANDSHAKE)
    try:
        filler.getpeername()
    except OSError:
        return False
    return True
