"""Takes the ports of a server out of service and back, without giving them away.

While they are down nobody else can bind them. There are two ways to be down:

- ``refuse``, as if no server ran. Connecting fails with ECONNREFUSED, over TCP and on a connected
  UDP socket. On Linux this takes, for TCP, a socket that is bound but does not listen; for UDP, a
  socket that is bound but connected elsewhere, so that no client's datagram is for it. SO_REUSEADDR
  lets two of our sockets have the address while one replaces the other; then it is cleared, which
  keeps other programs out.
- ``silent``, as if the network were cut. Connecting times out, since the queue of each listener is
  full; `Silence` stops everything else. Afterwards there are new listeners, since a client that is
  half connected to an old one must not appear later.

Systems other than Linux do not let two sockets bind one address. There a port is released during
``refuse``, which is logged, and bound again afterwards; another program may take it in between.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Literal, get_args

import trio

from esps_portal.given_numbers import shown_value
from esps_portal.log import log
from esps_portal.net.bind import BACKLOG, Sockets
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.fork import close_socket, closed_in_child
from esps_portal.net.port_sockets import (
    address_of,
    bind_all_again,
    fill_queue,
    refuse_waiting,
    replace_listener,
    reserve_datagrams,
    stop_listening,
)
from esps_portal.net.port_tasks import DatagramHandler, PortTasks
from esps_portal.net.systems import let_share, wait_for
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The ways in which ports are out of service.
OutageKind = Literal["refuse", "silent"]

_WHY_NOT_KEPT = "this system binds no second socket to an address"


class PortControl:
    """The sockets of a running server, and what serves them.

    Args:
        connections: serves what is accepted. Its `Silence` is what ``silent`` turns on.
        datagrams: returns what serves a UDP socket, which shares that `Silence`.
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
        # The sockets that are out of service, with the address of each: it is bound again.
        self._held_tcp: list[tuple[socket.socket, tuple[str, int]]] = []
        self._held_udp: list[tuple[socket.socket, tuple[str, int]]] = []
        # Sockets that keep the UDP ports meanwhile.
        self._udp_reserved: list[socket.socket] = []
        self._has_warned = False
        # Connections that fill the queues of the listeners during a silence.
        self._fillers: list[socket.socket] = []
        self._outage: OutageKind | None = None
        self._resetting = trio.Lock()

    def begin(self) -> None:
        """Serve what is bound."""
        # Before they are served, since anybody may then fork.
        for sock in (*self._sockets.tcp, *self._sockets.reserved):
            closed_in_child(sock)
        self._nursery.start_soon(self._connections.watch)
        self._tasks.serve()

    def stop_accepting(self) -> None:
        """Accept no more connections, except those that wait already: they get a proper end.

        Closing the listener would reset them, though another process may share the port.
        """
        for listener in self._sockets.tcp if self._outage is None else ():
            self._connections.acceptor.accept_waiting(listener)
        self._tasks.close_listeners()

    def down(self, how: OutageKind = "refuse") -> None:
        """Take the ports out of service, in this way; they stay ours.

        Args:
            how: ``refuse``: refuse every connect and every datagram; reset what is open.
                ``silent``: let every connect time out, discard every datagram, also those to be
                sent; what is open, and what waits to be accepted, goes on when that is over.

        Raises:
            ValueError: there is no such way.
        """
        check_outage(how)
        if how == self._outage:
            return
        if how == "refuse":
            self._refuse()
        else:
            self._fall_silent()

    def up(self) -> None:
        """Serve again, on the same addresses.

        Raises:
            CannotBindError: another program has taken one, where the system could not keep it.
        """
        if self._outage == "silent":
            self._end_silence()
        elif self._outage == "refuse":
            self._bind_again()
            for listener in self._sockets.tcp:
                listener.listen(BACKLOG)
            self._tasks.serve()
        self._outage = None

    def _refuse(self) -> None:
        self._outage = "refuse"
        self._tasks.close_listeners()
        self._held_tcp = [(each, address_of(each)) for each in self._sockets.tcp]
        self._held_udp = [(each, address_of(each)) for each in self._sockets.udp]
        for listener in self._sockets.tcp:
            stop_listening(listener)
            trio.lowlevel.notify_closing(listener)
            close_socket(listener)
        self._drop_fillers()
        for reserved in self._sockets.reserved:
            let_share(reserved, allowed=False)
        for server, sock in zip(self._tasks.datagrams, self._sockets.udp, strict=True):
            kept = reserve_datagrams(sock)
            server.close()
            if kept is not None:
                self._udp_reserved.append(kept)
                let_share(kept, allowed=False)
        self._warn_unless_kept()
        self._connections.abort_soon()
        self._nursery.start_soon(self._abort_late)

    def _warn_unless_kept(self) -> None:
        """Log, once, that others may take a port that is down."""
        kept = len(self._sockets.reserved) + len(self._udp_reserved)
        held = (*self._held_tcp, *self._held_udp)
        if kept < len(held) and not self._has_warned:
            self._has_warned = True
            port = held[0][1][1]
            log.warning("while port %d is down others may take it: %s", port, _WHY_NOT_KEPT)

    async def _abort_late(self) -> None:
        """Abort what was accepted just before the ports went out of service."""
        await _until_begun()
        if self._outage == "refuse":
            self._connections.abort_soon()
            # Only now, so that nothing that came during a silence is read.
            self._connections.silence.end()

    def _bind_again(self) -> None:
        """Bind new sockets to all addresses that were refused; those of TCP do not listen yet."""
        self._connections.silence.end()  # of before; what it holds up was aborted
        for reserved in (*self._sockets.reserved, *self._udp_reserved):
            let_share(reserved, allowed=True)
        again = bind_all_again((*self._held_tcp, *self._held_udp))
        self._sockets.tcp[:] = again[: len(self._held_tcp)]
        self._sockets.udp[:] = again[len(self._held_tcp) :]
        for reserved in self._udp_reserved:
            close_socket(reserved)
        self._udp_reserved.clear()
        for sock in self._sockets.udp:
            let_share(sock, allowed=False)

    def _fall_silent(self) -> None:
        if self._outage == "refuse":
            self._bind_again()
            self._tasks.serve()
        self._connections.silence.begin()
        self._outage = "silent"
        accept_waiting = self._connections.acceptor.accept_waiting
        self._fillers = [fill_queue(each, accept_waiting) for each in self._sockets.tcp]

    def _end_silence(self) -> None:
        old = list(self._sockets.tcp)
        for number, listener in enumerate(old):
            self._sockets.tcp[number] = replace_listener(listener)
        self._drop_fillers()
        for server in self._tasks.datagrams:
            server.discard_waiting()
        self._connections.silence.end()
        self._tasks.serve_tcp()

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            close_socket(filler)
        self._fillers.clear()

    async def reset(self, *, keep_idle: bool = False) -> int:
        """End everything that came before, so that nothing of it reaches what comes after.

        Open connections and those that wait to be accepted are reset, datagrams that were not
        read are discarded, kept replies forgotten. It returns when that is so: how many open
        connections it has reset.

        Args:
            keep_idle: leave alone the connections that wait for their client's next request, and
                those that wait to be accepted.
        """
        async with self._resetting:  # they come from any thread
            if self._outage == "silent":
                # What came during the silence must not be read when it ends.
                self._connections.abort_soon(keep_idle=keep_idle)
                await _until_begun()
            self.up()
            for listener in () if keep_idle else self._sockets.tcp:
                refuse_waiting(listener)
            for server in self._tasks.datagrams:
                server.discard_waiting()
            await _until_begun()
            for server in (*self._tasks.former, *self._tasks.datagrams):
                await server.abort()
            self._forget()
            return await self._connections.abort(keep_idle=keep_idle)

    @property
    def has_input(self) -> bool:
        """Whether something has come that was not read, though the loop waits for it."""
        if self._outage is not None:
            return False  # what has come waits until that is over
        if self._connections.has_input:
            return True
        return wait_for([sock for sock in self._all_sockets if sock.fileno() >= 0])

    @property
    def is_idle(self) -> bool:
        """Whether nothing goes on but waiting for clients, and for their next requests."""
        return (
            self._outage is None
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
        """Do what `reset` does, if nobody is connected; return that. It must be idle.

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
        self._drop_fillers()
        for reserved in self._udp_reserved:
            close_socket(reserved)
        self._sockets.close()


def check_outage(how: object) -> None:
    """Raise `ValueError` unless ports can be out of service in this way."""
    if how not in get_args(OutageKind):
        raise ValueError(f"how must be 'refuse' or 'silent', got {shown_value(how)}")


async def _until_begun() -> None:
    """Let tasks that were started just now begin: only a task that runs can be aborted."""
    # A task of the same turn of the loop may start them after our first checkpoint.
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
