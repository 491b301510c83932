"""The ports of a server: served, taken out of service and back, without giving them away.

While they are down a connect gets ECONNREFUSED, over TCP and on a connected UDP socket, and
nobody else can bind the port. On Linux that takes, for TCP, a socket that is bound and does not
listen; for UDP, one that is bound and connected elsewhere, so that no datagram of a client's is
for it. SO_REUSEADDR lets two sockets of ours have the address while they change places; cleared,
it keeps others out.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Protocol

import trio

from esps_portal.net.accept import ConnectionServer
from esps_portal.net.bind import Sockets, bound

# RFC 863, discard. Nothing is sent there: any port that is not a client's would do.
_DISCARD_PORT = 9


class DatagramHandler(Protocol):
    """What serves one UDP socket, which it owns."""

    @property
    def has_calls(self) -> bool:
        """Whether something runs that outlives the closing of its socket."""

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


class PortControl:
    """The sockets of a running server, and what serves them.

    Args:
        connections: serves what is accepted.
        datagrams: makes what serves a UDP socket.
        forget: called by a reset, once nothing of the past runs any more.
        nursery: where accepting and answering goes on.
    """

    def __init__(
        self,
        sockets: Sockets,
        connections: ConnectionServer,
        datagrams: Callable[[socket.socket], DatagramHandler],
        forget: Callable[[], None],
        nursery: trio.Nursery,
    ) -> None:
        self._sockets = sockets
        self._connections = connections
        self._handler = datagrams
        self._forget = forget
        self._nursery = nursery
        self._accepting: list[trio.CancelScope] = []
        # With the address that each holds: connecting replaces a wildcard by a concrete one.
        self._udp_reserved: list[tuple[socket.socket, tuple[str, int]]] = []
        self._down = False
        self._resetting = trio.Lock()
        self._datagrams: list[DatagramHandler] = []
        # Those of sockets that were closed, whose calls are not over.
        self._former: list[DatagramHandler] = []

    @property
    def is_down(self) -> bool:
        """Whether the ports are out of service."""
        return self._down

    def begin(self) -> None:
        """Serve what is bound."""
        self._nursery.start_soon(self._connections.watch)
        self._serve()

    def stop_accepting(self) -> None:
        """Take no more connections; what is in the accept queue is reset by the kernel."""
        for scope in self._accepting:
            scope.cancel()

    def down(self) -> None:
        """Refuse every connect and every datagram; reset what is open. The port stays ours."""
        if self._down:
            return
        self._down = True
        self.stop_accepting()
        for listener in self._sockets.tcp:
            trio.lowlevel.notify_closing(listener)
            listener.close()
        for reserved in self._sockets.reserved:
            _share(reserved, allowed=False)
        for server, sock in zip(self._datagrams, self._sockets.udp, strict=True):
            _share(sock, allowed=True)
            address = _address(sock)
            reserved = _another(sock, address)
            # A socket that is connected takes datagrams of that peer alone.
            reserved.connect((address[0], _DISCARD_PORT))
            self._udp_reserved.append((reserved, address))
            server.close()
            _share(reserved, allowed=False)
        self._connections.abort_soon()
        self._nursery.start_soon(self._abort_late)

    async def _abort_late(self) -> None:
        """Abort what was accepted just before the ports went out of service."""
        await _until_begun()
        if self._down:
            self._connections.abort_soon()

    def up(self) -> None:
        """Serve again, on the same addresses."""
        if not self._down:
            return
        for reserved in self._sockets.reserved:
            _share(reserved, allowed=True)
        self._sockets.tcp[:] = [
            _another(reserved, _address(reserved)) for reserved in self._sockets.reserved
        ]
        for listener in self._sockets.tcp:
            listener.listen(65535)
        for reserved, _ in self._udp_reserved:
            _share(reserved, allowed=True)
        self._sockets.udp[:] = [_another(*held) for held in self._udp_reserved]
        for reserved, _ in self._udp_reserved:
            reserved.close()
        self._udp_reserved.clear()
        for sock in self._sockets.udp:
            _share(sock, allowed=False)
        self._down = False
        self._serve()

    async def reset(self, *, keep_idle: bool = False) -> int:
        """Keep everything that came before from reaching what comes after.

        Open connections and those that wait to be accepted are reset, datagrams that were not
        read are discarded, kept replies forgotten. It returns when that is so: how many open
        connections it has reset.

        Args:
            keep_idle: leave alone the connections that wait for their client's next request, and
                those that wait to be accepted.
        """
        async with self._resetting:  # they come from any thread
            self.up()
            for listener in () if keep_idle else self._sockets.tcp:
                _refuse_waiting(listener)
            for server in self._datagrams:
                server.discard_waiting()
            await _until_begun()
            for server in (*self._former, *self._datagrams):
                await server.abort()
            self._forget()
            return await self._connections.abort(keep_idle=keep_idle)

    async def shut_down(self) -> None:
        """Let what runs end, within the limits."""
        async with trio.open_nursery() as draining:
            draining.start_soon(self._connections.shut_down)
            for server in self._datagrams:
                draining.start_soon(server.shut_down)

    def renumber(self) -> None:
        """Have every open connection noted anew, in the order in which they were accepted."""
        for connection in self._connections.connections:
            connection.begin_anew()

    def sever(self) -> None:
        """Free the ports, and reset what is open, from another thread: the loop is stuck."""
        self.close()
        for connection in list(self._connections.connections):
            connection.sever()

    def close(self) -> None:
        """Close every socket."""
        for reserved, _ in self._udp_reserved:
            reserved.close()
        self._sockets.close()

    def _serve(self) -> None:
        self._accepting = [trio.CancelScope() for _ in self._sockets.tcp]
        for listener, scope in zip(self._sockets.tcp, self._accepting, strict=True):
            self._nursery.start_soon(self._accept, listener, scope)
        self._former = [s for s in (*self._former, *self._datagrams) if s.has_calls]
        self._datagrams = []
        for sock in self._sockets.udp:
            server = self._handler(sock)
            self._datagrams.append(server)
            self._nursery.start_soon(server.run)

    async def _accept(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            await self._connections.accept(listener)


def _share(sock: socket.socket, *, allowed: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def _address(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


def _another(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Bind one more socket like ``sock`` to its address."""
    return bound(sock.family, sock.type, *address, share=True)


async def _until_begun() -> None:
    """Let tasks that were started just now begin: only a task that runs can be aborted."""
    # A task of the same turn of the loop may start them after our first checkpoint.
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


def _refuse_waiting(listener: socket.socket) -> None:
    """Reset the connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):
        while True:
            connected, _ = listener.accept()
            on, no_time = 1, 0
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, no_time)
            )
            connected.close()
