"""ntplib against a peer over UDP: what a server of time says, and what is lost or cut."""

from __future__ import annotations

import pytest

from esps_portal.testing import PeerController, PeerFactory, datagrams
from tests.optional import package
from tests.patience import PATIENCE

ntplib = package("ntplib")

_SOON = 0.3  # seconds
_SIZE = 48  # bytes of a packet without extensions (RFC 5905, section 7.3)


def reply(stratum: int, reference: bytes) -> bytes:
    """Return a packet of a server (mode 4) of version 3."""
    return bytes([0b00_011_100, stratum]).ljust(12, b"\0") + reference.ljust(_SIZE - 12, b"\0")


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    peer = esps_peer(datagrams())
    peer.stub(lambda packet: len(packet) == _SIZE).reply(reply(1, b"GPS\0"))
    return peer


def asked(peer: PeerController, timeout: float = PATIENCE) -> tuple[int, str]:
    found = ntplib.NTPClient().request(peer.host, 3, peer.port, timeout)
    return found.stratum, ntplib.ref_id_to_text(found.ref_id, found.stratum)


def test_a_clock(peer: PeerController) -> None:
    assert asked(peer) == (1, "Global Position System")


def test_a_server_that_is_asked_too_often(esps_peer: PeerFactory) -> None:
    """It says so by a stratum of 0 and a code in place of its reference (section 7.4)."""
    peer = esps_peer(datagrams())
    peer.stub(lambda packet: len(packet) == _SIZE).reply(reply(0, b"RATE"))
    stratum, reference = asked(peer)
    assert stratum == 0
    assert "RATE" in reference


def test_a_packet_that_is_cut(peer: PeerController) -> None:
    peer.fault("truncate", bytes=_SIZE - 1, times=1)
    with pytest.raises(ntplib.NTPException, match="Invalid NTP packet"):
        asked(peer)
    assert asked(peer)[0] == 1


def test_a_reply_that_is_lost(peer: PeerController) -> None:
    fault = peer.fault("drop", times=1)
    with pytest.raises(ntplib.NTPException, match="No response"):
        asked(peer, _SOON)
    assert asked(peer)[0] == 1
    assert fault.happened == 1
