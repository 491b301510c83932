"""A peer over TLS: stubs, faults and the journal see plain text."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import pytest
import trio

from esps_portal.testing import (
    FaultError,
    Framing,
    VerificationError,
    datagrams,
    fixed,
    length_prefixed,
    lines,
    open_peer,
)
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.patience import PATIENCE
from tests.peer.conftest import Peers
from tests.sockets import closed, connected
from tests.tls_clients import assert_reset, tls_connected, trusting


@pytest.fixture
def peer(peers: Peers) -> ThreadedPeer:
    peer = peers.start(lines("\r\n"), greeting="220 ready", tls=True)
    peer.stub("NOOP").reply("250 ok").optional()
    peer.stub(re.compile("^QUIT")).reply("221 bye").then_close().optional()
    return peer


def test_what_passes_is_plain_text(peer: ThreadedPeer) -> None:
    with tls_connected(peer, trusting(peer.tls_ca), greeted=False) as client:
        client.send(b"NOOP\r\nQUIT\r\n")
        assert client.rest() == b"220 ready\r\n250 ok\r\n221 bye\r\n"
    assert [found.request for found in peer.exchanges()[1:]] == [b"NOOP\r\n", b"QUIT\r\n"]
    assert closed(peer)[0].closed_by == "peer"
    peer.verify()


def test_faults(peer: ThreadedPeer) -> None:
    peer.fault("truncate", bytes=3, match="NOOP")
    with tls_connected(peer, trusting(peer.tls_ca), greeted=False) as client:
        client.send(b"NOOP\r\n")
        assert client.rest() == b"220 ready\r\n250"
    peer.fault("reset", match="QUIT", offset=2)
    with tls_connected(peer, trusting(peer.tls_ca), greeted=False) as client:
        client.send(b"QUIT\r\n")
        assert client.exactly(13) == b"220 ready\r\n22"
        assert_reset(client)


def test_an_age_that_comes_during_the_handshake(peer: ThreadedPeer) -> None:
    """There is nothing to end then but the handshake: it strikes once that is done."""
    fault = peer.fault("reset", age=0)
    with socket.create_connection((peer.host, peer.port), PATIENCE) as connected:
        fault.wait_for(timeout=PATIENCE)
        context = trusting(peer.tls_ca)
        with (
            context.wrap_socket(
                connected, server_hostname=peer.host, suppress_ragged_eofs=False
            ) as client,
            pytest.raises(OSError, match=r"reset|EOF"),
        ):
            client.recv(1)


@pytest.mark.parametrize("problem", ["expired", "wrong-name", "self-signed"])
def test_a_certificate_with_a_problem(peer: ThreadedPeer, problem: Any) -> None:  # noqa: ANN401 - a literal
    fault = peer.fault("certificate", problem=problem, times=1)
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        tls_connected(peer, trusting(peer.tls_ca), greeted=False),
    ):
        pass
    assert fault.happened == 1
    assert closed(peer)[0].closed_by == "client"
    with tls_connected(peer, trusting(peer.tls_ca), greeted=False) as client:
        assert client.line() == b"220 ready\r\n"


def test_a_client_without_tls(peer: ThreadedPeer) -> None:
    with connected(peer, greeted=False) as client:
        client.send(b"NOOP\r\n")
        assert b"220" not in client.rest()
    assert closed(peer)[0].how == "fin"
    assert peer.exchanges() == []


def test_a_context_of_ones_own(peers: Peers, peer: ThreadedPeer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(FaultError, match="certificate"):
        peers.start(lines(), tls=context).fault("certificate", problem="expired")
    with pytest.raises(FaultError, match="certificate"):
        peers.start(lines()).fault("certificate", problem="expired")
    assert peers.start(lines(), tls=context).tls_ca is None


async def test_in_the_same_loop() -> None:
    async with open_peer(lines(), tls=True) as peer:
        assert peer.tls_ca is not None
        path = trio.Path(peer.tls_ca)
        assert await path.exists()
    assert not await path.exists()


def test_udp_alone_has_no_tls(peers: Peers) -> None:
    with pytest.raises(ValueError, match="TLS needs TCP"):
        peers.start(datagrams(), tls=True)


def client_hello() -> bytes:
    sent = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), sent, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


@pytest.mark.parametrize("framing", [lines(), length_prefixed(2), fixed(10_000)])
def test_a_plain_peer_says_that_its_client_began_a_handshake(
    peers: Peers, framing: Framing
) -> None:
    peer = peers.start(framing)
    with connected(peer, greeted=False) as client:
        client.send(client_hello())
        client.socket.shutdown(socket.SHUT_WR)
        closed(peer)
    note = "\ntcp #1 began a TLS handshake, and this peer is plain: start it with tls=True\n"
    with pytest.raises(VerificationError, match=note):
        peer.verify()
