"""Taking a portal's ports out of service and back, without giving them away.

While the switch is off a connect gets ECONNREFUSED, over TCP and on a connected UDP socket, and
nobody else can bind the port. On Linux that takes, for TCP, a socket that is bound and does not
listen; for UDP, one that is bound and connected elsewhere, so that no datagram of a client's is
for it. SO_REUSEADDR lets two sockets of ours have the address while they change places; cleared,
it keeps others out.
"""

from __future__ import annotations

import contextlib
import socket
import struct

import trio

from esps_portal.portal.answering import Portal
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.protocol.datagrams import DatagramRules
from esps_portal.server.binding import Sockets, bound
from esps_portal.server.scripted_connection import ScriptedConnection
from esps_portal.server.scripted_datagrams import ScriptedDatagramServer
from esps_portal.server.tcp import ConnectionServer, Served
from esps_portal.server.udp import DatagramServer

# RFC 863, discard: nothing is ever sent there; it only has to be somewhere else.
_ELSEWHERE = 9


class Switch:
    """The sockets of a running portal, and what serves them.

    Args:
        nursery: where accepting and answering goes on.
    """

    def __init__(self, sockets: Sockets, portal: Portal, nursery: trio.Nursery) -> None:
        self._sockets = sockets
        self._portal = portal
        self._nursery = nursery
        self._rules = DatagramRules(portal.limits)
        self._accepting: list[trio.CancelScope] = []
        # With the address that each holds: connecting replaces a wildcard by a concrete one.
        self._udp_holders: list[tuple[socket.socket, tuple[str, int]]] = []
        self._down = False
        self._resetting = trio.Lock()
        scripted = isinstance(portal, ScriptedPortal)
        self.connections: ConnectionServer = (
            ConnectionServer(portal, nursery, ScriptedConnection)
            if scripted
            else ConnectionServer(portal, nursery)
        )
        self.datagrams: list[DatagramServer] = []
        # Those of sockets that were closed, whose calls are not over.
        self._former: list[DatagramServer] = []

    @property
    def is_down(self) -> bool:
        """Whether the ports are out of service."""
        return self._down

    def begin(self) -> None:
        """Serve what is bound."""
        self._nursery.start_soon(self.connections.watch)
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
        for holder in self._sockets.holders:
            _share(holder, allowed=False)
        for server, sock in zip(self.datagrams, self._sockets.udp, strict=True):
            _share(sock, allowed=True)
            address = _address(sock)
            holder = _another(sock, address)
            # A socket that is connected takes datagrams of that peer alone.
            holder.connect((address[0], _ELSEWHERE))
            self._udp_holders.append((holder, address))
            server.close()
            _share(holder, allowed=False)
        self.connections.abort_soon()
        self._nursery.start_soon(self._abort_late)

    async def _abort_late(self) -> None:
        """Abort what was accepted just before the ports went out of service."""
        await _until_begun()
        if self._down:
            self.connections.abort_soon()

    def up(self) -> None:
        """Serve again, on the same addresses."""
        if not self._down:
            return
        for holder in self._sockets.holders:
            _share(holder, allowed=True)
        self._sockets.tcp[:] = [
            _another(holder, _address(holder)) for holder in self._sockets.holders
        ]
        for listener in self._sockets.tcp:
            listener.listen(65535)
        for holder, _ in self._udp_holders:
            _share(holder, allowed=True)
        self._sockets.udp[:] = [_another(*held) for held in self._udp_holders]
        for holder, _ in self._udp_holders:
            holder.close()
        self._udp_holders.clear()
        for sock in self._sockets.udp:
            _share(sock, allowed=False)
        self._down = False
        self._serve()

    async def reset(self, *, keep_idle: bool = False) -> None:
        """Keep everything that came before from reaching what comes after.

        Open connections and those that wait to be accepted are reset, datagrams that were not
        read are thrown away, kept answers forgotten. It returns when that is so.

        Args:
            keep_idle: leave alone the connections that wait for their client's next request, and
                those that wait to be accepted.
        """
        async with self._resetting:  # they come from any thread
            self.up()
            for listener in () if keep_idle else self._sockets.tcp:
                _refuse_waiting(listener)
            for server in self.datagrams:
                server.discard_waiting()
            await _until_begun()
            for server in (*self._former, *self.datagrams):
                await server.abort()
                if isinstance(server, ScriptedDatagramServer):
                    server.forget_held()
            self._rules.forget_all()
            await (self.connections.abort(_is_idle) if keep_idle else self.connections.abort())

    async def shut_down(self) -> None:
        """Let what runs end, within the limits."""
        async with trio.open_nursery() as draining:
            draining.start_soon(self.connections.shut_down)
            for server in self.datagrams:
                draining.start_soon(server.shut_down)

    def renumber(self) -> None:
        """Note every open connection in the journal, which was emptied."""
        for connection in sorted(self._scripted(), key=lambda connection: connection.number):
            connection.begin_anew()

    def sever(self) -> None:
        """Free the ports, and reset what is open, from another thread: the loop is stuck."""
        self.close()
        for connection in self._scripted():
            connection.sever()

    def _scripted(self) -> list[ScriptedConnection]:
        found = list(self.connections.connections)
        return [connection for connection in found if isinstance(connection, ScriptedConnection)]

    def close(self) -> None:
        """Close every socket."""
        for holder, _ in self._udp_holders:
            holder.close()
        self._sockets.close()

    def _serve(self) -> None:
        self._accepting = [trio.CancelScope() for _ in self._sockets.tcp]
        for listener, scope in zip(self._sockets.tcp, self._accepting, strict=True):
            self._nursery.start_soon(self._accept, listener, scope)
        self._former = [s for s in (*self._former, *self.datagrams) if s.has_calls]
        self.datagrams = []
        for sock in self._sockets.udp:
            server: DatagramServer
            if isinstance(self._portal, ScriptedPortal):
                server = ScriptedDatagramServer(sock, self._portal, self._rules)
            else:
                server = DatagramServer(sock, self._portal, self._rules)
            self.datagrams.append(server)
            self._nursery.start_soon(server.run)

    async def _accept(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            await self.connections.accept(listener)


def _is_idle(connection: Served) -> bool:
    return isinstance(connection, ScriptedConnection) and connection.is_idle


def _share(sock: socket.socket, *, allowed: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def _address(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


def _another(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Bind one more socket like ``sock`` to its address."""
    return bound(sock.family, sock.type, *address, share=True)


async def _until_begun() -> None:
    """Let tasks that were started just now begin: only then do they know that they are aborted."""
    # What runs in the same round as we do may start them after our first turn.
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
