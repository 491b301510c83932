"""A bound UDP socket: woken when it is readable and drained without waiting.

On a wildcard address the kernel reports, for each datagram, which local address it was sent to;
the reply names that address again, and leaves from there.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from typing import Any

import trio

# Read in a row, before other tasks get a turn.
_AT_A_STRETCH = 64
_LARGEST = 65535
# <linux/in.h>: struct in_pktinfo { int ifindex; struct in_addr spec_dst; struct in_addr addr; }
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_IN_PKTINFO = struct.Struct("=I4s4s")
# <linux/in6.h>: struct in6_pktinfo { struct in6_addr addr; unsigned int ifindex; }
_IN6_PKTINFO = struct.Struct("=16sI")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them

Ancillary = list[tuple[int, int, bytes]]
_NOWHERE: Ancillary = []
# (host, port), and over IPv6 two numbers more, which go back as they came.
Source = tuple[Any, ...]


class DatagramSocket(ABC):
    """A UDP socket that it owns. `run` is its whole life."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        #: For what takes longer than one datagram; `run` opens it.
        self._nursery: trio.Nursery
        self._wildcard = sock.getsockname()[0] in _WILDCARDS
        if self._wildcard:
            _ask_for_destination(sock)

    async def run(self) -> None:
        """Take what comes until cancelled or closed."""
        with self._socket:
            try:
                async with trio.open_nursery() as self._nursery:
                    with contextlib.suppress(trio.ClosedResourceError):
                        # It may have been closed while nothing waited on it.
                        while self._socket.fileno() >= 0:
                            await trio.lowlevel.wait_readable(self._socket)
                            self._take_waiting()
                    self._nursery.cancel_scope.cancel()
            finally:
                self.close()

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def discard_waiting(self) -> None:
        """Throw away what has come and was not read."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(1)

    def _take_waiting(self) -> None:
        now = trio.current_time()
        for _ in range(_AT_A_STRETCH):
            try:
                if self._wildcard:
                    datagram, source, ancillary = self._receive_with_destination()
                else:
                    (datagram, source), ancillary = self._socket.recvfrom(_LARGEST), _NOWHERE
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about something we sent: the sender's affair
            self._handle(datagram, source, ancillary, now)

    @abstractmethod
    def _handle(self, datagram: bytes, source: Source, ancillary: Ancillary, now: float) -> None:
        """Take one datagram.

        Args:
            ancillary: what `_send` needs so that the answer leaves from where it was asked.
            now: seconds on trio's clock.
        """

    def _receive_with_destination(self) -> tuple[bytes, Source, Ancillary]:
        datagram, found, _, source = self._socket.recvmsg(_LARGEST, 128)
        return datagram, source, _answer_from_there(found)

    def _send(self, datagram: bytes, source: Source, ancillary: Ancillary) -> None:
        try:
            if ancillary:
                self._socket.sendmsg([datagram], ancillary, 0, source)
            else:
                self._socket.sendto(datagram, source)
        except OSError:
            return  # a full buffer, a route that is gone: to a client it is a datagram lost


def _ask_for_destination(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _answer_from_there(found: Ancillary) -> Ancillary:
    """Return what makes the reply leave from the address that was asked."""
    for level, kind, data in found:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _IN_PKTINFO.unpack(data)
            return [(level, kind, _IN_PKTINFO.pack(0, local, b"\0" * 4))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, _IN6_PKTINFO.pack(*_IN6_PKTINFO.unpack(data)))]
    return []
