"""One TCP connection through a proxy: whatever one end does is done to the other.

Octets, the FIN of each direction, and RST pass as they come. Each direction holds at most
one read's worth of octets beside the kernel's buffers: where one end does not read, the other is
not read either. The relay never adds a byte of its own.
"""

from __future__ import annotations

import logging
import math
import select
import socket
from collections.abc import Callable

import trio

from esps_portal.portal.journal import Journal
from esps_portal.portal.tapping import StreamTap
from esps_portal.protocol.urls import PortalURL
from esps_portal.server.streams import SocketStream
from esps_portal.server.upstream import UnreachableUpstreamError, connect_upstream

_log = logging.getLogger("esps_portal")

# Seconds. Before a RST what was passed on may still leave, and after a drain what a client sends
# is thrown away, so that no RST overtakes the last line: as long as a portal does (`Limits`).
_LINGER = 1.0
# Seconds for which the system goes on offering what an end has not taken (`Limits.stall`).
_PATIENCE = 30.0
# <linux/tcp.h>; the socket module has it from Python 3.12 on.
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)

CLIENT, PORTAL = "client", "portal"


class Side(SocketStream):
    """One of the two sockets.

    Attributes:
        name: who is at its other end.
        has_ended: it has sent FIN, and that was passed on.
        is_broken: there was a RST, or the like.
        is_stuck: it took nothing more when the other one broke.
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
        """Wait for octets; ``b""`` is FIN."""
        try:
            return await super().receive()
        except trio.BrokenResourceError:
            self.is_broken = True
            raise

    async def send_all(self, data: bytes, source: Side) -> None:
        """Send octets that came from ``source``, unless a RST comes from there meanwhile.

        Raises:
            trio.BrokenResourceError: they cannot be sent, to an end that `is_broken`; or nobody
                wants them to be, because ``source`` is.
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

    async def _until_writable(self, source: Side) -> None:
        """Wait for room. Meanwhile ``source`` is not read: a RST has to be seen another way."""
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
        """Wait for a RST without reading; octets that wait to be read do not end the wait."""
        if self._errors is None:
            # It tells errors whether it is asked or not (epoll_ctl(2)), and can be waited for
            # itself, which trio does with a socket only together with reading or writing.
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
                # Both directions have ended in good order: there can be no RST any more.
                await trio.sleep_forever()

    async def until_sent(self) -> None:
        """Wait until all has left that was given to the kernel, within bounds."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 1)
            with trio.move_on_after(_LINGER):
                await trio.lowlevel.wait_writable(self._socket)
        except OSError:
            return  # it is broken itself

    def close(self, patience: float = 0.0) -> None:
        """Close it; see `SocketStream.close`."""
        if self._errors is not None:
            if not self._errors.closed:
                trio.lowlevel.notify_closing(self._errors.fileno())
            self._errors.close()
        super().close(patience)


class Relay:
    """Passes one client's connection on to the portal. `run` is its whole life."""

    def __init__(
        self, client: Side, peer: tuple[str, int], upstream: PortalURL, journal: Journal
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._tap = StreamTap(journal, peer, trio.current_time())
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._draining = False
        # Who closed first, and how.
        self._first: tuple[str, str] | None = None

    @property
    def deadline(self) -> float:
        """Never: idle and stalled peers are the portal's to end."""
        return math.inf

    def expire(self) -> None:
        """Nothing: there is no deadline."""

    def abort(self) -> None:
        """End at once, with RST in both directions."""
        self._scope.cancel()

    def shut_down(self) -> None:
        """Pass nothing more to the portal but FIN: it lets running calls end, and then ends."""
        self._draining = True
        self._reading.cancel()

    async def run(self) -> None:
        """Relay until both directions have ended. Raises nothing but cancellation."""
        portal: Side | None = None
        whole = False
        try:
            with self._scope:
                portal = await self._connect()
                if portal is not None:
                    whole = await self._relay(portal)
        finally:
            for side in (self._client, portal):
                if side is not None and whole:
                    side.close(_PATIENCE)
                elif side is not None:
                    side.abort()
            self._tap.closed(*(self._first or (PORTAL, "rst")), trio.current_time())

    async def _connect(self) -> Side | None:
        """Connect to the portal; if that fails the client gets a RST."""
        try:
            connected = await connect_upstream(self._upstream)
        except UnreachableUpstreamError as error:
            _log.warning("%s", error)
            return None
        try:
            return Side(connected, PORTAL)
        except OSError as error:
            connected.close()
            _log.warning("cannot reach %s: %s", self._upstream, error.strerror)
            return None

    async def _relay(self, portal: Side) -> bool:
        """Pass on what comes. Returns whether both directions have ended in good order."""
        client, tap = self._client, self._tap
        whole = True
        async with trio.open_nursery() as nursery:

            async def pump(source: Side, sink: Side, see: Callable[[bytes, float], None]) -> None:
                nonlocal whole
                try:
                    await self._pump(source, sink, see)
                except trio.BrokenResourceError:
                    whole = False
                    nursery.cancel_scope.cancel()
                if source.has_ended and sink.has_ended:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(pump, client, portal, tap.from_client)
            nursery.start_soon(pump, portal, client, tap.from_portal)
        if whole:
            if self._draining:
                await self._discard()
            return True
        for side in (client, portal):
            if not (side.is_broken or side.is_stuck):
                await side.until_sent()
        return False

    async def _pump(self, source: Side, sink: Side, see: Callable[[bytes, float], None]) -> None:
        """Pass on one direction.

        Raises:
            trio.BrokenResourceError: both sides are to be reset.
        """
        try:
            # What has ended is not drained: `_reading` is the client's alone.
            with self._reading if source is self._client else trio.CancelScope():
                while data := await source.receive():
                    see(data, trio.current_time())
                    await sink.send_all(data, source)
            if not source.is_broken:
                sink.send_eof()
        except trio.BrokenResourceError:
            self._note(source if source.is_broken else sink, "rst")
            if source.is_broken or sink.has_ended:
                raise
            # The pump from there first brings what the sink has said before.
            sink.is_broken = True
            return
        if source.is_broken:
            raise trio.BrokenResourceError
        # In a drain it was not the client that ended.
        self._note(sink if self._draining else source, "fin")
        source.has_ended = True
        if not sink.has_ended:
            await source.until_broken()
            self._note(source, "rst")
            raise trio.BrokenResourceError

    async def _discard(self) -> None:
        """Throw away what the client still sends after the drain."""
        try:
            with trio.move_on_after(_LINGER):
                while await self._client.receive():
                    pass
        except trio.BrokenResourceError:
            return

    def _note(self, side: Side, how: str) -> None:
        if self._first is None:
            self._first = side.name, how
