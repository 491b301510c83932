"""The calls that some systems lack, or do in a way of their own; each is here, once.

Where a system lacks something, this is done instead:

==============================  ==================================================================
what is missing                 what is done
==============================  ==================================================================
an ``epoll``                    `net.error_watch` checks the socket at intervals; there is no
                                `net.poller`, and each connection keeps its task
``poll(2)`` (Windows)           ``select``
``TIOCOUTQ`` (all but Linux)    what is not acknowledged is unknown, and counts as nothing
``TCP_USER_TIMEOUT``            the kernel's own bound holds
``TCP_NOTSENT_LOWAT``           "writable" has to do: a RST may overtake what was just sent
``recvmsg`` (Windows)           the address that a datagram was sent to, and its TTL, are unknown:
                                an answer leaves from where the kernel chooses
two sockets on one address      `net.port_outage` lets the port go while it is down, with a warning
(all but Linux)
``os.register_at_fork``         nothing: there is no fork
==============================  ==================================================================
"""

from __future__ import annotations

import array
import contextlib
import select
import socket
import struct
import sys
from collections.abc import Sequence

try:
    import fcntl
    import termios
except ImportError:  # Windows
    _OUTQ = None
else:
    _OUTQ = getattr(termios, "TIOCOUTQ", None)

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
# Where struct tcp_info has tcpi_bytes_acked, 64 bits wide (<linux/tcp.h>, Linux 4.1).
_BYTES_ACKED = slice(120, 128)
# struct linger: two ints; two unsigned shorts in <winsock2.h>. On, and no time: RST.
_RESET = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
# Windows alone has it. SO_REUSEADDR would there let any program take the port of one that listens,
# and a port is free at once anyway; this option keeps others out (Microsoft's "Using SO_REUSEADDR
# and SO_EXCLUSIVEADDRUSE").
_EXCLUSIVE: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
_TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_TCP_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
# An option of a socket is an int of C, and this is the largest: in milliseconds, 24 days.
_MAX_INT = 2**31 - 1
# Bytes (own choice): four times what a writer has ready, so that a peer that reads never waits. The
# kernel would take 4 MB for each (tcp_wmem in tcp(7)).
_UNSENT = 262_144
# Bytes (own choice): room for the 5,000 datagrams that a quick sender sends in 25 ms. The kernel
# takes no memory until they come, and 768 bytes for a short one then.
_RECEIVED = 1 << 22
#: Whether sockets report more about a datagram than its sender.
HAS_ANCILLARY: bool = hasattr(socket.socket, "recvmsg") and hasattr(socket.socket, "sendmsg")
#: struct in_pktinfo, which Linux and macOS have alike: ip(7), <netinet/in.h>. Python has a name for
#: its number from 3.14 on; `None`: the system has none, or another one.
IP_PKTINFO: int | None = getattr(socket, "IP_PKTINFO", {"linux": 8, "darwin": 26}.get(sys.platform))


def reset_at_close(sock: socket.socket) -> None:
    """Make closing a socket send RST and discard what the kernel still holds.

    Raises:
        OSError: it is broken, or closed.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def set_low_water(sock: socket.socket, size: int) -> None:
    """Make a socket readable only once ``size`` bytes have come, or no more can (socket(7)).

    On a system that does not offer this, it stays readable from the first byte on.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


def unacked(sock: socket.socket) -> int:
    """Return how many bytes were sent that the peer's system has not acknowledged (tcp(7))."""
    held = array.array("i", [0])
    if _OUTQ is not None:
        with contextlib.suppress(OSError, ValueError):  # the second: it is closed
            fcntl.ioctl(sock, _OUTQ, held)
    return held[0]


def acked(sock: socket.socket) -> int:
    """Return a number that changes when the peer's system has acknowledged more bytes.

    Linux counts them (tcp(7)). Elsewhere it changes when more is sent, too.
    """
    if _TCP_INFO is not None:
        with contextlib.suppress(OSError):
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.stop)
            if len(info) == _BYTES_ACKED.stop:
                return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
    return -unacked(sock)


def limit_unacked(sock: socket.socket, seconds: float) -> None:
    """Make the kernel give up after ``seconds`` without an acknowledgement (RFC 5482)."""
    if _TCP_USER_TIMEOUT is not None:
        with contextlib.suppress(OSError):
            milliseconds = int(max(1, min(seconds * 1000, _MAX_INT)))
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, milliseconds)


def limit_unsent(listener: socket.socket) -> None:
    """Make the kernel hold little that a peer does not read, on each connection of a listener.

    Without a limit each takes some megabytes, which no limit on the process counts.
    """
    if _TCP_NOTSENT_LOWAT is not None:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT)


def keep_more_received(sock: socket.socket) -> None:
    """Make the kernel keep more of the datagrams of a burst, as many as it may.

    Linux takes ``net.core.rmem_max`` for more without an error (socket(7)); others take nothing.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)


def writable_when_sent(sock: socket.socket) -> None:
    """Make a socket writable only once the kernel has sent everything (tcp(7)).

    Raises:
        OSError: it is broken.
    """
    if _TCP_NOTSENT_LOWAT is not None:
        # Writable is from now on: less than one byte is not sent.
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 1)


def let_share(sock: socket.socket, *, allowed: bool) -> None:
    """Let other sockets that allow it too have the same address; so does a connection that ended.

    Not on Windows, where others are kept out: see above.
    """
    if _EXCLUSIVE is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def keep_others_out(sock: socket.socket) -> None:
    """Keep other programs from taking the address of a socket that is not bound yet (Windows)."""
    if _EXCLUSIVE is not None:
        sock.setsockopt(socket.SOL_SOCKET, _EXCLUSIVE, 1)


def wait_for(
    readable: Sequence[socket.socket], writable: Sequence[socket.socket] = (), seconds: float = 0.0
) -> bool:
    """Wait for any of these sockets, in this thread; return whether one is ready.

    Not `select` where there is another way: it takes no descriptor beyond 1023.
    """
    if not hasattr(select, "poll"):
        return any(select.select(readable, writable, [], seconds))
    poll = select.poll()
    for sock in readable:
        poll.register(sock, select.POLLIN)
    for sock in writable:
        poll.register(sock, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
