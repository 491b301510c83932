"""One TCP connection through a proxy: whatever one end does is done to the other.

Bytes, the FIN of each direction, and RST pass as they come. Each direction holds at most one read's
worth of bytes beside the kernel's buffers: where one end does not read, the other is not read
either. The relay never adds a byte of its own.
"""

from __future__ import annotations

import enum
import logging
import math
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from esps_portal.net.streams import SocketStream

_log = logging.getLogger("esps_portal")

# Seconds for which what was passed on may still leave before a RST, and for which a client's input
# is discarded after a drain, so that no RST overtakes the last line (default of `Limits.linger`).
_LINGER = 1.0
# Seconds for which the kernel goes on sending what an end has not acknowledged: the default of
# `Limits.stall`.
_CLOSE_TIMEOUT = 30.0
# <linux/tcp.h>; the socket module has it from Python 3.12 on.
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)

CLIENT, SERVER = "client", "portal"


class Endpoint(SocketStream):
    """One of the two sockets.

    Attributes:
        name: who is at its other end.
        has_ended: it has sent FIN, and that was passed on.
        is_broken: there was a RST, or the like.
        is_stuck: it was not reading when the other one broke.
    """

    __slots__ = ("_errors", "has_ended", "is_broken", "is_stuck", "name")

    def __init__(self, connected: socket.socket, name: str) -> None:
        super().__init__(connected)
        self.name: str = name
        self.has_ended: bool = False
        self.is_broken: bool = False
        self.is_stuck: bool = False
        self._errors: select.epoll | None = None

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is FIN."""
        try:
            return await super().receive()
        except trio.BrokenResourceError:
            self.is_broken = True
            raise

    async def send_all(self, data: bytes, source: Endpoint) -> None:
        """Send bytes that came from ``source``, unless a RST comes from there meanwhile.

        Raises:
            trio.BrokenResourceError: this end is broken, or ``source`` is; see `is_broken`.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                await self._until_writable(source)
            except OSError as error:
                self.is_broken = True
                raise trio.BrokenResourceError from error

    async def _until_writable(self, source: Endpoint) -> None:
        """Wait for room; a RST from ``source``, which is not read meanwhile, ends the wait."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await source.until_broken()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await trio.lowlevel.wait_writable(self._socket)
            nursery.cancel_scope.cancel()
        if source.is_broken:
            self.is_stuck = True
            raise trio.BrokenResourceError

    async def until_broken(self) -> None:
        """Wait for a RST without reading; bytes that wait to be read do not end the wait."""
        if self._errors is None:
            # With no events asked for, epoll reports errors only (epoll_ctl(2)). Trio can wait for
            # the epoll object to be readable; for a socket's error alone it cannot.
            try:
                self._errors = select.epoll()
                self._errors.register(self._socket.fileno(), 0)
            except OSError as error:
                # No descriptor is left: end the connection rather than never notice.
                _log.warning("a connection is reset: %s", error.strerror)
                self.is_broken = True
        while self._errors is not None and not self.is_broken:
            await trio.lowlevel.wait_readable(self._errors.fileno())
            seen = self._errors.poll(0)
            if any(events & select.EPOLLERR for _, events in seen):
                self.is_broken = True
            elif seen and not self.is_broken:  # a write may have met the RST first
                # Both directions have ended with FIN: there can be no RST any more.
                await trio.sleep_forever()

    async def until_sent(self) -> None:
        """Wait until the kernel has sent everything, for a second at most."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 1)
            with trio.move_on_after(_LINGER):
                await trio.lowlevel.wait_writable(self._socket)
        except OSError:
            return  # it is broken itself

    def close(self, timeout: float = 0.0) -> None:
        """Close it; see `SocketStream.close`."""
        if self._errors is not None:
            if not self._errors.closed:
                trio.lowlevel.notify_closing(self._errors.fileno())
            self._errors.close()
        super().close(timeout)


class RelayObserver(Protocol):
    """Sees what passes; it changes nothing, waits for nothing and raises nothing."""

    def from_client(self, data: bytes, now: float) -> None:
        """See what the client has sent."""

    def from_portal(self, data: bytes, now: float) -> None:
        """See what the server has sent."""

    def closed(self, by: str, how: str, now: float) -> None:
        """See the end: who closed first, and how."""


class _Ended(enum.Enum):
    """How one direction has ended."""

    FIN = "the source has sent FIN, and it was passed on"
    SOURCE_BROKEN = "the source has reset the connection"
    SINK_BROKEN = "the sink cannot be sent to"


class Relay:
    """Passes one client's connection on to a server. `run` is its whole life.

    Args:
        connect: connects to the server; `None` where that fails, which resets the client.
        observer: sees what passes.
    """

    def __init__(
        self,
        client: Endpoint,
        connect: Callable[[], Awaitable[Endpoint | None]],
        observer: RelayObserver,
    ) -> None:
        self._client = client
        self._connect = connect
        self._observer = observer
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._draining = False
        # Who closed first, and how.
        self._first: tuple[str, str] | None = None

    @property
    def deadline(self) -> float:
        """Never: idle and stalled peers are the server's to end."""
        return math.inf

    def expire(self) -> None:
        """Nothing: there is no deadline."""

    def abort(self) -> None:
        """End at once, with RST in both directions."""
        self._scope.cancel()

    def sever(self) -> None:
        """Send RST to the client from another thread, for a loop that is stuck."""
        self._client.sever()

    @property
    def is_idle(self) -> bool:
        """Never: only the server knows."""
        return False

    def begin_anew(self) -> None:
        """Nothing: the observer goes on."""

    def shut_down(self) -> None:
        """Pass nothing more to the server but FIN: it lets running calls end, and then ends."""
        self._draining = True
        self._reading.cancel()

    async def run(self) -> None:
        """Relay until both directions have ended. Raises nothing but cancellation."""
        server: Endpoint | None = None
        both_finished = False
        try:
            with self._scope:
                server = await self._connect()
                if server is not None:
                    both_finished = await self._relay(server)
        finally:
            for end in (self._client, server):
                if end is not None and both_finished:
                    end.close(_CLOSE_TIMEOUT)
                elif end is not None:
                    end.abort()
            self._observer.closed(*(self._first or (SERVER, "rst")), trio.current_time())

    async def _relay(self, server: Endpoint) -> bool:
        """Pass on what comes. Returns whether both directions have ended with FIN."""
        client, observer = self._client, self._observer
        async with trio.open_nursery() as nursery:

            async def pass_on(
                source: Endpoint, sink: Endpoint, see: Callable[[bytes, float], None]
            ) -> None:
                ended = await self._pass_on(source, sink, see)
                if not await self._other_direction_goes_on(ended, source, sink):
                    nursery.cancel_scope.cancel()

            nursery.start_soon(pass_on, client, server, observer.from_client)
            nursery.start_soon(pass_on, server, client, observer.from_portal)
        if client.has_ended and server.has_ended:
            if self._draining:
                await self._discard()
            return True
        for end in (client, server):
            if not (end.is_broken or end.is_stuck):
                await end.until_sent()
        return False

    async def _other_direction_goes_on(
        self, ended: _Ended, source: Endpoint, sink: Endpoint
    ) -> bool:
        """Note how one direction has ended; return whether the other one goes on.

        After a FIN it waits while the other one goes on, for a RST.
        """
        if ended is _Ended.SINK_BROKEN:
            self._note(sink, "rst")
            sink.is_broken = True
            # The other direction first passes on what the sink sent before.
            return not sink.has_ended
        if ended is _Ended.FIN:
            # In a drain it was not the client that ended.
            self._note(sink if self._draining else source, "fin")
            source.has_ended = True
            if sink.has_ended:
                return False
            await source.until_broken()
            source.has_ended = False  # its FIN was passed on, and a RST came after it
        self._note(source, "rst")
        return False

    async def _pass_on(
        self, source: Endpoint, sink: Endpoint, see: Callable[[bytes, float], None]
    ) -> _Ended:
        """Pass on what one end sends until it ends; return how that was."""
        try:
            # What has ended is not drained: `_reading` is the client's alone.
            with self._reading if source is self._client else trio.CancelScope():
                while data := await source.receive():
                    see(data, trio.current_time())
                    await sink.send_all(data, source)
            if not source.is_broken:
                sink.send_eof()
        except trio.BrokenResourceError:
            return _Ended.SOURCE_BROKEN if source.is_broken else _Ended.SINK_BROKEN
        return _Ended.SOURCE_BROKEN if source.is_broken else _Ended.FIN

    async def _discard(self) -> None:
        """Discard what the client still sends after the drain."""
        try:
            with trio.move_on_after(_LINGER):
                while await self._client.receive():
                    pass
        except trio.BrokenResourceError:
            return

    def _note(self, end: Endpoint, how: str) -> None:
        if self._first is None:
            self._first = end.name, how
