"""What a client trusts over TLS, from the arguments of `connect`; and TLS on its socket."""

from __future__ import annotations

import socket
import ssl

from esps_portal.given_numbers import shown_value
from esps_portal.net.tls import TLSSocket
from esps_portal.net.tls_contexts import client_context
from esps_portal.protocol.registry import ALPN
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def tls_context(
    url: PortalURL, context: ssl.SSLContext | None, cafile: str | None
) -> ssl.SSLContext | None:
    """Return the context for a portal; `None` if its URL does not ask for TLS.

    Raises:
        ValueError: both are given, or one is and the URL does not ask for TLS.
        TLSFileError: the file cannot be used.
        TypeError: the context is not an `ssl.SSLContext`.
    """
    if context is not None and cafile is not None:
        raise ValueError("give ssl_context or cafile, not both")
    if url.transport != "tls":
        if context is not None or cafile is not None:
            given = "cafile" if context is None else "ssl_context"
            raise ValueError(f"{given} is for TLS, which {url} does not ask for: use esps+tls://")
        return None
    if context is None:
        return client_context(cafile, alpn=ALPN)
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, got {shown_value(context)}")
    return context


def tls_socket(connected: socket.socket, context: ssl.SSLContext, url: PortalURL) -> TLSSocket:
    """Return TLS on a connected socket, before the handshake; after an error it is closed.

    Raises:
        ValueError: the context cannot verify what it is to verify.
    """
    try:
        return TLSSocket(connected, context, url.host)
    except BaseException:
        connected.close()
        raise
