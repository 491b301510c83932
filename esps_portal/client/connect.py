"""Connecting to a portal by its URL."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from esps_portal.client.host_socket import HostSocket
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.tcp import TCPClient
from esps_portal.client.udp import UDPClient
from esps_portal.protocol.errors import PeerError, UnreachableError
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

DEFAULT_URL = "esps://127.0.0.1"


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL, *, retransmission: Retransmission | None = None
) -> AsyncIterator[PortalClient]:
    """Connect to a portal for the length of an ``async with`` block.

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+udp://`` for UDP; without a scheme
            (``"localhost:2867"``) it means TCP.
        retransmission: when a UDP request is sent again; by default quick on loopback.

    Raises:
        ValueError: the URL is malformed.
        UnreachableError: nobody listens there, or there is no such host.
        ClosedError: the portal has no room, or what listens there says nothing and closes.
        PeerError: what answers is not a portal.
    """
    where = PortalURL.parse(url)
    if where.transport == "tls":
        raise UnreachableError("esps+tls:// is not available in this release: use esps://")
    peer: PortalClient
    if where.transport == "udp":
        connected = await _connect_udp(where)
        peer = UDPClient(connected, retransmission or Retransmission.for_host(connected.address))
        try:
            yield peer
        finally:
            await peer.aclose()
        return
    peer = TCPClient(await _connect_tcp(where))
    try:
        await peer.greeted()
        yield peer
    finally:
        await peer.aclose()


async def _connect_tcp(where: PortalURL) -> socket.socket:
    try:
        stream = await trio.open_tcp_stream(where.host, where.port)
    except OSError as error:
        known = _known(error)
        if isinstance(known, ConnectionResetError):
            # Accepted and reset at once: it may be so quick that connecting has yet to return.
            raise PeerError(f"the portal reset: {_reason(known)}") from error
        raise UnreachableError(f"cannot connect to {where}: {_reason(known)}") from error
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return connected


async def _connect_udp(where: PortalURL) -> HostSocket:
    try:
        infos = await trio.socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)
        connected = HostSocket(infos)
        connected.settimeout(0)
    except OSError as error:
        raise UnreachableError(f"cannot reach {where}: {_reason(error)}") from error
    return connected


def _known(error: OSError) -> OSError:
    """Return what the kernel said: trio tries every address, and chains or groups the failures."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error


def _reason(known: OSError) -> str:
    # Of getaddrinfo the numbers are its own; elsewhere the system has words for them.
    if known.errno is not None and not isinstance(known, socket.gaierror):
        return os.strerror(known.errno)
    return known.strerror or str(known)
