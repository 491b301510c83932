"""Connecting to a portal by its URL, on trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from esps_portal.client.connect_errors import connect_error, parse_url
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.portal_client import PortalClient
from esps_portal.client.tcp import TCPClient
from esps_portal.client.udp import UDPClient
from esps_portal.client.with_block import AsyncWithBlock
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

DEFAULT_URL = "esps://127.0.0.1"


def connect(
    url: str = DEFAULT_URL, *, retransmission: Retransmission | None = None
) -> AbstractAsyncContextManager[PortalClient, None]:
    """Connect to a portal for the length of an ``async with`` block.

    ``async with connect("localhost:2867") as portal: await portal.call("echo", "hi")``

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+udp://`` for UDP; without a scheme
            (``"localhost:2867"``) it means TCP.
        retransmission: when a UDP request is sent again; by default soon on loopback.

    Raises:
        ValueError: the URL is malformed.
        TypeError: the URL is not text.
        UnreachableError: nobody listens there, or there is no such host.
        ClosedError: the portal has no room, or what listens there says nothing and closes.
        PeerError: what answers is not a portal.
    """
    statement = "async with connect(url) as portal: ..."
    return AsyncWithBlock(_connection(url, retransmission), statement)


@asynccontextmanager
async def _connection(
    url: str, retransmission: Retransmission | None
) -> AsyncIterator[PortalClient]:
    parsed = parse_url(url)
    client: PortalClient
    if parsed.transport == "udp":
        connected = await _connect_udp(parsed)
        schedule = retransmission or Retransmission.for_host(connected.address)
        client = UDPClient(connected, schedule, parsed)
    else:
        client = TCPClient(await _connect_tcp(parsed), parsed)
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
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return connected


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
