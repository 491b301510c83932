"""A UDP socket on which a proxy or a peer serves its clients: how that begins, and how it ends."""

from __future__ import annotations

import socket
from typing import Protocol

import trio

from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import DatagramSocket
from esps_portal.net.silence import Silence


class DatagramService(Protocol):
    """What serves the clients of a socket."""

    @property
    def is_idle(self) -> bool:
        """Whether there is no client."""

    def begin(self, nursery: trio.Nursery, writer: DatagramFaultWriter) -> None:
        """Take what comes before the first datagram.

        Args:
            nursery: where its tasks run, until the socket is closed.
            writer: sends to its clients.
        """

    def handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Take a datagram of a client; ``now`` in seconds on trio's clock."""

    async def until_answered(self) -> None:
        """Wait until no client waits for an answer any more."""

    async def abort(self) -> None:
        """Forget every client; return when that is so."""

    def closed(self) -> None:
        """The socket has been closed: its clients are forgotten."""


class DatagramPort:
    """Serves clients on one UDP socket, which it owns. `run` is its whole life.

    It is a `DatagramHandler`.

    Args:
        silence: as long as it is on, what comes and what is sent vanishes.
        drain: seconds for which a shutdown waits for answers.
        wants_ttl: see `DatagramSocket`.
    """

    def __init__(
        self,
        service: DatagramService,
        sock: socket.socket,
        silence: Silence,
        *,
        drain: float,
        wants_ttl: bool = False,
    ) -> None:
        self._service = service
        self._socket = DatagramSocket(sock, silence, wants_ttl=wants_ttl)
        self._drain = drain
        self._is_closing = False
        self._writer: DatagramFaultWriter | None = None

    async def run(self) -> None:
        """Serve until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            self._writer = DatagramFaultWriter(self._socket, nursery)
            self._service.begin(nursery, self._writer)
            try:
                await self._socket.run(self._handle)
            finally:
                self._service.closed()
            nursery.cancel_scope.cancel()

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        if not self._is_closing:
            self._service.handle(datagram, sender, now)

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        self._socket.close()

    @property
    def has_calls(self) -> bool:
        """Never: nothing outlives the socket."""
        return False

    @property
    def is_idle(self) -> bool:
        """Whether there is no client."""
        return self._service.is_idle

    def discard_waiting(self) -> None:
        """Discard what has come and was not read."""
        self._socket.discard_waiting()

    async def abort(self) -> None:
        """Forget every client, and drop what is late; return when that is so."""
        await self._service.abort()
        if self._writer is not None:
            self._writer.forget()

    async def shut_down(self) -> None:
        """Take nothing more; return once clients have had time to get their answers."""
        self._is_closing = True
        with trio.move_on_after(self._drain):
            await self._service.until_answered()
