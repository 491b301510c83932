"""Accepting connections, and watching over those that are open.

`trio.serve_listeners` is not used: a closed listener ends it, and an exception in one handler,
such as a peer's RST, ends the whole server.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Protocol

import attrs
import trio

from esps_portal.log import log
from esps_portal.net.address_counts import AddressCounts
from esps_portal.net.addresses import literal
from esps_portal.net.announced import AnnouncedClients
from esps_portal.net.bind import BACKLOG
from esps_portal.net.descriptors import SpareDescriptor
from esps_portal.net.fork import close_socket, closed_in_child, unforked
from esps_portal.net.listening import accepted
from esps_portal.net.opening import end_with_fin, opened
from esps_portal.net.ready_set import ReadySet
from esps_portal.net.silence import Silence
from esps_portal.net.streams import SocketStream, Stream

# The process or the machine has run out of something that may become free again
# (the list of trio.serve_listeners).
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_AFTER = 0.1
# Accepted in a row, before other tasks get a turn.
_MAX_ACCEPTS = 64
# Refused connections that are ended gracefully at a time; further ones are just closed.
_MAX_REFUSING = 64


class ConnectionHandler(Protocol):
    """What serves one connection."""

    @property
    def deadline(self) -> float:
        """When the watch has to look again."""

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
        """Whether it only waits for the peer's next request."""

    def begin_anew(self) -> None:
        """Note the connection again: the journal was emptied."""


@attrs.frozen(kw_only=True)
class AcceptPolicy:
    """What a server does with connections, whatever is spoken on them.

    Attributes:
        max_connections: at a time; more are refused.
        max_per_address: at a time from one address; 0: as many as there may be in all.
        refusal: what a refused one is sent before its FIN.
        linger: seconds for which its input is then discarded.
        handshake: seconds that its handshake of TLS may take, if there is one.
        watch: seconds; no handler's deadline is less far away when it is set.
        reads_proxy_header: whether each begins with a PROXY header, which names the client.
    """

    max_connections: int
    max_per_address: int = 0
    refusal: bytes = b""
    linger: float = 1.0
    handshake: float = 10.0
    watch: float = 60.0
    reads_proxy_header: bool = False


class ConnectionServer:
    """All TCP connections of a server, whichever listener they came through.

    Args:
        handler: makes what serves a connection, of its stream and the peer's address.
        nursery: where connections are served.
        stream: makes a stream of an accepted socket, which shares ``silence``; a `SocketStream` by
            default.
        silence: as long as it is on nothing is accepted, and no deadline passes.
        ready: where connections that need no task are parked.

    Attributes:
        connections: in the order in which they were accepted.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        handler: Callable[[Any, tuple[str, int]], ConnectionHandler],
        policy: AcceptPolicy,
        nursery: trio.Nursery,
        *,
        stream: Callable[[socket.socket], Stream] | None = None,
        silence: Silence | None = None,
        ready: ReadySet | None = None,
    ) -> None:
        self._handler = handler
        self._policy = policy
        self._nursery = nursery
        self._ready = ready
        if ready is not None:
            ready.start, ready.on_end = self.start, self._forget
        self._refusing = 0
        self._by_address = AddressCounts(policy.max_per_address)
        self._closing = False
        self._exhausted = False
        self._spare = SpareDescriptor()
        self._one_ended: trio.Event | None = None
        self.silence: Silence = silence or Silence()
        self._stream = stream or partial(SocketStream, silence=self.silence)
        self._announced = AnnouncedClients(nursery, self.silence, self._serve_soon)
        self.connections: dict[ConnectionHandler, None] = {}
        #: Called after a connection was added to them.
        self.on_open: Callable[[], None] = lambda: None
        #: Those it accepts from.
        self.listeners: dict[socket.socket, None] = {}
        #: Called after a listener was added to them.
        self.on_listen: Callable[[], None] = lambda: None

    @property
    def is_full(self) -> bool:
        """Whether as many connections are open as may be."""
        return len(self.connections) + len(self._announced) >= self._policy.max_connections

    async def accept(self, listener: socket.socket) -> None:
        """Accept from one listening socket until cancelled, or until it is closed."""
        closed_in_child(listener)
        self.listeners[listener] = None
        self._spare.keep()
        self.on_listen()
        with contextlib.suppress(trio.ClosedResourceError):
            try:
                # It may have been closed while nothing waited on it.
                while listener.fileno() >= 0:
                    await trio.lowlevel.wait_readable(listener)
                    if self.silence.is_on:
                        await self.silence.until_over()
                    else:
                        await self._accept_waiting(listener)
            finally:
                self.listeners.pop(listener, None)
                if not self.listeners:
                    self._spare.give_up()
                if listener.fileno() >= 0:
                    trio.lowlevel.notify_closing(listener)
                    close_socket(listener)

    async def _accept_waiting(self, listener: socket.socket) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                self._accept_one(listener)
            except BlockingIOError:
                return
            except OSError as error:
                # Anything else is about the connection that was not made (accept(2)).
                if error.errno in _OUT_OF_RESOURCES:
                    if not self._exhausted:
                        log.warning("cannot accept connections: %s", error.strerror)
                    self._exhausted = True
                    if not self._refuse_with_spare(listener):
                        await trio.sleep(_RETRY_AFTER)
                        return
                continue
            self._exhausted = False

    def accept_waiting(self, listener: socket.socket) -> None:
        """Accept what waits now, as far as there are resources for it."""
        for _ in range(BACKLOG):
            try:
                self._accept_one(listener)
            except BlockingIOError:
                return
            except OSError as error:
                is_out = error.errno in _OUT_OF_RESOURCES
                if is_out and not self._refuse_with_spare(listener):
                    return

    def _refuse_with_spare(self, listener: socket.socket) -> bool:
        """Refuse the next one, for which no descriptor is left; return whether there was one."""
        with self._spare.lent():
            try:
                with unforked:
                    connected, _ = accepted(listener)
                    closed_in_child(connected)
            except OSError:
                return False
            try:
                self._refuse_now(self._stream(connected))
            except OSError:
                close_socket(connected)
        return True

    def _accept_one(self, listener: socket.socket) -> None:
        with unforked:
            connected, address = accepted(listener)
            closed_in_child(connected)
        try:
            if self.is_full:
                self._refuse_soon(connected)
            elif self._policy.reads_proxy_header:
                self._announced.begin(connected, address)
            else:
                self._serve_soon(connected, address)
        except Exception:  # noqa: BLE001 - what one has must not end the others; it is logged
            log.exception("a connection cannot be served, and is closed")
            close_socket(connected)

    def _serve_soon(self, connected: socket.socket, address: tuple[str, int]) -> None:
        if self._by_address.is_full(literal(address)[0]):
            self._refuse_soon(connected)
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

    def start(self, connection: ConnectionHandler) -> None:
        """Start the task of a connection."""
        self._nursery.start_soon(self._run, connection)

    async def serve(self, stream: Stream, remote: tuple[str, int]) -> None:
        """Serve one connection until it has ended."""
        connection = self._open(stream, remote)
        if self._ready is None or not self._ready.admit(connection):
            await self._run(connection)
        await self._until_ended({connection})

    def _open(self, stream: Stream, remote: tuple[str, int]) -> ConnectionHandler:
        connection = self._handler(stream, remote)
        self.connections[connection] = None
        self._by_address.add(connection, remote[0])
        self.on_open()
        if self._closing:
            connection.shut_down()
        return connection

    async def _run(self, connection: ConnectionHandler) -> None:
        try:
            await connection.run()
        except Exception:  # noqa: BLE001 - what one has must not end the others; it is logged
            log.exception("a connection has failed, and is closed")
        finally:
            if self._ready is None or connection not in self._ready:
                self._forget(connection)

    def _forget(self, connection: ConnectionHandler) -> None:
        if connection not in self.connections:
            return  # it has ended, and something of it goes on
        del self.connections[connection]
        self._by_address.remove(connection)
        if self._one_ended is not None:
            self._one_ended.set()
            self._one_ended = None

    def _refuse_soon(self, connected: socket.socket) -> None:
        try:
            stream = self._stream(connected)
        except OSError:
            close_socket(connected)
            return
        if self._refusing < _MAX_REFUSING:
            self._refusing += 1
            self._nursery.start_soon(self._refuse, stream)
        else:
            # A flood. Each gets the refusal, unless it has sent something already: to end each
            # gracefully would keep the next ones waiting.
            self._refuse_now(stream)

    def _refuse_now(self, stream: Stream) -> None:
        """Send the refusal, unless a handshake would have to come first, and close."""
        with contextlib.suppress(trio.BrokenResourceError):
            if not stream.needs_handshake:
                stream.send_now(self._policy.refusal)
        stream.close()

    async def _refuse(self, stream: Stream) -> None:
        try:
            await self.refuse(stream)
        finally:
            self._refusing -= 1

    async def refuse(self, stream: Stream) -> None:
        """Send the refusal, and end gracefully."""
        try:
            await self.silence.until_over()
            linger = self._policy.linger
            if await opened(stream, seconds=self._policy.handshake, linger=linger):
                stream.send_now(self._policy.refusal)
                await end_with_fin(stream, linger)
        except trio.BrokenResourceError:
            pass
        finally:
            stream.close()

    async def watch(self) -> None:
        """Act on each deadline that has passed, until cancelled.

        A deadline that is not yet known is at least `AcceptPolicy.watch` away, so to sleep no
        longer misses none; and no connection needs a timer of its own.

        In a silence nobody could have met a deadline: each is then at least that far from its end.
        """
        while True:
            await self.silence.until_over()
            earliest = self.silence.ended + self._policy.watch
            now = trio.current_time()
            wake = now + self._policy.watch
            for connection in list(self.connections):
                deadline = max(connection.deadline, earliest)
                if deadline <= now:
                    connection.expire()
                else:
                    wake = min(wake, deadline)
            # A deadline of 0 s must not spin.
            await trio.sleep_until(max(wake, now + 0.001))

    async def shut_down(self) -> None:
        """Shut every connection down gracefully; return when all have ended."""
        self._closing = True
        for connection in self.connections:
            connection.shut_down()
        await self._until_ended(self.connections.keys())

    async def abort(self, *, keep_idle: bool = False) -> int:
        """Reset every connection, or every one that is not idle; return how many, once ended."""
        # Not those that come meanwhile, of which there may be no end.
        aborted = {c for c in self.connections if not (keep_idle and c.is_idle)}
        self._announced.abort()
        for connection in aborted:
            connection.abort()
        await self._until_ended(aborted)
        return len(aborted)

    def abort_soon(self, *, keep_idle: bool = False) -> None:
        """Reset every connection, or every one that is not idle."""
        self._announced.abort()
        for connection in self.connections:
            if not (keep_idle and connection.is_idle):
                connection.abort()

    async def _until_ended(self, connections: AbstractSet[ConnectionHandler]) -> None:
        while not connections.isdisjoint(self.connections):
            if self._one_ended is None:
                self._one_ended = trio.Event()
            await self._one_ended.wait()
