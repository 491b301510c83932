"""The TLS handshake on trio, for either side, and the end of a connection after a failed one."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import trio

from esps_portal.log import log
from esps_portal.net.client_hello import MAX_HELLO, Incomplete, offered_protocols_untrusted
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.stream import Stream, end_with_fin, no_problem
from esps_portal.net.systems import set_low_water
from esps_portal.net.tls import TLSSocket, Wants
from esps_portal.net.tls_errors import ENDED_EARLY, TLSError
from esps_portal.net.turns import Turns

# Errors of a socket whose connection the other side has reset.
_RESET = (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE)


class HandshakeError(trio.BrokenResourceError):
    """A client's handshake has failed.

    Attributes:
        reason: in a few words about the client.
        peer_end: how the client has ended the connection, ``fin`` or ``rst``; empty: it has not.
        has_sent: whether the client sent anything before that.
    """

    def __init__(self, reason: str, *, peer_end: str = "", has_sent: bool = True) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.peer_end: str = peer_end
        self.has_sent: bool = has_sent

    @classmethod
    def because_of(cls, error: OSError) -> HandshakeError:
        """Return the `HandshakeError` for an error of the socket or of TLS."""
        reason = error.strerror
        if isinstance(error, TLSError) and reason is not None:
            peer_end = "fin" if error.is_from_peer else ""
            return cls(reason, peer_end=peer_end, has_sent=reason != ENDED_EARLY)
        if reason is None or error.errno in _RESET:
            reason = "it reset the connection"
        return cls(reason, peer_end="rst", has_sent=False)

    def first_end(self, own_name: str) -> tuple[str, str]:
        """Return which side closes first, and how, as the journal has it.

        Args:
            own_name: what the journal calls this side.
        """
        return ("client", self.peer_end) if self.peer_end else (own_name, "fin")


async def shake_hands(
    tls: TLSSocket, silence: Silence = NEVER_SILENT, turns: Turns | None = None
) -> None:
    """Do the whole handshake; the caller bounds its time.

    Args:
        silence: as long as it is on nothing is read or written.
        turns: each step waits for one, since it signs or verifies, and strangers may ask for
            thousands at once. `None`: no step waits.

    Raises:
        TLSError: it has failed.
        OSError: the connection was reset.
        trio.ClosedResourceError: it was closed meanwhile.
    """
    while True:
        await silence.until_over()
        if turns is not None:
            await turns.next()
        if tls.fileno() < 0:
            raise trio.ClosedResourceError
        if silence.is_on:
            continue
        wants = tls.shake_hands()
        if wants is None:
            return
        if wants is Wants.INPUT:
            await trio.lowlevel.wait_readable(tls)
        else:
            await trio.lowlevel.wait_writable(tls)


def log_failure(remote: tuple[Any, ...], error: HandshakeError) -> None:
    """Log why a client's handshake has failed.

    Somebody who debugs a client looks for this line. So it is a warning, which pytest also shows in
    its report, unless the client only closed: checks of whether a port is open do that.
    """
    level = logging.WARNING if error.has_sent else logging.INFO
    log.log(level, "TLS handshake with %s port %d failed: %s", *remote[:2], error.reason)


async def open_stream(
    stream: Stream, problem: Callable[[], str] = no_problem, *, seconds: float, linger: float
) -> None:
    """Do the TLS handshake, if one is due.

    If it fails, FIN is sent, so that the client can read why.

    Args:
        problem: see `SocketStream.shake_hands`.
        seconds: that it may take.
        linger: see `end_with_fin`.

    Raises:
        HandshakeError: it has failed; FIN was sent.
    """
    if not stream.needs_handshake:
        return
    try:
        await stream.shake_hands(problem, seconds)
    except HandshakeError:
        await end_with_fin(stream, linger)
        raise


async def offered_protocols(
    connected: socket.socket, silence: Silence = NEVER_SILENT
) -> tuple[bytes, ...] | None:
    """Wait for a client's first message, and leave it unread; the caller bounds its time.

    Args:
        connected: non-blocking.
        silence: as long as it is on nothing is read.

    Returns:
        The protocols that the client offers; `None`: it offers none, or has sent something else.

    Raises:
        OSError: the connection was reset.
    """
    waits_for = 1
    try:
        while True:
            await silence.until_over()
            await trio.lowlevel.wait_readable(connected)
            try:
                data = socket.socket.recv(connected, MAX_HELLO, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            offered = offered_protocols_untrusted(data)
            if not isinstance(offered, Incomplete):
                return offered
            if len(data) < waits_for:
                return None  # readable without what was waited for: no more comes
            waits_for = offered.needed
            set_low_water(connected, waits_for)
    finally:
        set_low_water(connected, 1)
