"""The client over TCP: many calls at once on one connection, told apart by their tags."""

from __future__ import annotations

import itertools
import socket
from copy import copy

import trio

from esps_portal.client.portal_client import PortalClient
from esps_portal.client.shared_reader import SharedReader
from esps_portal.protocol.client_connection import ClientConnection, PendingRequest
from esps_portal.protocol.errors import ClosedError, EspsError, PeerError, ProtocolError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_READ_SIZE = 65536
# Seconds after which a client that was not greeted speaks first (own choice: a greeting takes one
# round trip, which is seldom longer).
GREETING_DUE = 0.5
# How long a goodbye, or a CANCEL, may take to get away, in seconds.
_CLEANUP = 1.0


class TCPClient(PortalClient):
    """A portal over a connected, non-blocking TCP socket, which it owns."""

    def __init__(self, connected: socket.socket) -> None:
        numbers = itertools.count(1)
        self._socket = connected
        self._requester = ClientConnection(lambda: b"c%d" % next(numbers))
        self._turns = SharedReader(self._read)
        self._outgoing = bytearray()
        # Whoever has something to send waits for it: so if the one who sends is cancelled, the
        # next one goes on.
        self._turn_to_send = trio.Lock()
        self._lost: EspsError | None = None

    @property
    def product(self) -> str:
        """What the portal called itself in its greeting."""
        return (self._requester.product or b"").decode("utf-8", "backslashreplace")

    async def greeted(self) -> None:
        """Wait for the greeting.

        A server that waits for its client (HTTP, TLS) is known by what it says of a HELLO. A portal
        that is slow greets, then answers it [ESPS-TCP-3].
        """
        with trio.move_on_after(GREETING_DUE) as waited:
            await self._turns.read_until(self._has_greeted)
        if waited.cancelled_caught:
            self._requester.forget(await self._send(b"HELLO", ("ESPS/1",)))
            await self._turns.read_until(self._has_greeted)

    def _has_greeted(self) -> bool:
        return self._requester.product is not None

    async def _send(self, verb: bytes, args: tuple[str | bytes, ...]) -> PendingRequest:
        self._raise_if_lost()
        pending = self._requester.ask(verb, args)
        self._outgoing += pending.request.encode()
        try:
            await self._flush()
        except BaseException:
            await self._abandon(pending)
            raise
        return pending

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Wait until there is something of ``pending`` to collect."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._turns.wait_for_news(pending)

    async def _abandon(self, pending: PendingRequest) -> None:
        self._requester.forget(pending)
        if self._lost is None:
            self._outgoing += self._requester.cancellation(pending)
            with trio.move_on_after(_CLEANUP, shield=True):
                try:
                    await self._flush()
                except EspsError:
                    return  # it has ended with its connection

    async def _flush(self) -> None:
        """Send what waits. A task that is cancelled here leaves the rest to the next one."""
        async with self._turn_to_send:
            while self._outgoing:
                try:
                    sent = self._socket.send(self._outgoing)
                except BlockingIOError:
                    await self._wait_writable()
                    continue
                except OSError as error:
                    raise self._lose(PeerError(f"cannot send: {error.strerror}")) from error
                del self._outgoing[:sent]

    async def _wait_writable(self) -> None:
        """Wait for room, and read meanwhile: a portal that cannot send may have stopped reading."""

        async def read(scope: trio.CancelScope) -> None:
            try:
                await self._turns.read_for_others()
            except EspsError:
                scope.cancel()  # it is noted, and raised below

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, nursery.cancel_scope)
            await trio.lowlevel.wait_writable(self._socket)
            nursery.cancel_scope.cancel()
        self._raise_if_lost()

    async def _read(self) -> None:
        self._raise_if_lost()
        await trio.lowlevel.wait_readable(self._socket)
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lose(PeerError(f"the portal reset: {error.strerror}")) from error
        if not data:
            raise self._lose(self._requester.ended())
        try:
            self._requester.receive_stream_untrusted(data)
        except ProtocolError as error:
            raise self._lose(self._requester.peer_error(error)) from error
        except ClosedError as error:
            raise self._lose(error) from None

    def _lose(self, error: EspsError) -> EspsError:
        self._lost = self._lost or error
        return error

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise copy(self._lost) from self._lost

    async def wait_closed(self) -> None:
        """Read until the portal ends the connection, and raise how it did."""
        await self._turns.read_for_others()

    async def aclose(self) -> None:
        """Say QUIT, if there is time for it, and close."""
        if self._lost is None:
            self._outgoing += b"q QUIT\n"
            with trio.move_on_after(_CLEANUP, shield=True):
                try:
                    await self._flush()
                    self._socket.shutdown(socket.SHUT_WR)
                except (EspsError, OSError):
                    pass
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
