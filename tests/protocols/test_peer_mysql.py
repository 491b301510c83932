"""PyMySQL against a peer: a packet is a length of three bytes, a number, and the payload."""

from __future__ import annotations

import pytest

from esps_portal.testing import PeerController, PeerFactory, length_prefixed
from tests.optional import package
from tests.patience import PATIENCE

pymysql = package("pymysql")


def packet(payload: bytes) -> bytes:
    """Return the first packet of a server, whose number is 0."""
    return len(payload).to_bytes(3, "little") + b"\0" + payload


FULL = packet(b"\xff\x10\x04Too many connections")


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    """A server that has no room for any client, and says so as its greeting."""
    return esps_peer(length_prefixed(3, extra=1, order="little"), greeting=FULL)


def connect(peer: PeerController) -> None:
    pymysql.connect(host=peer.host, port=peer.port, user="me", connect_timeout=PATIENCE)


def test_an_error_as_a_greeting(peer: PeerController) -> None:
    with pytest.raises(pymysql.err.OperationalError) as refused:
        connect(peer)
    assert refused.value.args == (1040, "Too many connections")


@pytest.mark.parametrize("size", range(len(FULL)))
def test_a_greeting_that_is_cut_at_each_byte(peer: PeerController, size: int) -> None:
    """Its length, its number and its text: each time the connection is lost, and nothing hangs."""
    peer.fault("truncate", reply=0, bytes=size)
    with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
        connect(peer)


def test_a_greeting_with_the_number_of_another_packet(peer: PeerController) -> None:
    peer.fault("patch", reply=0, at=3, hex="07")
    with pytest.raises(pymysql.err.InternalError, match="Packet sequence number wrong"):
        connect(peer)
