"""The tasks that serve the sockets of a server: they accept, and answer datagrams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import trio

from esps_portal.net.acceptor import Acceptor
from esps_portal.net.bind import Sockets


class DatagramHandler(Protocol):
    """What serves one UDP socket, which it owns."""

    @property
    def has_calls(self) -> bool:
        """Whether something runs that outlives the closing of its socket."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing goes on for any client: it waits for the next datagram."""

    async def run(self) -> None:
        """Serve until cancelled or closed."""

    def close(self) -> None:
        """Close the socket; `run` then returns."""

    def discard_waiting(self) -> None:
        """Discard what has come and was not read."""

    async def abort(self) -> None:
        """End everything without an answer; return when it has ended."""

    async def shut_down(self) -> None:
        """Let what runs end, within the limits."""


class PortTasks:
    """Starts the tasks of sockets that are bound.

    Args:
        sockets: what is bound; it may be replaced before `serve` is called again.
        acceptor: accepts from those of TCP.
        new_handler: returns what serves a UDP socket.
        nursery: where the tasks run.

    Attributes:
        datagrams: what serves the UDP sockets, in their order.
        former: handlers whose sockets were closed, but whose calls still run.
    """

    def __init__(
        self,
        sockets: Sockets,
        acceptor: Acceptor,
        new_handler: Callable[[socket.socket], DatagramHandler],
        nursery: trio.Nursery,
    ) -> None:
        self._sockets = sockets
        self._acceptor = acceptor
        self._new_handler = new_handler
        self._nursery = nursery
        self._accepting: list[trio.CancelScope] = []
        self.datagrams: list[DatagramHandler] = []
        self.former: list[DatagramHandler] = []

    def serve(self) -> None:
        """Serve all sockets; those of UDP are new."""
        self.serve_tcp()
        self.former = [s for s in (*self.former, *self.datagrams) if s.has_calls]
        self.datagrams = [self._new_handler(sock) for sock in self._sockets.udp]
        for handler in self.datagrams:
            self._nursery.start_soon(handler.run)

    def serve_tcp(self) -> None:
        """Accept from every listener; they are new."""
        self._accepting = [trio.CancelScope() for _ in self._sockets.tcp]
        for listener, scope in zip(self._sockets.tcp, self._accepting, strict=True):
            self._nursery.start_soon(self._accept, listener, scope)

    async def _accept(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            await self._acceptor.accept(listener)

    def close_listeners(self) -> None:
        """Accept no more: the kernel resets what waits in their queues."""
        for scope in self._accepting:
            scope.cancel()


async def until_begun() -> None:
    """Let tasks that were started just now begin: only a task that runs can be aborted."""
    # A task of the same turn of the loop may start them after our first checkpoint.
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
