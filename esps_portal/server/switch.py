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

import trio

from esps_portal.portal.answering import Portal
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.protocol.datagrams import DatagramRules
from esps_portal.server.binding import Sockets, bound
from esps_portal.server.scripted_connection import ScriptedConnection
from esps_portal.server.scripted_datagrams import ScriptedDatagramServer
from esps_portal.server.tcp import ConnectionServer
from esps_portal.server.udp import DatagramServer

# RFC 863, discard: nothing of ours is ever sent there; it only has to be somewhere else.
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
        self._udp_holders: list[socket.socket] = []
        self._down = False
        scripted = isinstance(portal, ScriptedPortal)
        self.connections = (
            ConnectionServer(portal, nursery, ScriptedConnection)
            if scripted
            else ConnectionServer(portal, nursery)
        )
        self.datagrams: list[DatagramServer] = []

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
            holder = _another(sock)
            # A socket that is connected takes datagrams of that peer alone.
            holder.connect((sock.getsockname()[0], _ELSEWHERE))
            self._udp_holders.append(holder)
            server.close()
            _share(holder, allowed=False)
        self.connections.abort_soon()

    def up(self) -> None:
        """Serve again, on the same addresses."""
        if not self._down:
            return
        for holder in self._sockets.holders:
            _share(holder, allowed=True)
        self._sockets.tcp[:] = [_another(holder) for holder in self._sockets.holders]
        for listener in self._sockets.tcp:
            listener.listen(65535)
        for holder in self._udp_holders:
            _share(holder, allowed=True)
        self._sockets.udp[:] = [_another(holder) for holder in self._udp_holders]
        for holder in self._udp_holders:
            holder.close()
        self._udp_holders.clear()
        for sock in self._sockets.udp:
            _share(sock, allowed=False)
        self._down = False
        self._serve()

    async def reset(self) -> None:
        """Let nothing of what was reach what comes.

        Open connections and those that wait to be accepted are reset, datagrams that were not
        read are thrown away, kept answers forgotten. It returns when that is so.
        """
        self.up()
        for listener in self._sockets.tcp:
            _refuse_waiting(listener)
        for server in self.datagrams:
            server.discard_waiting()
            await server.abort()
            if isinstance(server, ScriptedDatagramServer):
                server.forget_held()
        self._rules.forget_all()
        await self.connections.abort()

    async def shut_down(self) -> None:
        """Let what runs end, within the limits."""
        async with trio.open_nursery() as draining:
            draining.start_soon(self.connections.shut_down)
            for server in self.datagrams:
                draining.start_soon(server.shut_down)

    def close(self) -> None:
        """Close every socket."""
        for holder in self._udp_holders:
            holder.close()
        self._sockets.close()

    def _serve(self) -> None:
        self._accepting = [trio.CancelScope() for _ in self._sockets.tcp]
        for listener, scope in zip(self._sockets.tcp, self._accepting, strict=True):
            self._nursery.start_soon(self._accept, listener, scope)
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


def _share(sock: socket.socket, *, allowed: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(allowed))


def _another(sock: socket.socket) -> socket.socket:
    """Bind one more socket to the address of ``sock``."""
    host, port = sock.getsockname()[:2]
    return bound(sock.family, sock.type, host, port, share=True)


def _refuse_waiting(listener: socket.socket) -> None:
    """Reset the connections that nobody has accepted yet."""
    with contextlib.suppress(OSError):
        while True:
            connected, _ = listener.accept()
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connected.close()
