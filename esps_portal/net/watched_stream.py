"""A stream whose end is noticed while it is not read: a peer's, or either side of a relay."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from esps_portal.log import log
from esps_portal.net.addresses import literal
from esps_portal.net.error_watch import ErrorWatch, watch_errors
from esps_portal.net.keepalive import keep_alive
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.systems import writable_when_sent
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.turns import ConnectionTurns

# Seconds for which what was passed on may still leave before a RST.
_LINGER = 1.0
_READ_SIZE = 65536
#: Seconds between two keepalive probes to a side that a fault has stalled.
KEEPALIVE = 10


class WatchedStream(SocketStream):
    """A TCP stream that remembers how it has ended, and can be watched for its end.

    Args:
        turns: it waits for one before it is read, or its end is acted on: thousands may end at
            once, and each end is much work. By default it has its own.

    Attributes:
        has_ended: it has sent FIN, and that was dealt with.
        is_broken: there was a RST, or the like.
        is_stuck: it was not reading when the other one broke.
        turns: see above.
        on_close: called before it is closed.
    """

    __slots__ = ("_errors", "has_ended", "is_broken", "is_stuck", "on_close", "turns")

    def __init__(
        self,
        connected: socket.socket,
        silence: Silence = NEVER_SILENT,
        tls: ServerTLS | None = None,
        turns: ConnectionTurns | None = None,
    ) -> None:
        super().__init__(connected, silence, tls)
        self.turns: ConnectionTurns = turns or ConnectionTurns()
        self.has_ended: bool = False
        self.is_broken: bool = False
        self.is_stuck: bool = False
        self.on_close: Callable[[], None] = lambda: None
        self._errors: ErrorWatch | None = None

    @property
    def own_address(self) -> tuple[str, int]:
        """Our address and port."""
        return literal(self._socket.getsockname())

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is FIN."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            await self._silence.until_over()
            await self.turns.input.begin()
            data = self.receive_now()
            if data is not None:
                return data

    def receive_now(self) -> bytes | None:
        """Return bytes that have come, ``b""`` for FIN; ``None``: nothing has.

        Raises:
            trio.BrokenResourceError: it was reset; also each time that it is read after that.
        """
        if self._silence.is_on:
            return None
        if self.is_broken:
            raise trio.BrokenResourceError
        try:
            return self._transport.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            self.is_broken = True
            raise trio.BrokenResourceError from error

    async def send_all(self, data: bytes, source: WatchedStream) -> None:
        """Send bytes that came from ``source``, unless a RST comes from there meanwhile.

        Raises:
            trio.BrokenResourceError: this end is broken, or ``source`` is; see `is_broken`.
        """
        view = memoryview(data)
        while view:
            await self._silence.until_over()
            try:
                view = view[self._transport.send(view) :]
            except BlockingIOError:
                await self._until_writable(source)
            except OSError as error:
                self.is_broken = True
                raise trio.BrokenResourceError from error

    async def _until_writable(self, source: WatchedStream) -> None:
        """Wait for room; a RST from ``source``, which is not read meanwhile, ends the wait."""
        try:
            await source.while_unbroken(self.wait_writable)
        except trio.BrokenResourceError:
            self.is_stuck = True
            raise

    async def while_unbroken(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something while this side is not read; a RST from it ends the wait.

        Raises:
            trio.BrokenResourceError: it was reset.
        """
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await self.until_broken()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await wait()
            nursery.cancel_scope.cancel()
        if self.is_broken:
            raise trio.BrokenResourceError

    async def until_broken(self) -> None:
        """Wait for a RST without reading; bytes that wait to be read do not end the wait."""
        await self._until_end(for_fin=False)
        if not self.is_broken:
            # Both directions have ended with FIN: there can be no RST any more.
            await trio.sleep_forever()

    async def until_fin(self) -> None:
        """Wait for a FIN without reading what comes before it, or for a RST."""
        await self._until_end(for_fin=True)

    async def _until_end(self, *, for_fin: bool) -> None:
        """Wait for an error or, if that is wanted, a FIN; after an error the stream `is_broken`."""
        try:
            if self._errors is None:
                self._errors = watch_errors(self._socket)
        except OSError as error:
            # No descriptor is left: end the connection rather than never notice.
            log.warning("a connection cannot be watched, and is ended: %s", error.strerror)
            self.is_broken = True
        if self._errors is not None and not self.is_broken:
            end = await self._errors.wait(for_fin=for_fin)
            await self.turns.input.begin()
            if end == "error":  # a write may have met the RST before
                self.is_broken = True

    def keep_alive(self) -> None:
        """Make the kernel check that the other end is there: a RST or silence says that it is not.

        One that has closed its socket, and gets nothing more, would otherwise never be noticed.
        """
        keep_alive(self._socket, KEEPALIVE, KEEPALIVE)

    async def until_sent(self, timeout: float = _LINGER) -> None:  # noqa: ASYNC109 - a bound
        """Wait until the kernel has sent everything, for at most ``timeout`` seconds."""
        try:
            writable_when_sent(self._socket)
            with trio.move_on_after(timeout):
                await trio.lowlevel.wait_writable(self._socket)
        except OSError:
            return  # it is broken itself

    def close(self, timeout: float = 0.0) -> None:
        """Close it; see `SocketStream.close`."""
        self.on_close()
        if self._errors is not None:
            self._errors.close()
        super().close(timeout)
