"""Controls the ports of a running server: start, out of service and back, reset, end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import trio

from esps_portal.net.bind import Sockets
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.fork import closed_in_child
from esps_portal.net.port_outage import OutageKind, PortOutage, check_outage
from esps_portal.net.port_sockets import refuse_waiting
from esps_portal.net.port_tasks import DatagramHandler, PortTasks, until_begun
from esps_portal.net.systems import wait_for
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class PortControl:
    """The sockets of a running server, and what serves them.

    Args:
        connections: serves what is accepted.
        datagrams: returns what serves a UDP socket, which shares the `Silence` of the connections.
        forget: called by a reset, once nothing that began before it runs any more.
        nursery: where the tasks run that accept and answer.
    """

    def __init__(
        self,
        sockets: Sockets,
        connections: ConnectionServer[Any],
        datagrams: Callable[[socket.socket], DatagramHandler],
        forget: Callable[[], None],
        nursery: trio.Nursery,
    ) -> None:
        self._sockets = sockets
        self._connections = connections
        self._tasks = PortTasks(sockets, connections.acceptor, datagrams, nursery)
        self._forget = forget
        self._nursery = nursery
        self._outage = PortOutage(sockets, connections, self._tasks, nursery)
        self._resetting = trio.Lock()
        # Whether the server ends: its listeners are closed, and nothing may bind them again.
        self._is_ending = False

    def begin(self) -> None:
        """Serve what is bound."""
        # Before they are served, since anybody may then fork.
        for sock in (*self._sockets.tcp, *self._sockets.reserved):
            closed_in_child(sock)
        self._nursery.start_soon(self._connections.watch)
        self._tasks.serve()

    def stop_accepting(self) -> None:
        """Accept no more connections, except those that wait already: they are ended gracefully.

        Closing the listener would reset them, even if another process shares the port.
        """
        self._is_ending = True
        if self._outage.how is None:
            for listener in self._sockets.tcp:
                self._connections.acceptor.accept_waiting(listener)
        self._tasks.close_listeners()

    def down(self, how: OutageKind = "refuse") -> None:
        """Take the ports out of service, in this way; they stay ours.

        It does nothing to a server that ends: that refuses already.

        Args:
            how: ``refuse``: refuse every connect and every datagram; reset what is open, some in
                each pass of the loop (`until_down`). ``silent``: let every connect time out,
                discard every datagram, also those to be sent; what is open, and what waits to be
                accepted, goes on when that is over.

        Raises:
            ValueError: there is no such way.
        """
        check_outage(how)
        if not self._is_ending:
            self._outage.begin(how)

    async def until_down(self) -> None:
        """Wait until what was open has been reset, if they refuse."""
        await self._outage.until_reset()

    def up(self) -> None:
        """Serve again, on the same addresses, unless the server ends.

        Raises:
            CannotBindError: another program has taken one, where the system could not keep it.
        """
        if not self._is_ending:
            self._outage.end()

    async def reset(self, *, keep_idle: bool = False) -> int:
        """End everything that came before, so that nothing of it reaches what comes after.

        Open connections and those that wait to be accepted are reset, datagrams that were not
        read are discarded, kept replies forgotten. It returns when that is so: how many open
        connections it has reset.

        Args:
            keep_idle: leave alone the connections that wait for their client's next request, and
                those that wait to be accepted.
        """
        async with self._resetting:  # any thread may ask for one
            ended = 0
            if self._outage.how == "silent":
                # What came during the silence must not be read when it ends.
                ended = await self._connections.abort(keep_idle=keep_idle)
            self.up()
            if not keep_idle:
                for listener in self._sockets.tcp:
                    refuse_waiting(listener)
            for server in self._tasks.datagrams:
                server.discard_waiting()
            await until_begun()
            for server in (*self._tasks.former, *self._tasks.datagrams):
                await server.abort()
            self._forget()
            return ended + await self._connections.abort(keep_idle=keep_idle)

    @property
    def has_input(self) -> bool:
        """Whether something has come that was not read, though the loop waits for it."""
        if self._outage.how is not None:
            return False  # what has come waits until that is over
        if self._connections.has_input:
            return True
        return wait_for([sock for sock in self._all_sockets if sock.fileno() >= 0])

    @property
    def is_idle(self) -> bool:
        """Whether nothing goes on but waiting for clients, and for their next requests."""
        return (
            self._outage.how is None
            # A server that ends has closed them.
            and all(sock.fileno() >= 0 for sock in self._all_sockets)
            and self._connections.is_idle
            and not self._tasks.former
            and all(handler.is_idle for handler in self._tasks.datagrams)
        )

    @property
    def _all_sockets(self) -> list[socket.socket]:
        return [*self._sockets.tcp, *self._sockets.udp]

    def forget_if_unused(self) -> bool:
        """Do what `reset` does, if nobody is connected; return whether that was done.

        The server must be idle (`is_idle`).

        Like `has_input` and `is_idle` it may be called while the loop sleeps.
        """
        if not self._connections.connections:
            self._forget()
        return not self._connections.connections

    async def shut_down(self) -> None:
        """Let what runs end, within the limits; a silence is over."""
        self._connections.silence.end()
        async with trio.open_nursery() as draining:
            draining.start_soon(self._connections.shut_down)
            for server in self._tasks.datagrams:
                draining.start_soon(server.shut_down)

    async def abort(self) -> None:
        """Reset every connection that is open, some in each pass of the loop."""
        await self._connections.abort()

    def renumber(self) -> None:
        """Note every open connection again, in the order in which they were accepted."""
        for connection in self._connections.connections:
            connection.begin_anew()

    def sever(self) -> None:
        """Free the ports, and reset what is open, from another thread: the loop is stuck."""
        self._close_sockets()
        for connection in list(self._connections.connections):
            connection.sever()

    def close(self) -> None:
        """Close every socket, and let what is open end."""
        self._close_sockets()
        self._connections.silence.end()

    def _close_sockets(self) -> None:
        self._is_ending = True
        self._outage.close()
        self._sockets.close()
