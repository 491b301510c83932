"""What both clients raise: a failed connect is one exception, one line."""

from __future__ import annotations

import os
import socket

import attrs

from esps_portal.net.tls_errors import TLSError
from esps_portal.protocol.errors import EspsError, PeerError, UnreachableError
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The text of the `RuntimeError` of a client that is used after its block.
CLIENT_CLOSED = "the client is closed: its `with` block is over"


def connect_error(error: OSError, url: PortalURL) -> EspsError:
    """Return the exception for a connect, or a TLS handshake, that failed with ``error``."""
    if isinstance(error, TLSError):
        hint = ""
        if error.is_plain:
            hint = f"; for plain TCP use {attrs.evolve(url, transport='tcp')}"
        return UnreachableError(f"cannot connect to {url}: {error.strerror}{hint}")
    if isinstance(error, ConnectionResetError):
        # The portal accepted and reset so fast that connecting had not returned.
        return PeerError(f"the portal reset: {_reason(error)}")
    return UnreachableError(f"cannot connect to {url}: {_reason(error)}")


def _reason(error: OSError) -> str:
    # The numbers of getaddrinfo are its own; for all others the system has a text.
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
