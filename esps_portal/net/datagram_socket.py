"""A bound UDP socket: wakes when it is readable, and reads all that waits.

As long as everything that waits is handled in one go, the kernel's queue is the only one. In a
flood more is read than can be handled, and what was read takes turns by sender (`FairQueue`): the
kernel has one queue for all senders, in which a flood leaves no room.

A proxy passes datagrams on, so it asks for their TTL as well (`esps_portal.net.ttl`).
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat, starmap
from typing import Any

import trio

from esps_portal.clock import monotonic
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
from esps_portal.net.received_datagrams import ReceivedDatagrams
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.systems import HAS_ANCILLARY
from esps_portal.net.ttl import ask_for_ttl

#: Seconds in which more is read that has come meanwhile, before other tasks get a turn (own choice:
#: as `ready_set.POLLING_SECONDS`).
READING_SECONDS = 0.001
# Datagrams that are read in a row, and handled together.
_MAX_READS = 64
# The same two numbers in a flood. Most of what is read is dropped, which takes 2 microseconds each.
# To handle one takes up to 30, and meanwhile the kernel's queue fills again.
_MAX_READS_OF_FLOOD, _MAX_HANDLED_OF_FLOOD = 1024, 32
_MAX_DATAGRAM = 65535
_MAX_ANCILLARY = 128
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them

#: Takes one datagram, its sender, and the time in seconds on trio's clock.
Handler = Callable[[bytes, Sender, float], None]
#: Takes some datagrams, and the time.
BulkHandler = Callable[[ReceivedDatagrams, float], Awaitable[None]]


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
        self.takes_groups: bool = is_wildcard or is_group(sock)
        if self.takes_groups and HAS_ANCILLARY:
            ask_for_destination(sock)
        if wants_ttl and HAS_ANCILLARY:
            ask_for_ttl(sock)
        # Whether the kernel reports more than each datagram and its source.
        self._has_ancillary = HAS_ANCILLARY and (self.takes_groups or wants_ttl)
        self._make_sender = sender_with_ttl if wants_ttl else sender_of
        # The method of the socket that reads a datagram, and its arguments.
        self._receive: Callable[..., tuple[Any, ...]] = sock.recvfrom
        self._receive_args: tuple[int, ...] = (_MAX_DATAGRAM,)
        if self._has_ancillary:
            self._receive, self._receive_args = sock.recvmsg, (_MAX_DATAGRAM, _MAX_ANCILLARY)
        # Datagrams of a flood that were read and not handled yet.
        self._queue: FairQueue[tuple[bytes, Sender]] = FairQueue()
        # What was sent while `hold` is in force, and to whom; see `ReceivedDatagrams.receivers`.
        self._is_holding = False
        self._held: list[bytes] = []
        self._receivers: list[Any] = []
        self._send_to: Callable[[bytes, Any], object] = (
            self._send_now if self._has_ancillary else sock.sendto
        )

    async def run(self, handle: Handler) -> None:
        """Call a handler with each datagram, until cancelled or closed."""

        async def handle_each(received: ReceivedDatagrams, now: float) -> None:
            for datagram, sender in zip(received.data, received.senders(), strict=True):
                handle(datagram, sender, now)

        await self.run_in_bulk(handle_each)

    async def run_in_bulk(self, handle: BulkHandler) -> None:
        """Call a handler with what has come, at most 64 at a time, until cancelled or closed."""
        try:
            with contextlib.suppress(trio.ClosedResourceError):
                # It may have been closed while nothing waited on it.
                while not self.is_closed:
                    await trio.lowlevel.wait_readable(self._socket)
                    until = monotonic() + READING_SECONDS
                    count = await self._handle_waiting(handle)
                    # A single client sends the next one only after it has read the reply.
                    while 1 < count < _MAX_READS and monotonic() < until:
                        count = await self._handle_waiting(handle)
                    if count == _MAX_READS:
                        await self._handle_flood(handle)
        finally:
            self.close()

    async def _handle_waiting(self, handle: BulkHandler) -> int:
        """Read and handle what waits, at most `_MAX_READS`; return how many were read."""
        if self.is_closed:
            return 0
        found = self._read_waiting()
        if not found or self._silence.is_on:
            return len(found)
        if self._has_ancillary:
            data, ancillary, _, addresses = zip(*found, strict=True)
            senders = [*map(self._make_sender, addresses, ancillary)]
        else:
            (data, addresses), senders = zip(*found, strict=True), None
        await handle(ReceivedDatagrams(data, addresses, senders), trio.current_time())
        return len(found)

    async def _handle_flood(self, handle: BulkHandler) -> None:
        """Handle all that waits and that comes meanwhile, in turns by sender."""
        buffer = memoryview(bytearray(_MAX_DATAGRAM))
        dropped = 0
        while not self.is_closed:
            dropped += self._read_flood(buffer)
            if not self._queue:
                break
            data, senders = zip(*self._queue.take(_MAX_HANDLED_OF_FLOOD), strict=True)
            addresses = [sender.address for sender in senders]
            received = ReceivedDatagrams(data, addresses, senders if self._has_ancillary else None)
            if not self._silence.is_on:
                await handle(received, trio.current_time())
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

    def hold(self) -> None:
        """Hold back what is sent until `release`.

        To wake a client takes longer than to answer it, and what is sent in a row wakes it once.
        """
        self._is_holding = True

    def release(self) -> None:
        """Send what was held back, and hold back nothing more."""
        self._is_holding = False
        if self._held:
            self._send_each(self._held, self._receivers)
            self._held.clear()
            self._receivers.clear()

    def send(self, datagram: bytes, to: Sender) -> None:
        """Send a datagram to the sender of another; it may be lost on the way."""
        if self._silence.is_on:
            return
        if self._is_holding:
            self._held.append(datagram)
            self._receivers.append(to if self._has_ancillary else to.address)
        else:
            self._send_now(datagram, to)

    def send_all(self, replies: Sequence[bytes], received: ReceivedDatagrams, first: int) -> None:
        """Send replies to datagrams that follow each other: at once, where nothing is held back.

        Args:
            first: the number of the datagram that the first one replies to.
        """
        if self._silence.is_on:
            return
        receivers = received.receivers[first : first + len(replies)]
        if self._held:
            self._held += replies
            self._receivers += receivers
        else:
            self._send_each(replies, receivers)

    def _send_each(self, datagrams: Sequence[bytes], receivers: Sequence[Any]) -> None:
        sending = map(self._send_to, datagrams, receivers)
        while True:
            try:
                deque(sending, maxlen=0)  # no Python is run for each
            except OSError:
                continue  # that one is lost, as below; the ones after it are still sent
            return

    def _send_now(self, datagram: bytes, to: Sender) -> None:
        try:
            if to.ancillary:
                self._socket.sendmsg([datagram], to.ancillary, 0, to.address)
            else:
                self._socket.sendto(datagram, to.address)
        except OSError:
            return  # a full buffer, a route that is gone: to a client it is a datagram lost

    def send_from_other_port(self, datagram: bytes, to: Sender) -> None:
        """Send from the same address and another port."""
        if self._silence.is_on:
            return
        if self._is_holding:
            self.release()  # what was sent before it leaves before it
            self.hold()
        with (
            contextlib.suppress(OSError),
            # Not socket.socket, which a test may have replaced: see `accepted`.
            type(self._socket)(self._socket.family, socket.SOCK_DGRAM) as sock,
        ):
            host, _, *rest = self._socket.getsockname()
            sock.bind((host, 0, *rest))
            sock.sendto(datagram, to.address)

    def _read_waiting(self) -> list[tuple[Any, ...]]:
        """Return the result of each read, until nothing more waits."""
        found: list[tuple[Any, ...]] = []
        reading = starmap(self._receive, repeat(self._receive_args, _MAX_READS))
        while True:
            try:
                found.extend(reading)  # what is read before an error stays
            except BlockingIOError:
                return found
            except OSError:
                continue  # an ICMP error about a reply: not about what waits
            return found

    def _read_flood(self, buffer: memoryview) -> int:
        """Read what waits into the queue, through a buffer; return how many were dropped."""
        sock, queue, ancillary = (
            self._socket,
            self._queue,
            _MAX_ANCILLARY if self._has_ancillary else 0,
        )
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
