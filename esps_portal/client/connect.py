"""Connecting to a portal by its URL, on trio."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from esps_portal.client.errors import connect_error
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.tcp import TCPClient
from esps_portal.client.tls import tls_context, tls_socket
from esps_portal.client.udp import UDPClient
from esps_portal.net.handshake import shake_hands
from esps_portal.net.tls import TLSSocket
from esps_portal.net.trio_only import check_trio
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import AsyncWithBlock

__tracebackhide__ = hides_frame

DEFAULT_URL = "esps://127.0.0.1"


def connect(
    url: str = DEFAULT_URL,
    *,
    ssl_context: ssl.SSLContext | None = None,
    cafile: str | None = None,
    retransmission: Retransmission | None = None,
) -> AbstractAsyncContextManager[PortalClient, None]:
    """Connect to a portal for the length of an ``async with`` block.

    ``async with connect("localhost:2867") as portal: await portal.call("echo", "hi")``

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+tls://`` for TLS, ``esps+udp://`` for UDP;
            without a scheme (``"localhost:2867"``) it means TCP.
        ssl_context: what is trusted over TLS, and the client's certificate, if it has one; by
            default the system's CAs are trusted. The certificate must name the host of the URL.
        cafile: in place of that a PEM file of the CAs to trust, and no others.
        retransmission: when a UDP request is sent again; by default soon on loopback.

    Raises:
        ValueError: the URL is malformed, or an argument does not go with it.
        TypeError: the URL is not text, or the context is not an `ssl.SSLContext`.
        TLSFileError: the file of CAs cannot be used.
        UnreachableError: nobody listens there, there is no such host, or the TLS handshake has
            failed: the certificate has expired, say.
        ClosedError: the portal has no room, or what listens there says nothing and closes.
        PeerError: what answers is not a portal.
        RuntimeError: another event loop than trio's runs.
    """
    statement = "async with connect(url) as portal: ..."
    return AsyncWithBlock(_connection(url, ssl_context, cafile, retransmission), statement)


@asynccontextmanager
async def _connection(
    url: str,
    ssl_context: ssl.SSLContext | None,
    cafile: str | None,
    retransmission: Retransmission | None,
) -> AsyncIterator[PortalClient]:
    check_trio("connect()", "esps_portal.blocking.connect() in asyncio.to_thread()")
    parsed = PortalURL.parse(url)
    tls = tls_context(parsed, ssl_context, cafile)
    client: PortalClient
    if parsed.transport == "udp":
        sock = await _connect_udp(parsed)
        schedule = retransmission or Retransmission.for_host(sock.address)
        client = UDPClient(sock, schedule, parsed)
    else:
        connected = await _connect_tcp(parsed)
        client = TCPClient(
            connected if tls is None else await _shake_hands(connected, tls, parsed), parsed
        )
    try:
        if isinstance(client, TCPClient):
            await client.wait_for_greeting()
        yield client
    finally:
        await client.aclose()


async def _connect_tcp(url: PortalURL) -> socket.socket:
    try:
        stream = await trio.open_tcp_stream(url.host, url.port)
    except OSError as error:
        raise connect_error(_first_cause(error), url) from error
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ESPS-TCP-25
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return connected


async def _shake_hands(
    connected: socket.socket, context: ssl.SSLContext, url: PortalURL
) -> TLSSocket:
    try:
        tls = tls_socket(connected, context, url)
        try:
            await shake_hands(tls)
        except BaseException:
            tls.close()
            raise
    except OSError as error:
        raise connect_error(error, url) from error
    return tls


async def _connect_udp(url: PortalURL) -> HostSocket:
    try:
        infos = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
        connected = HostSocket(infos)
    except OSError as error:
        raise connect_error(error, url) from error
    connected.settimeout(0)
    return connected


def _first_cause(error: OSError) -> OSError:
    """Return the kernel's error: trio tries every address, and chains or groups the failures."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error
