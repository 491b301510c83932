"""Clients of TLS as any program has them: Python's own."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest

from esps_portal.testing import PortalController
from tests.patience import PATIENCE
from tests.sockets import Client, Tested


def trusting(cafile: str | None, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a context that trusts a CA, for one version of TLS or any."""
    assert cafile is not None
    context = ssl.create_default_context(cafile=cafile)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@contextlib.contextmanager
def tls_connected(
    portal: Tested, context: ssl.SSLContext, *, greeted: bool = True
) -> Iterator[Client]:
    """Connect over TLS; the greeting has been read unless it is not to be."""
    with (
        socket.create_connection((portal.host, portal.port), PATIENCE) as connected,
        context.wrap_socket(
            connected, server_hostname=portal.host, suppress_ragged_eofs=False
        ) as sock,
    ):
        client = Client(sock)
        if greeted:
            assert client.line().startswith(b"* ESPS/1 ")
        yield client


def assert_reset(client: Client) -> None:
    """RST is the next that comes. Python's client of TLS does not tell it from FIN."""
    with pytest.raises(ConnectionResetError):
        socket.socket.recv(client.socket, 1)


@contextlib.contextmanager
def greeted_by(portal: PortalController) -> Iterator[Client]:
    """Connect to a portal with a certificate of its own, which is trusted."""
    with tls_connected(portal, trusting(portal.tls_ca)) as client:
        yield client
