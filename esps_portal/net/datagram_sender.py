"""Who sent a datagram, according to the kernel, and where an answer to it goes.

On a wildcard address the kernel also reports which local address each datagram was sent to; the
reply names that address, and leaves from there.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, ClassVar

import attrs

from esps_portal.net.addresses import literal
from esps_portal.net.systems import IP_PKTINFO
from esps_portal.net.ttl import ttl_in

# struct in_pktinfo { int ifindex; struct in_addr spec_dst; struct in_addr addr; }
_IN_PKTINFO = struct.Struct("=I4s4s")
# <linux/in6.h>: struct in6_pktinfo { struct in6_addr addr; unsigned int ifindex; }
_IN6_PKTINFO = struct.Struct("=16sI")
# The first byte of a multicast address: 224.0.0.0/4 (RFC 5771), and ff00::/8 (RFC 4291).
_FIRST_MULTICAST, _LAST_MULTICAST = 224, 239
_IPV6_MULTICAST = 0xFF
_IPV4 = 4


# Neither frozen nor weakly referenced: proxies and peers make one for each datagram.
@attrs.define(unsafe_hash=True, weakref_slot=False)
class Sender:
    """The sender of a datagram, and the local address that the reply has to leave from.

    Attributes:
        address: host and port, and over IPv6 two numbers more, which go back as they came.
        ancillary: for the kernel; empty unless the socket is bound to a wildcard address.
        is_to_group: whether it was sent to a broadcast or multicast address.
    """

    is_to_group: ClassVar[bool] = False

    address: tuple[Any, ...]
    ancillary: tuple[tuple[int, int, bytes], ...] = ()

    @property
    def remote(self) -> tuple[str, int]:
        """Host and port."""
        return literal(self.address)

    @property
    def ttl(self) -> int | None:
        """The TTL of the datagram as it came; ``None``: nobody has asked for it, or can know."""
        return None


@attrs.define(unsafe_hash=True, weakref_slot=False)
class SenderToGroup(Sender):
    """The sender of a datagram to a broadcast or multicast address."""

    is_to_group: ClassVar[bool] = True


@attrs.define(unsafe_hash=True, weakref_slot=False)
class SenderWithTTL(Sender):
    """A sender with the TTL of its datagram, which does not count when senders are compared."""

    ttl: int | None = attrs.field(default=None, eq=False)


#: What the kernel says of a datagram beside its bytes and its sender: see recvmsg(2).
Ancillary = Sequence[tuple[int, int, bytes]]


def sender_of(address: tuple[Any, ...], found: Ancillary) -> Sender:
    """Return the sender at an address."""
    sender, ancillary = _destination(tuple(found))
    return sender(address, ancillary)


def sender_with_ttl(address: tuple[Any, ...], found: Ancillary) -> Sender:
    """Return the sender at an address, and the TTL of what it has sent."""
    # Only the TTL was asked for: the socket is bound to one address.
    ancillary = _answer_from_there(found) if len(found) > 1 else ()
    return SenderWithTTL(address, ancillary, ttl_in(found))


def ask_for_destination(sock: socket.socket) -> None:
    """Have the kernel report to which local address a datagram was sent."""
    if sock.family == socket.AF_INET6:
        with contextlib.suppress(AttributeError):  # Windows, before Python knew its name
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif IP_PKTINFO is not None:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def is_group(sock: socket.socket) -> bool:
    """Whether a socket is bound to a multicast address, or to one to which broadcasts go."""
    address = sock.getsockname()[0]
    host = ip_address(address.partition("%")[0])
    if host.is_multicast or host.version != _IPV4:
        return host.is_multicast
    # Whether it is depends on the network's mask. Without SO_BROADCAST the kernel refuses those.
    # Not socket.socket, which a test may have replaced: see `accepted`.
    with type(sock)(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            return error.errno == errno.EACCES
    return False


@lru_cache(maxsize=256)  # most are sent to the same address of this machine
def _destination(
    found: tuple[tuple[int, int, bytes], ...],
) -> tuple[type[Sender], tuple[tuple[int, int, bytes], ...]]:
    """Return what its sender is, by where a datagram was sent to, and what the answer needs."""
    return SenderToGroup if _names_group(found) else Sender, _answer_from_there(found)


def _names_group(found: Ancillary) -> bool:
    """Whether a datagram was not sent to an address of this machine alone."""
    for level, kind, data in found:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            # The local address, and that in the datagram's header (ip(7)).
            _, local, destination = _IN_PKTINFO.unpack(data)
            is_multicast = _FIRST_MULTICAST <= destination[0] <= _LAST_MULTICAST
            return bool(is_multicast or local != destination)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return bool(data[0] == _IPV6_MULTICAST)
    return False


def _answer_from_there(found: Ancillary) -> tuple[tuple[int, int, bytes], ...]:
    """Return what makes the reply leave from the address that the request was sent to."""
    for level, kind, data in found:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            _, local, _ = _IN_PKTINFO.unpack(data)
            return ((level, kind, _IN_PKTINFO.pack(0, local, b"\0" * 4)),)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return ((level, kind, _IN6_PKTINFO.pack(*_IN6_PKTINFO.unpack(data))),)
    return ()
