"""A bound UDP socket: woken when it is readable and drained without waiting.

On a wildcard address the kernel reports, for each datagram, which local address it was sent to;
the reply names that address again, and leaves from there. Who passes datagrams on asks for their
TTL as well (`esps_portal.net.ttl`).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import attrs
import trio

from esps_portal.net.addresses import literal
from esps_portal.net.fork import close_socket, closed_in_child
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.systems import HAS_ANCILLARY, IP_PKTINFO
from esps_portal.net.ttl import ask_for_ttl, ttl_in

# Read in a row, before other tasks get a turn.
_MAX_READS = 64
_MAX_DATAGRAM = 65535
# struct in_pktinfo { int ifindex; struct in_addr spec_dst; struct in_addr addr; }
_IN_PKTINFO = struct.Struct("=I4s4s")
# <linux/in6.h>: struct in6_pktinfo { struct in6_addr addr; unsigned int ifindex; }
_IN6_PKTINFO = struct.Struct("=16sI")
# The first byte of a multicast address: 224.0.0.0/4 (RFC 5771), and ff00::/8 (RFC 4291).
_FIRST_MULTICAST, _LAST_MULTICAST = 224, 239
_IPV6_MULTICAST = 0xFF
_IPV4 = 4
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them


# Neither frozen nor weakly referenced: one is made for each datagram.
@attrs.define(unsafe_hash=True, weakref_slot=False)
class Sender:
    """Who has sent a datagram, and what makes the reply leave from where that was sent to.

    Attributes:
        address: host and port, and over IPv6 two numbers more, which go back as they came.
        ancillary: for the kernel; empty unless the socket is bound to a wildcard address.
    """

    address: tuple[Any, ...]
    ancillary: tuple[tuple[int, int, bytes], ...] = ()

    @property
    def remote(self) -> tuple[str, int]:
        """Host and port."""
        return literal(self.address)

    @property
    def is_to_group(self) -> bool:
        """Whether the datagram was sent to a broadcast or multicast address."""
        return False

    @property
    def ttl(self) -> int | None:
        """The TTL of the datagram as it came; ``None``: nobody has asked for it, or can know."""
        return None


@attrs.define(unsafe_hash=True, weakref_slot=False)
class SenderToGroup(Sender):
    """Who has sent a datagram to a broadcast or multicast address."""

    @property
    def is_to_group(self) -> bool:
        """Whether it was: yes."""
        return True


@attrs.define(unsafe_hash=True, weakref_slot=False)
class SenderWithTTL(Sender):
    """The same, and the TTL of the datagram, which makes it no other sender."""

    ttl: int | None = attrs.field(default=None, eq=False)


#: Takes one datagram, its sender, and the time in seconds on trio's clock.
Handler = Callable[[bytes, Sender, float], None]
#: Takes some datagrams, the sender of each, and the time.
BulkHandler = Callable[[list[bytes], list[Sender], float], Awaitable[None]]


class DatagramSocket:
    """A UDP socket that it owns. `run` is its whole life.

    Args:
        silence: as long as it is on, what comes and what is sent vanishes; by default it never is.
        wants_ttl: have the handler know the TTL of each datagram (`Sender.ttl`).
    """

    def __init__(
        self,
        sock: socket.socket,
        silence: Silence = NEVER_SILENT,
        *,
        wants_ttl: bool = False,
    ) -> None:
        self._socket = closed_in_child(sock)
        self._silence = silence
        address = sock.getsockname()[0]
        is_wildcard = address in _WILDCARDS
        #: Whether what is sent to a broadcast or multicast address may come here.
        self.takes_groups: bool = is_wildcard or _is_group(address)
        if self.takes_groups and HAS_ANCILLARY:
            _ask_for_destination(sock)
        if wants_ttl and HAS_ANCILLARY:
            ask_for_ttl(sock)
        # Only then is there anything to read beside the datagram.
        self._has_ancillary = HAS_ANCILLARY and (self.takes_groups or wants_ttl)
        self._make_sender = _sender_with_ttl if wants_ttl else _sender

    async def run(self, handle: Handler) -> None:
        """Have each datagram handled until cancelled or closed."""

        async def handle_each(datagrams: list[bytes], senders: list[Sender], now: float) -> None:
            for datagram, sender in zip(datagrams, senders, strict=True):
                handle(datagram, sender, now)

        await self.run_in_bulk(handle_each)

    async def run_in_bulk(self, handle: BulkHandler) -> None:
        """Have the datagrams that wait handled, at most 64 at a time, until cancelled or closed."""
        try:
            with contextlib.suppress(trio.ClosedResourceError):
                # It may have been closed while nothing waited on it.
                while not self.is_closed:
                    await trio.lowlevel.wait_readable(self._socket)
                    datagrams, senders = self._read_waiting()
                    if datagrams and not self._silence.is_on:
                        await handle(datagrams, senders, trio.current_time())
        finally:
            self.close()

    @property
    def is_closed(self) -> bool:
        """Whether the socket has been closed."""
        return self._socket.fileno() < 0

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        if not self.is_closed:
            trio.lowlevel.notify_closing(self._socket)
            close_socket(self._socket)

    def discard_waiting(self) -> None:
        """Discard what has come and was not read."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(1)

    def send(self, datagram: bytes, to: Sender) -> None:
        """Send a datagram to the sender of another; it may be lost on the way."""
        if self._silence.is_on:
            return
        try:
            if to.ancillary:
                self._socket.sendmsg([datagram], to.ancillary, 0, to.address)
            else:
                self._socket.sendto(datagram, to.address)
        except OSError:
            return  # a full buffer, a route that is gone: to a client it is a datagram lost

    def send_all(self, datagrams: Iterable[bytes], to: Iterable[Sender]) -> None:
        """Do what `send` does, with each datagram and the sender in the same place."""
        if self._silence.is_on:
            return
        send = self._socket.sendto
        for datagram, sender in zip(datagrams, to, strict=False):
            if sender.ancillary:
                self.send(datagram, sender)
                continue
            try:
                send(datagram, sender.address)
            except OSError:
                continue  # as above

    def send_from_other_port(self, datagram: bytes, to: Sender) -> None:
        """Send from the same address and another port."""
        if self._silence.is_on:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(self._socket.family, socket.SOCK_DGRAM) as sock,
        ):
            host, _, *rest = self._socket.getsockname()
            sock.bind((host, 0, *rest))
            sock.sendto(datagram, to.address)

    def _read_waiting(self) -> tuple[list[bytes], list[Sender]]:
        sock, has_ancillary, make_sender = self._socket, self._has_ancillary, self._make_sender
        datagrams: list[bytes] = []
        senders: list[Sender] = []
        # Without its constructor, which is Python: for each datagram that is much.
        new = object.__new__
        for _ in range(_MAX_READS):
            try:
                if has_ancillary:
                    datagram, found, _, address = sock.recvmsg(_MAX_DATAGRAM, 128)
                    sender = make_sender(address, found)
                else:
                    datagram, address = sock.recvfrom(_MAX_DATAGRAM)
                    sender = new(Sender)
                    sender.address = address
                    sender.ancillary = ()
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error about a reply: not about what waits
            datagrams.append(datagram)
            senders.append(sender)
        return datagrams, senders


_Ancillary = list[tuple[int, int, bytes]]


def _sender(address: tuple[Any, ...], found: _Ancillary) -> Sender:
    sender = SenderToGroup if _names_group(found) else Sender
    return sender(address, _answer_from_there(found))


def _sender_with_ttl(address: tuple[Any, ...], found: _Ancillary) -> Sender:
    # The TTL alone: the socket is bound to one address.
    ancillary = _answer_from_there(found) if len(found) > 1 else ()
    return SenderWithTTL(address, ancillary, ttl_in(found))


def _ask_for_destination(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        with contextlib.suppress(AttributeError):  # Windows, before Python knew its name
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif IP_PKTINFO is not None:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def _is_group(address: str) -> bool:
    """Whether an address is a multicast one, or one to which broadcasts go."""
    host = ip_address(address.partition("%")[0])
    if host.is_multicast or host.version != _IPV4:
        return host.is_multicast
    # Whether it is depends on the network's mask. Without SO_BROADCAST the kernel refuses those.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            return error.errno == errno.EACCES
    return False


def _names_group(found: _Ancillary) -> bool:
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


def _answer_from_there(found: _Ancillary) -> tuple[tuple[int, int, bytes], ...]:
    """Return what makes the reply leave from the address that the request was sent to."""
    for level, kind, data in found:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            _, local, _ = _IN_PKTINFO.unpack(data)
            return ((level, kind, _IN_PKTINFO.pack(0, local, b"\0" * 4)),)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return ((level, kind, _IN6_PKTINFO.pack(*_IN6_PKTINFO.unpack(data))),)
    return ()
