"""A bound UDP socket: woken when it is readable and drained without waiting.

As long as what waits is handled in one go there is no queue but the kernel's. Of a flood more is
read than is handled, and what is read takes turns by sender (`FairQueue`): the kernel's queue is
one for all, and a flood leaves no room in it.

Who passes datagrams on asks for their TTL as well (`esps_portal.net.ttl`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio

from esps_portal.log import log
from esps_portal.net.datagram_sender import (
    Ancillary,
    Sender,
    ask_for_destination,
    is_group,
    sender_of,
    sender_with_ttl,
)
from esps_portal.net.fair_queue import FairQueue
from esps_portal.net.fork import close_socket, closed_in_child
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.systems import HAS_ANCILLARY
from esps_portal.net.ttl import ask_for_ttl

# Read in a row, and handled, before other tasks get a turn.
_MAX_READS = 64
# Of a flood: so many are read in a row, of which most are dropped at 2 microseconds each, and so
# many are handled after that, at up to 30 each, while the kernel's queue fills again.
_MAX_READS_OF_FLOOD, _MAX_HANDLED_OF_FLOOD = 1024, 32
_MAX_DATAGRAM = 65535
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them

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
        self.takes_groups: bool = is_wildcard or is_group(address)
        if self.takes_groups and HAS_ANCILLARY:
            ask_for_destination(sock)
        if wants_ttl and HAS_ANCILLARY:
            ask_for_ttl(sock)
        # Only then is there anything to read beside the datagram.
        self._has_ancillary = HAS_ANCILLARY and (self.takes_groups or wants_ttl)
        self._make_sender = sender_with_ttl if wants_ttl else sender_of
        # What was read of a flood.
        self._queue: FairQueue[tuple[bytes, Sender]] = FairQueue()

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
                    if len(datagrams) == _MAX_READS:
                        await self._handle_flood(handle)
        finally:
            self.close()

    async def _handle_flood(self, handle: BulkHandler) -> None:
        """Have handled what waits and what comes meanwhile, in turns by sender, until all is."""
        buffer = memoryview(bytearray(_MAX_DATAGRAM))
        dropped = 0
        while not self.is_closed:
            dropped += self._read_flood(buffer)
            if not self._queue:
                break
            datagrams, senders = map(
                list, zip(*self._queue.take(_MAX_HANDLED_OF_FLOOD), strict=True)
            )
            if not self._silence.is_on:
                await handle(datagrams, senders, trio.current_time())
            await trio.lowlevel.checkpoint()
        if dropped:
            log.warning("%d datagrams were dropped: more have come than can be answered", dropped)

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
        """Discard what has come and was not handled."""
        self._queue.clear()
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

    def _read_flood(self, buffer: memoryview) -> int:
        """Add what waits to the queue, by way of a buffer; return how many were dropped."""
        sock, queue, ancillary = self._socket, self._queue, 128 if self._has_ancillary else 0
        dropped = 0
        found: Ancillary = []
        for _ in range(_MAX_READS_OF_FLOOD):
            try:
                if ancillary:
                    size, found, _, address = sock.recvmsg_into([buffer], ancillary)
                else:
                    size, address = sock.recvfrom_into(buffer)
            except BlockingIOError:
                break
            except OSError:
                continue  # as above
            if queue.has_room(address, size):
                datagram = bytes(buffer[:size])
                queue.add(address, (datagram, self._make_sender(address, found)), size)
            else:
                dropped += 1
        return dropped
