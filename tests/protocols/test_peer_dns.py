"""dnspython against a peer: over UDP, and over UDP and TCP on one number."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.testing import PeerController, PeerFactory, datagrams, length_prefixed
from tests.optional import package
from tests.patience import PATIENCE

dns_exception = package("dns.exception")
dns_message = package("dns.message")
dns_query = package("dns.query")

_SOON = 0.3  # seconds
NAME = re.compile(rb"\x07example\x03org\0")


def reply_to(kind: str, *answers: str) -> bytes:
    """Return a reply whose id and question are those of any query of that kind."""
    query = dns_message.make_query("example.org.", kind, id=0)
    lines = [f"example.org. 60 IN {kind} {answer}" for answer in answers]
    text = query.to_text().replace("flags RD", "flags QR RD").replace(";AUTHORITY", "")
    found = dns_message.from_text(text.replace(";ANSWER", ";ANSWER\n" + "\n".join(lines)))
    wire: bytes = found.to_wire()
    return wire


def asked(peer: PeerController, kind: str = "A", timeout: float = PATIENCE) -> str:
    query = dns_message.make_query("example.org.", kind)
    reply = dns_query.udp(query, peer.host, timeout, peer.port)
    return str(reply.answer[0][0])


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    peer = esps_peer(datagrams())
    peer.stub(re.compile(rb"org\0\0\x01\0")).reply(reply_to("A", "192.0.2.1"), echo=(0, 2))
    return peer


def test_the_id_is_copied(peer: PeerController) -> None:
    assert [asked(peer), asked(peer)] == ["192.0.2.1"] * 2
    first, second = peer.exchanges(NAME)
    assert (first.reply[:2], second.reply[:2]) == (first.request[:2], second.request[:2])


def test_two_kinds_of_question(peer: PeerController) -> None:
    peer.stub(re.compile(rb"org\0\0\x1c\0")).reply(reply_to("AAAA", "2001:db8::1"), echo=(0, 2))
    assert [asked(peer), asked(peer, "AAAA")] == ["192.0.2.1", "2001:db8::1"]


def test_a_lost_reply(peer: PeerController) -> None:
    fault = peer.fault("drop", times=1)
    with pytest.raises(dns_exception.Timeout):
        asked(peer, timeout=_SOON)
    fault.wait_for(timeout=PATIENCE)
    assert asked(peer) == "192.0.2.1"
    assert fault.happened == 1


def test_a_reply_with_another_id_is_not_believed(peer: PeerController) -> None:
    peer.fault("patch", at=0, hex="0000", times=1)
    query = dns_message.make_query("example.org.", "A", id=1)
    with pytest.raises(Exception, match=r"response|timed out"):  # its own class for each version
        dns_query.udp(query, peer.host, _SOON, peer.port)


def test_it_asks_again_over_tcp_after_tc(esps_peer: PeerFactory) -> None:
    """Over TCP a length comes before each message (RFC 1035, section 4.2.2)."""
    peer = esps_peer(length_prefixed(2), udp=True)
    reply = reply_to("A", "192.0.2.1")
    cut = reply[:2] + b"\x87" + reply[3:]  # the bit TC of the flags (RFC 1035, section 4.1.1)
    peer.stub(NAME).reply(cut, echo=(0, 2)).times(1).reply(reply, echo=(0, 2))
    query: Any = dns_message.make_query("example.org.", "A")
    found, was_tcp = dns_query.udp_with_fallback(query, peer.host, PATIENCE, peer.port)
    assert was_tcp
    assert str(found.answer[0][0]) == "192.0.2.1"
    assert [each.transport for each in peer.exchanges(NAME)] == ["udp", "tcp"]
