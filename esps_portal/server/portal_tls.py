"""The TLS of a portal: with certificates of its administrator, or with some of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from esps_portal.net.authority import Authority
from esps_portal.net.tls_server import ServerTLS, own_tls
from esps_portal.protocol.messages import EXPECTS_TLS
from esps_portal.protocol.registry import ALPN


def portal_tls(context: ssl.SSLContext) -> ServerTLS:
    """Return what a portal needs for TLS.

    A client that speaks none is told so in plain text, one that offers other protocols by an alert.
    """
    return ServerTLS(context, to_plain=EXPECTS_TLS.encode(), alpn=ALPN)


def own_portal_tls(hosts: Iterable[str] = ()) -> ServerTLS:
    """Return what a portal needs for TLS with a certificate of a CA of its own, for tests.

    Args:
        hosts: names and addresses of the portal, beside those of this machine.

    Raises:
        MissingExtraError: trustme is not installed.
    """
    return own_tls(hosts, alpn=ALPN, to_plain=EXPECTS_TLS.encode())


def portal_authority(hosts: Iterable[str] = ()) -> Authority:
    """Return a CA for several portals, one after the other; see `tls_of_authority`.

    Raises:
        MissingExtraError: trustme is not installed.
    """
    return Authority(hosts, ALPN)


def tls_of_authority(authority: Authority) -> ServerTLS:
    """Return what a portal needs for TLS, with a certificate of a CA that outlives it."""
    return ServerTLS(
        authority.context(),
        authority,
        to_plain=EXPECTS_TLS.encode(),
        alpn=ALPN,
        closes_authority=False,
    )
