"""The TCP connections of a server: serves or refuses each new one, and watches those that are open.

`trio.serve_listeners` is not used: it ends when a listener is closed, and an exception in one
handler, such as a client's RST, ends the whole server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import trio

from esps_portal.log import log
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.acceptor import Acceptor, Room
from esps_portal.net.address_counts import AddressCounts
from esps_portal.net.addresses import literal
from esps_portal.net.fork import close_socket
from esps_portal.net.proxy_header_reader import ProxyHeaderReaders
from esps_portal.net.ready_set import ReadySet
from esps_portal.net.refusals import Refusals
from esps_portal.net.silence import Silence
from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.stream import Stream
from esps_portal.net.turns import Turns

#: Connections that are ended in a row: each has more to do in its tasks, in the same pass.
MAX_ENDED = 16


class ConnectionHandler(Protocol):
    """What serves one connection."""

    @property
    def deadline(self) -> float:
        """When the watch has to call `expire`; seconds on trio's clock."""

    async def run(self) -> None:
        """Serve until the connection has ended, or has parked itself in the server's ready set."""

    def shut_down(self) -> None:
        """Shut down gracefully."""

    def expire(self) -> None:
        """The deadline has passed."""

    def abort(self) -> None:
        """End at once, with RST."""

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the client's next request."""

    def begin_anew(self) -> None:
        """Note the connection again: the journal was emptied."""


_Handler = TypeVar("_Handler", bound=ConnectionHandler)


class ConnectionServer(Generic[_Handler]):
    """All TCP connections of a server, whichever listener they came through.

    Args:
        handler: returns what serves a connection; called with its stream and the client's address.
        nursery: where connections are served.
        stream: makes a stream of an accepted socket, which shares ``silence``; a `SocketStream` by
            default.
        silence: as long as it is on nothing is accepted, and no deadline passes.
        ready: where connections that need no task are parked.
        room: as long as it is full nothing is accepted; ``None``: there is no such limit.
        opening: turns to wait for before more are accepted, if accepted connections have much to do
            first. By default none are waited for.

    Attributes:
        acceptor: accepts from listeners.
        refusals: refuses those for whom there is no room.
        connections: in the order in which they were accepted.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        handler: Callable[[Any, tuple[str, int]], _Handler],
        policy: AcceptPolicy,
        nursery: trio.Nursery,
        *,
        stream: Callable[[socket.socket], Stream] | None = None,
        silence: Silence | None = None,
        ready: ReadySet | None = None,
        room: Room | None = None,
        opening: Turns | None = None,
    ) -> None:
        self._handler = handler
        self._policy = policy
        self._nursery = nursery
        self._ready = ready
        if ready is not None:
            ready.start, ready.on_end = self.start, self._forget
        self._by_address = AddressCounts(policy.max_per_address)
        self._closing = False
        self._one_ended: trio.Event | None = None
        self.silence: Silence = silence or Silence()
        self._stream = stream or partial(SocketStream, silence=self.silence)
        self.refusals: Refusals = Refusals(policy, nursery, self._stream, self.silence)
        self.acceptor: Acceptor = Acceptor(
            self._admit, self.refusals.send_now, self.silence, room, opening
        )
        self._proxy_headers = ProxyHeaderReaders(nursery, self.silence, self._serve_soon)
        self.connections: dict[_Handler, None] = {}
        #: Called after a connection was added to them.
        self.on_open: Callable[[], None] = lambda: None

    @property
    def is_full(self) -> bool:
        """Whether the largest allowed number of connections is open."""
        return len(self.connections) + len(self._proxy_headers) >= self._policy.max_connections

    @property
    def has_input(self) -> bool:
        """Whether something has come on a parked connection that was not read."""
        return self._ready is not None and self._ready.has_input

    @property
    def is_idle(self) -> bool:
        """Whether every client is served, and its connection idle."""
        under_way = len(self._proxy_headers) + self.refusals.under_way
        return not under_way and all(connection.is_idle for connection in self.connections)

    def _admit(self, connected: socket.socket, address: tuple[str, int]) -> None:
        """Serve or refuse a client that was accepted."""
        try:
            if self.is_full:
                self.refusals.send_soon(connected)
            elif self._policy.reads_proxy_header:
                self._proxy_headers.begin(connected, address)
            else:
                self._serve_soon(connected, address)
        except Exception:  # noqa: BLE001 - what one has must not end the others; it is logged
            log.exception("a connection cannot be served, and is closed")
            close_socket(connected)

    def _serve_soon(self, connected: socket.socket, address: tuple[str, int]) -> None:
        if self._by_address.is_full(literal(address)[0]):
            self.refusals.send_soon(connected)
            return
        try:
            stream = self._stream(connected)
        except OSError:
            close_socket(connected)  # it was reset before we could look
            return
        # Tasks begin in any order; connections are numbered in the order of accepting.
        connection = self._open(stream, literal(address))
        if self._ready is None or not self._ready.admit(connection):
            self.start(connection)

    def start(self, connection: _Handler) -> None:
        """Start the task of a connection."""
        self._nursery.start_soon(self._run, connection)

    async def serve(self, stream: Stream, remote: tuple[str, int]) -> None:
        """Serve one connection until it has ended."""
        connection = self._open(stream, remote)
        if self._ready is None or not self._ready.admit(connection):
            await self._run(connection)
        await self._until_ended({connection})

    def _open(self, stream: Stream, remote: tuple[str, int]) -> _Handler:
        connection = self._handler(stream, remote)
        self.connections[connection] = None
        self._by_address.add(connection, remote[0])
        self.on_open()
        if self._closing:
            connection.shut_down()
        return connection

    async def _run(self, connection: _Handler) -> None:
        try:
            await connection.run()
        except Exception:  # noqa: BLE001 - what one has must not end the others; it is logged
            log.exception("a connection has failed, and is closed")
        finally:
            if self._ready is None or connection not in self._ready:
                self._forget(connection)

    def _forget(self, connection: _Handler) -> None:
        if connection not in self.connections:
            return  # it has ended, and something of it goes on
        del self.connections[connection]
        self._by_address.remove(connection)
        if self._one_ended is not None:
            self._one_ended.set()
            self._one_ended = None

    async def watch(self) -> None:
        """Act on each deadline that has passed, until cancelled.

        A deadline that is not yet known is at least `AcceptPolicy.watch_interval` away: a sleep of
        that length misses none, and no connection needs a timer of its own.

        In a silence nobody could have met a deadline: each is then at least that far from its end.
        """
        while True:
            await self.silence.until_over()
            earliest = self.silence.ended + self._policy.watch_interval
            now = trio.current_time()
            wake = now + self._policy.watch_interval
            expired = 0
            for connection in list(self.connections):
                deadline = max(connection.deadline, earliest)
                if deadline > now:
                    wake = min(wake, deadline)
                    continue
                connection.expire()
                expired += 1
                if expired % MAX_ENDED == 0:
                    await trio.lowlevel.checkpoint()
            # A deadline of 0 s must not spin.
            await trio.sleep_until(max(wake, now + 0.001))

    async def shut_down(self) -> None:
        """Shut every connection down gracefully; return when all have ended."""
        self._closing = True
        await self._end(self.connections, lambda connection: connection.shut_down())
        await self._until_ended(self.connections.keys())

    async def abort(self, *, keep_idle: bool = False) -> int:
        """Reset every connection, or every one that is not idle; return how many, once ended."""
        # Not the connections that come meanwhile: there might be no end of them.
        aborted = {c: None for c in self.connections if not (keep_idle and c.is_idle)}
        self._proxy_headers.abort()
        await self._end(aborted, lambda connection: connection.abort())
        await self._until_ended(aborted.keys())
        return len(aborted)

    def abort_soon(self) -> None:
        """Reset every connection, all in one pass of the loop."""
        self._proxy_headers.abort()
        for connection in self.connections:
            connection.abort()

    async def _end(self, connections: Iterable[_Handler], end: Callable[[_Handler], None]) -> None:
        """End connections that are still open, some in each pass of the loop."""
        for number, connection in enumerate(list(connections), 1):
            if connection in self.connections:
                end(connection)
            if number % MAX_ENDED == 0:
                await trio.lowlevel.checkpoint()

    async def _until_ended(self, connections: AbstractSet[_Handler]) -> None:
        while not connections.isdisjoint(self.connections):
            if self._one_ended is None:
                self._one_ended = trio.Event()
            await self._one_ended.wait()
