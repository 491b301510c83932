"""Peers in threads of their own, and plain sockets as their clients."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import attrs
import pytest

from esps_portal.testing import Framing, peer_in_thread
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.patience import PATIENCE
from tests.threaded_proxies import Side


@attrs.define(eq=False)
class Peers:
    """Starts peers; they end with the test."""

    _open: contextlib.ExitStack

    def start(self, framing: Framing | None, **options: object) -> ThreadedPeer:
        return self._open.enter_context(peer_in_thread(framing, **options))  # type: ignore[arg-type]

    def dial(self, peer: ThreadedPeer) -> Side:
        """Connect a client."""
        address = peer.host, peer.port
        sock = self._open.enter_context(socket.create_connection(address, timeout=PATIENCE))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Side(sock)

    def datagrams(self, peer: ThreadedPeer) -> socket.socket:
        """Return a connected UDP client."""
        sock = self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.settimeout(PATIENCE)
        sock.connect((peer.host, peer.port))
        return sock


@pytest.fixture
def peers() -> Iterator[Peers]:
    with contextlib.ExitStack() as stack:
        yield Peers(stack)


Start = Callable[..., ThreadedPeer]
