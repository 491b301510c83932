"""A TLS connection to a server whose certificate is not verified, only to find out what it is.

Nothing secret is sent to it, and nothing that it says is trusted.
"""

from __future__ import annotations

import socket
import ssl
import time

from esps_portal.protocol.registry import ALPN


def connect_unverified(host: str, port: int, deadline: float) -> ssl.SSLSocket:
    """Connect, and shake hands, until a time on the monotonic clock.

    Raises:
        OSError: either fails.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])  # ESPS-TLS-9
    plain = socket.create_connection((host, port), _left(deadline))
    try:
        plain.settimeout(_left(deadline))
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())
