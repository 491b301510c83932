"""The TTL of a datagram: how many more hops it may take (IPv6 calls it the hop limit).

A proxy lowers it by one when it passes a datagram on, as a router does (RFC 1812, section 5.3.1;
RFC 8200, section 3). So a datagram in a loop is dropped in the end. Where the system does not
report the TTL of a received datagram, it is unknown, and nothing is changed.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterable

# <linux/in.h>, <netinet/in.h> of macOS; the socket module has it from Python 3.14 on. Linux then
# says IP_TTL for what came, others IP_RECVTTL, as a single byte.
_IP_RECVTTL: int | None = getattr(
    socket, "IP_RECVTTL", {"linux": 12, "darwin": 24}.get(sys.platform)
)
# By level, as plain numbers, which are faster to compare.
_KINDS = {
    int(socket.IPPROTO_IP): (socket.IP_TTL, _IP_RECVTTL),
    int(socket.IPPROTO_IPV6): (getattr(socket, "IPV6_HOPLIMIT", None),),
}


def ask_for_ttl(sock: socket.socket) -> None:
    """Have the kernel report the TTL of each datagram, where it can."""
    if sock.family == socket.AF_INET6:
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    if _IP_RECVTTL is not None:
        with contextlib.suppress(OSError):  # a socket of IPv6 may take IPv4 as well
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)


def ttl_in(ancillary: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Return the TTL that the kernel reports for a datagram; ``None``: it reports none."""
    for level, kind, data in ancillary:
        if kind in _KINDS.get(level, ()):
            return int.from_bytes(data, sys.byteorder)
    return None


def set_ttl(sock: socket.socket, ttl: int) -> None:
    """Have what is sent from now on leave with a TTL, 1 to 255.

    It costs less than to say it with each datagram: those of one sender nearly all have the same.
    """
    if sock.family == socket.AF_INET6:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    with contextlib.suppress(OSError):  # a socket of IPv6 may send IPv4 as well
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
