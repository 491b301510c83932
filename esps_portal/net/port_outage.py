"""An outage of the ports of a server: out of service and back, without giving them away.

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
from typing import Any, Literal, get_args

import trio

from esps_portal.given_numbers import shown_value
from esps_portal.log import log
from esps_portal.net.bind import BACKLOG, Sockets
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.fork import close_socket
from esps_portal.net.port_sockets import (
    address_of,
    bind_all_again,
    fill_queue,
    replace_listener,
    reserve_datagrams,
    stop_listening,
)
from esps_portal.net.port_tasks import PortTasks, until_begun
from esps_portal.net.systems import let_share
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The ways in which ports are out of service.
OutageKind = Literal["refuse", "silent"]

_WHY_NOT_KEPT = "this system binds no second socket to an address"


class PortOutage:
    """Takes the ports of a running server out of service and back.

    Args:
        sockets: those of the ports; they are replaced in place.
        connections: serves what is accepted. Its `Silence` is what ``silent`` turns on.
        tasks: those that serve the sockets.
        nursery: where tasks run that end what was open.

    Attributes:
        how: in which way the ports are down; ``None``: they are in service.
    """

    def __init__(
        self,
        sockets: Sockets,
        connections: ConnectionServer[Any],
        tasks: PortTasks,
        nursery: trio.Nursery,
    ) -> None:
        self.how: OutageKind | None = None
        self._sockets = sockets
        self._connections = connections
        self._tasks = tasks
        self._nursery = nursery
        # The sockets that are out of service, with the address of each: it is bound again.
        self._held_tcp: list[tuple[socket.socket, tuple[str, int]]] = []
        self._held_udp: list[tuple[socket.socket, tuple[str, int]]] = []
        # Sockets that keep the UDP ports meanwhile.
        self._udp_reserved: list[socket.socket] = []
        self._has_warned = False
        # Connections that fill the queues of the listeners during a silence.
        self._fillers: list[socket.socket] = []
        # Whether what was open has been reset since they refuse.
        self._is_reset = trio.Event()

    def begin(self, how: OutageKind) -> None:
        """Take the ports out of service, or change the way in which they are."""
        if how == self.how:
            return
        if how == "refuse":
            self._refuse()
        else:
            self._fall_silent()

    def end(self) -> None:
        """Serve again, on the same addresses, if the ports are down.

        Raises:
            CannotBindError: another program has taken one, where the system could not keep it.
        """
        if self.how == "silent":
            self._end_silence()
        elif self.how == "refuse":
            self._bind_again()
            for listener in self._sockets.tcp:
                listener.listen(BACKLOG)
            self._tasks.serve()
        self.how = None

    async def until_reset(self) -> None:
        """Wait until what was open has been reset, if the ports refuse."""
        if self.how == "refuse":
            await self._is_reset.wait()

    def _refuse(self) -> None:
        self.how = "refuse"
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
        self._is_reset = trio.Event()
        self._nursery.start_soon(self._reset_open, self._is_reset)

    def _warn_unless_kept(self) -> None:
        """Log, once, that others may take a port that is down."""
        kept = len(self._sockets.reserved) + len(self._udp_reserved)
        held = (*self._held_tcp, *self._held_udp)
        if kept < len(held) and not self._has_warned:
            self._has_warned = True
            port = held[0][1][1]
            log.warning("while port %d is down others may take it: %s", port, _WHY_NOT_KEPT)

    async def _reset_open(self, is_done: trio.Event) -> None:
        """Reset what was open when the ports went out of service."""
        try:
            if self.how == "refuse":  # else it was reset as that ended, and others have come since
                await self._connections.abort()
                await until_begun()
            if self.how == "refuse":
                self._connections.abort_soon()  # what was accepted just before
                # Only now, so that nothing that came during a silence is read.
                self._connections.silence.end()
        finally:
            is_done.set()  # also where the server ends, and all that is open with it

    def _bind_again(self) -> None:
        """Bind new sockets to all addresses that were refused; those of TCP do not listen yet."""
        if not self._is_reset.is_set():
            self._connections.abort_soon()  # before anything that comes after the outage
        self._connections.silence.end()  # an earlier one: what it held up was aborted
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
        if self.how == "refuse":
            self._bind_again()
            self._tasks.serve()
        self._connections.silence.begin()
        self.how = "silent"
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

    def close(self) -> None:
        """Close the sockets that only an outage has."""
        self._drop_fillers()
        for reserved in self._udp_reserved:
            close_socket(reserved)


def check_outage(how: object) -> None:
    """Raise `ValueError` unless ports can be out of service in this way."""
    if how not in get_args(OutageKind):
        raise ValueError(f"how must be 'refuse' or 'silent', got {shown_value(how)}")
