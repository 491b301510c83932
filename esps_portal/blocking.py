"""The client without trio: plain sockets, over the same protocol core.

For programs and tests that are not asynchronous::

    with esps_portal.blocking.connect("esps://127.0.0.1") as portal:
        assert portal.call("echo", "hi") == (b"hi",)

A client belongs to one thread at a time. Every wait ends at a timeout in seconds, given to
`connect` or to the call: `math.inf` is no limit, and with 0 or less no time is left.
"""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager

from esps_portal.client.blocking_client import BlockingClient
from esps_portal.client.blocking_tcp import BlockingTCPClient
from esps_portal.client.blocking_udp import BlockingUDPClient
from esps_portal.client.connect_errors import connect_error, parse_url
from esps_portal.client.deadline import check_timeout, socket_timeout
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.with_block import WithBlock
from esps_portal.clock import monotonic
from esps_portal.protocol.errors import TimedOutError
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__all__ = ["BlockingClient", "connect"]

__tracebackhide__ = hides_frame


def connect(
    url: str = "esps://127.0.0.1", *, timeout: float = 10.0
) -> AbstractContextManager[BlockingClient, None]:
    """Connect to a portal for the length of a ``with`` block.

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+udp://`` for UDP; without a scheme
            (``"localhost:2867"``) it means TCP.
        timeout: seconds that connecting, and each call that names none, may take.

    Raises:
        ValueError: the URL is malformed.
        TypeError: the URL is not text, or the timeout is not a number.
        UnreachableError: nobody listens there, or there is no such host.
        ClosedError: the portal has no room, or what listens there says nothing and closes.
        PeerError: what answers is not a portal.
        TimedOutError: the portal did not greet in time.
    """
    statement = "with blocking.connect(url) as portal: ..."
    return WithBlock(lambda: _connect(url, timeout), lambda portal: portal.close(), statement)


def _connect(url: str, timeout: float) -> BlockingClient:
    parsed = parse_url(url)
    deadline = monotonic() + check_timeout(timeout)
    try:
        if parsed.transport == "udp":
            return _connect_udp(parsed, timeout)
        portal = _connect_tcp(parsed, timeout)
    except OSError as error:
        if isinstance(error, TimedOutError):
            raise
        raise connect_error(error, parsed) from error
    try:
        portal.wait_for_greeting(deadline)
    except BaseException:
        portal.close()
        raise
    return portal


def _connect_tcp(url: PortalURL, timeout: float) -> BlockingTCPClient:
    if timeout <= 0:
        raise TimedOutError("no time to connect")
    connected = socket.create_connection((url.host, url.port), socket_timeout(timeout))
    return BlockingTCPClient(connected, timeout, url)


def _connect_udp(url: PortalURL, timeout: float) -> BlockingUDPClient:
    connected = HostSocket(socket.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM))
    return BlockingUDPClient(connected, timeout, url)
