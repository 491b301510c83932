"""The handshake of TLS on trio, for either side."""

from __future__ import annotations

import logging
import socket
from typing import Any

import trio

from esps_portal.net.client_hello import MAX_HELLO, Incomplete, offered_protocols_untrusted
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.systems import set_low_water
from esps_portal.net.tls import ENDED_EARLY, TLSError, TLSSocket, Wants
from esps_portal.net.turns import Turns

_log = logging.getLogger("esps_portal")


async def shake_hands(
    tls: TLSSocket, silence: Silence = NEVER_SILENT, turns: Turns | None = None
) -> None:
    """Do the whole handshake; the caller bounds its time.

    Args:
        silence: as long as it is on nothing is read or written.
        turns: what each step waits for, which signs or verifies: strangers may ask for thousands
            at once. `None`: for nothing.

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


def log_failure(remote: tuple[Any, ...], error: OSError) -> None:
    """Say why a client's handshake has failed.

    Who debugs a client looks for this line: a warning, which a report of pytest shows too. One that
    just goes is no reason to warn: so do checks of whether the port is open.
    """
    has_spoken = isinstance(error, TLSError) and error.strerror != ENDED_EARLY
    level = logging.WARNING if has_spoken else logging.INFO
    reason = error.strerror or "the connection was reset"
    _log.log(level, "TLS handshake with %s port %d failed: %s", *remote[:2], reason)


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
