"""The client on trio over TCP: many calls at once on one connection."""

from __future__ import annotations

import socket

import trio

from esps_portal.client.errors import CLIENT_CLOSED
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.shared_reader import SharedReader
from esps_portal.client.tcp_session import (
    CLEANUP_TIMEOUT,
    HELLO,
    HELLO_DELAY,
    QUIT,
    READ_SIZE,
    TCPSession,
)
from esps_portal.net.tls import TLSSocket
from esps_portal.protocol.errors import EspsError
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class TCPClient(PortalClient):
    """A portal over a connected, non-blocking TCP socket, or TLS on one, which it owns."""

    def __init__(self, connected: socket.socket | TLSSocket, url: PortalURL) -> None:
        self._url = url
        self._socket = connected
        self._session = TCPSession()
        self._requests = self._session.requests
        self._reader = SharedReader(self._read)
        self._outgoing = bytearray()
        # Each task that has something to send waits for this lock, so if the task that sends is
        # cancelled the next one continues.
        self._send_lock = trio.Lock()

    @property
    def product(self) -> str:
        """The name and version of the portal's software, from its greeting."""
        return (self._requests.product or b"").decode("utf-8", "backslashreplace")

    async def wait_for_greeting(self) -> None:
        """Wait for the greeting; send a HELLO if none comes for `HELLO_DELAY` seconds.

        Raises:
            ClosedError, PeerError: none came.
        """
        with trio.move_on_after(HELLO_DELAY) as waited:
            await self._read_greeting()
        if waited.cancelled_caught:
            self._requests.forget(await self._send(*HELLO))
            await self._read_greeting()

    async def _read_greeting(self) -> None:
        await self._reader.read_until(lambda: self._session.has_greeted)

    async def _send(self, verb: str, args: tuple[str | bytes, ...]) -> PendingRequest:
        if self._socket.fileno() < 0:
            raise RuntimeError(CLIENT_CLOSED)
        if self._session.lost is not None:
            raise self._session.lost_again()
        pending = self._requests.ask(verb, args)
        self._outgoing += pending.line
        try:
            await self._flush()
        except BaseException:
            await self._abandon(pending)
            raise
        return pending

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Wait until there is something to collect for ``pending``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._reader.wait_for_news(pending)

    async def _abandon(self, pending: PendingRequest) -> None:
        self._requests.forget(pending)
        if self._session.lost is None:
            self._outgoing += self._requests.cancellation(pending)
            with trio.move_on_after(CLEANUP_TIMEOUT, shield=True):
                try:
                    await self._flush()
                except EspsError:
                    return  # the call has ended with its connection

    async def _flush(self) -> None:
        """Send what waits. A task that is cancelled here leaves the rest to the next one."""
        async with self._send_lock:
            while self._outgoing:
                try:
                    sent = self._socket.send(self._outgoing)
                except BlockingIOError:
                    await self._wait_writable()
                    continue
                except OSError as error:
                    raise self._session.send_failed(error) from error
                del self._outgoing[:sent]

    async def _wait_writable(self) -> None:
        """Wait for room, and read meanwhile: a portal that cannot send may have stopped reading."""

        async def read(scope: trio.CancelScope) -> None:
            try:
                await self._reader.read_for_others()
            except EspsError:
                scope.cancel()  # the session knows why, and it is raised below

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, nursery.cancel_scope)
            await trio.lowlevel.wait_writable(self._socket)
            nursery.cancel_scope.cancel()
        if self._session.lost is not None:
            raise self._session.lost_again()

    async def _read(self) -> None:
        if self._socket.fileno() < 0:
            raise RuntimeError(CLIENT_CLOSED)
        if self._session.lost is not None:
            raise self._session.lost_again()
        await trio.lowlevel.wait_readable(self._socket)
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._session.receive_failed(error) from error
        self._session.receive_untrusted(data)

    async def wait_closed(self) -> None:
        """Read until the portal ends the connection, and raise how it ended."""
        await self._reader.read_for_others()

    async def aclose(self) -> None:
        """Send QUIT, if that does not take long, and close."""
        if self._session.lost is None:
            self._outgoing += QUIT
            with trio.move_on_after(CLEANUP_TIMEOUT, shield=True):
                try:
                    await self._flush()
                    self._socket.shutdown(socket.SHUT_WR)
                except (EspsError, OSError):
                    pass
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
