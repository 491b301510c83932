"""The portal that a proxy stands before: how it is reached."""

from __future__ import annotations

import os
import socket
from typing import Any

import trio

from esps_portal.protocol.urls import PortalURL

# Seconds: more than one SYN gets (RFC 6298 section 2: it is sent again after 1, 3 and 7 s).
_PATIENCE = 10.0


class UnreachableUpstreamError(Exception):
    """The portal behind a proxy cannot be reached; its text says why, in one line."""


async def connect_upstream(
    where: PortalURL, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """Return a connected socket that does not block: each address is tried in turn.

    Raises:
        UnreachableUpstreamError: nobody answers there.
    """
    error = "no such host"
    with trio.move_on_after(_PATIENCE):
        try:
            addresses = await trio.socket.getaddrinfo(where.host, where.port, type=kind)
        except OSError as failed:  # of getaddrinfo the words are its own
            raise UnreachableUpstreamError(_words(where, failed.strerror or error)) from failed
        for family, _, _, _, address in addresses:
            try:
                return await _connect(family, kind, address)
            except OSError as failed:
                error = os.strerror(failed.errno or 0)
        raise UnreachableUpstreamError(_words(where, error))
    raise UnreachableUpstreamError(_words(where, f"no answer in {_PATIENCE:g} s"))


async def _connect(family: int, kind: socket.SocketKind, address: tuple[Any, ...]) -> socket.socket:
    sock = trio.socket.socket(family, kind)
    try:
        await sock.connect(address)
        connected = socket.socket(fileno=sock.detach())
    except BaseException:
        sock.close()
        raise
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return connected


def _words(where: PortalURL, why: str) -> str:
    return f"cannot reach {where}: {why}"
