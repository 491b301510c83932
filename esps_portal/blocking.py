"""The client without trio: plain sockets, over the same protocol core.

For programs and tests that are not asynchronous::

    with esps_portal.blocking.connect("esps://127.0.0.1") as portal:
        assert portal.call("echo", "hi") == (b"hi",)

A client belongs to one thread at a time. Every wait ends at a timeout in seconds, given to
`connect` or to the call: `math.inf` is no limit, and with 0 or less no time is left.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import AbstractContextManager

from esps_portal.client.blocking_client import BlockingClient
from esps_portal.client.blocking_tcp import BlockingTCPClient
from esps_portal.client.blocking_udp import BlockingUDPClient
from esps_portal.client.deadline import check_timeout, now_before, socket_timeout
from esps_portal.client.errors import connect_error
from esps_portal.client.host_addresses import connect_tcp, resolve
from esps_portal.client.host_socket import HostSocket
from esps_portal.client.tls import tls_context, tls_socket
from esps_portal.clock import monotonic
from esps_portal.net.tls import TLSSocket
from esps_portal.protocol.errors import TimedOutError
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import WithBlock

__all__ = ["BlockingClient", "connect"]

__tracebackhide__ = hides_frame


def connect(
    url: str = "esps://127.0.0.1",
    *,
    ssl_context: ssl.SSLContext | None = None,
    cafile: str | None = None,
    timeout: float = 10.0,
) -> AbstractContextManager[BlockingClient, None]:
    """Connect to a portal for the length of a ``with`` block.

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+tls://`` for TLS, ``esps+udp://`` for UDP;
            without a scheme (``"localhost:2867"``) it means TCP.
        ssl_context: what is trusted over TLS, and the client's certificate, if it has one; by
            default the system's CAs are trusted. The certificate must name the host of the URL.
        cafile: in place of that a PEM file of the CAs to trust, and no others.
        timeout: seconds that connecting, and each call that names none, may take.

    Raises:
        ValueError: the URL is malformed, or an argument does not go with it.
        TypeError: the URL is not text, the timeout is not a number, or the context is not one.
        TLSFileError: the file of CAs cannot be used.
        UnreachableError: nobody listens there, there is no such host, or the TLS handshake has
            failed: the certificate has expired, say.
        ClosedError: the portal has no room, or what listens there says nothing and closes.
        PeerError: what answers is not a portal.
        TimedOutError: the portal did not greet in time.
    """

    def enter() -> BlockingClient:
        parsed = PortalURL.parse(url)
        context = tls_context(parsed, ssl_context, cafile)
        return _connect(parsed, context, timeout)

    statement = "with blocking.connect(url) as portal: ..."
    return WithBlock(enter, lambda portal: portal.close(), statement)


def _connect(url: PortalURL, context: ssl.SSLContext | None, timeout: float) -> BlockingClient:
    timeout = check_timeout(timeout)
    deadline = monotonic() + timeout
    try:
        if url.transport == "udp":
            infos = resolve(url, socket.SOCK_DGRAM, deadline)
            return BlockingUDPClient(HostSocket(infos), timeout, url)
        connected = connect_tcp(resolve(url, socket.SOCK_STREAM, deadline), deadline)
        if context is None:
            portal = BlockingTCPClient(connected, timeout, url)
        else:
            tls = _shake_hands(tls_socket(connected, context, url), deadline)
            portal = BlockingTCPClient(tls, timeout, url)
    except OSError as error:
        if isinstance(error, TimedOutError):
            raise
        raise connect_error(error, url) from error
    try:
        portal.wait_for_greeting(deadline)
    except BaseException:
        portal.close()
        raise
    return portal


def _shake_hands(tls: TLSSocket, deadline: float) -> TLSSocket:
    try:
        tls.settimeout(socket_timeout(deadline - now_before(deadline)))
        while tls.shake_hands() is not None:
            tls.settimeout(socket_timeout(deadline - now_before(deadline)))
    except BaseException as error:
        tls.close()
        if isinstance(error, TimeoutError) and not isinstance(error, TimedOutError):
            raise TimedOutError("the TLS handshake took too long") from error
        raise
    return tls
