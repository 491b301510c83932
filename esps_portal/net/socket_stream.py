"""A connected TCP socket as a `Stream`.

With TLS it is the same stream: after the handshake a `net.tls.TLSSocket` reads and writes in place
of the socket.

A socket is read only after the kernel says that it is readable, but written at once: with one
request in each read, this saves a system call and two passes through the scheduler.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from collections.abc import Callable
from functools import partial

import trio

from esps_portal.net.client_hello import NO_APPLICATION_PROTOCOL
from esps_portal.net.error_watch import watch_errors
from esps_portal.net.fork import close_socket
from esps_portal.net.handshake import HandshakeError, log_failure, offered_protocols, shake_hands
from esps_portal.net.keepalive import is_kept_alive, keep_alive
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.stream import no_problem
from esps_portal.net.systems import (
    acked,
    limit_unacked,
    reset_at_close,
    unacked,
    wait_for,
    writable_when_sent,
)
from esps_portal.net.tls import TLS_HANDSHAKE, TLSSocket
from esps_portal.net.tls_errors import TLSError
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.turns import Turns

# Bytes. What one read brings has to be dealt with before others have their turn.
_READ_SIZE = 16384


class SocketStream:
    """A non-blocking TCP socket. What breaks it is raised as `trio.BrokenResourceError`.

    Args:
        silence: as long as it is on nothing is read or written, and an end is postponed; by default
            it never is.
        tls: what is needed for TLS, whose handshake comes first; `None`: there is no TLS.
    """

    __slots__ = ("_silence", "_socket", "_tls", "_transport")

    def __init__(
        self,
        connected: socket.socket,
        silence: Silence = NEVER_SILENT,
        tls: ServerTLS | None = None,
    ) -> None:
        connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Else a byte that is sent as urgent, as telnet does, would be lost (RFC 6093, section 6).
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        if not is_kept_alive(connected):  # its listener may have been
            keep_alive(connected)  # finds a peer that vanished during a silent call
        self._socket = connected
        self._silence = silence
        self._tls = tls
        # What reads and writes: the socket itself, or TLS on it.
        self._transport: socket.socket | TLSSocket = connected

    @property
    def needs_handshake(self) -> bool:
        """Whether `shake_hands` has to come before anything is received or sent."""
        return self._tls is not None and self._transport is self._socket

    @property
    def half_closes(self) -> bool:
        """Whether a peer that has sent FIN may go on reading; over TLS it may not."""
        return self._tls is None and self._transport is self._socket

    async def shake_hands_as_client(
        self, context: ssl.SSLContext, server_name: str, turns: Turns
    ) -> None:
        """Do the TLS handshake as the client; the caller bounds its time.

        Args:
            context: what is trusted.
            server_name: what the server's certificate must name.
            turns: what each step waits for.

        Raises:
            TLSError: it has failed.
            OSError: the connection was reset.
        """
        self._transport = tls = TLSSocket(self._socket, context, server_name)
        await shake_hands(tls, self._silence, turns)

    async def shake_hands(
        self, problem: Callable[[], str] = no_problem, seconds: float = math.inf
    ) -> None:
        """Do the TLS handshake as the server.

        Args:
            problem: called once the client begins it; returns the problem that the certificate is
                to have, empty for none.
            seconds: that it may take.

        Raises:
            HandshakeError: it has failed, which is logged.
        """
        assert self._tls is not None  # noqa: S101 - only `needs_handshake` leads here
        remote = None
        try:
            remote = self._socket.getpeername()
            with trio.move_on_after(seconds) as limit:
                await self._shake_hands(self._tls, problem)
            if limit.cancelled_caught:
                raise TLSError(f"it was not done after {seconds:g} s")
        except OSError as error:
            failure = HandshakeError.because_of(error)
            if remote is not None:
                log_failure(remote, failure)
            if isinstance(error, TLSError) and error.is_plain:
                with contextlib.suppress(OSError):
                    socket.socket.send(self._socket, self._tls.to_plain)
            raise failure from error

    async def _shake_hands(self, server: ServerTLS, problem: Callable[[], str]) -> None:
        """Do the handshake: wait for its first byte, check the ALPN of the client, and wrap.

        Raises:
            OSError: it has failed.
        """
        is_begun = await self._has_begun()
        offered = None
        if is_begun and server.alpn:
            offered = await offered_protocols(self._socket, self._silence)
        await server.turns.next()
        self._transport = tls = server.wrap(self._socket, problem() if is_begun else "")
        if offered is not None and server.alpn not in offered:
            socket.socket.send(self._socket, NO_APPLICATION_PROTOCOL)
            raise TLSError("it offers other protocols only")
        await shake_hands(tls, self._silence, server.turns)

    async def _has_begun(self) -> bool:
        """Wait for the first byte; return whether it is that of a TLS handshake."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._silence.is_on:
                await self._until_over()
            else:
                with contextlib.suppress(BlockingIOError):
                    return self._socket.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is the peer's FIN."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._silence.is_on:
                await self._until_over()
            elif (data := self.receive_now()) is not None:
                return data

    def receive_now(self) -> bytes | None:
        """Return what has come, ``b""`` for the peer's FIN; `None`: nothing has."""
        if self._silence.is_on:
            return None
        try:
            return self._transport.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError from error

    @property
    def is_silent(self) -> bool:
        """Whether nothing passes now, whatever comes."""
        return self._silence.is_on

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1: it was closed."""
        return self._socket.fileno()

    def send_now(self, data: bytes | bytearray) -> int:
        """Send the beginning of ``data`` without waiting; return how much: 0 without room."""
        if self._silence.is_on:
            return 0
        try:
            return self._transport.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def wait_writable(self) -> None:
        """Wait for room."""
        if self._silence.is_on:
            await self._until_over()
        await trio.lowlevel.wait_writable(self._socket)

    async def wait_sent(self) -> None:
        """Wait until the kernel has sent everything, so that a RST does not overtake it.

        Over loopback the peer's kernel then has it.
        """
        try:
            writable_when_sent(self._socket)
        except OSError as error:
            raise trio.BrokenResourceError from error
        await self.wait_writable()

    async def wait_reset(self) -> None:
        """Wait until the peer has reset the connection; nothing is read."""
        errors = watch_errors(self._socket)
        try:
            await errors.wait(for_fin=False)
        finally:
            errors.close()

    async def _until_over(self) -> None:
        await self._silence.until_over()
        if self._socket.fileno() < 0:  # closed meanwhile
            raise trio.ClosedResourceError

    def send_eof(self) -> None:
        """Send FIN; over TLS close_notify first."""
        if self._silence.is_on:
            self._silence.call_when_over(self._send_eof_late)
            return
        try:
            self._transport.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError from error

    def _send_eof_late(self) -> None:
        # Nobody is there to be notified of a RST: the next read finds it.
        with contextlib.suppress(trio.BrokenResourceError):
            self.send_eof()

    def abort(self) -> None:
        """Send RST, and discard what the kernel still holds."""
        with contextlib.suppress(OSError):
            reset_at_close(self._socket)
        self._transport = self._socket  # TLS sends no close_notify before a RST
        self.close()

    def has_input(self) -> bool:
        """Whether something has come that was not received: bytes, FIN or RST."""
        if self._socket.fileno() < 0:
            return True
        # Not `recv` with MSG_PEEK: that takes an RST, and the next one sees FIN.
        return wait_for([self._socket])

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        with contextlib.suppress(OSError):
            reset_at_close(self._socket)
        close_socket(self._socket)

    def unacked(self) -> int:
        """Return how many bytes were sent that the peer's system has not acknowledged."""
        return unacked(self._socket)

    def acked(self) -> int:
        """Return a number that changes when the peer's system has acknowledged more bytes."""
        return acked(self._socket)

    def close(self, timeout: float = 0.0) -> None:
        """Close the socket; tasks that wait for it get `trio.ClosedResourceError`.

        Args:
            timeout: seconds for which the kernel goes on sending what is not acknowledged; 0 is
                the kernel's own bound, and a peer that never reads holds that memory until then.
        """
        if self._silence.is_on:
            # The peer must not notice; our tasks do.
            if self._socket.fileno() >= 0:
                trio.lowlevel.notify_closing(self._socket)
            self._silence.call_when_over(partial(self.close, timeout))
        elif self._socket.fileno() >= 0:
            if timeout and self.unacked():
                limit_unacked(self._socket, timeout)
            trio.lowlevel.notify_closing(self._socket)
            close_socket(self._transport)
