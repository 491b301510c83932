"""A suite whose tests use peers; most fail, each for a reason of its own."""

from __future__ import annotations

import re
import smtplib
import socket

import pytest

from esps_portal.testing import (
    PeerController,
    PeerFactory,
    close,
    datagrams,
    expect,
    length_prefixed,
    lines,
    send,
)


def ask(peer: PeerController, *requests: bytes) -> bytes:
    with socket.create_connection((peer.host, peer.port), 30) as client:
        client.sendall(b"".join(requests))
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(9999), b""))


def test_greylisted(esps_peer: PeerFactory) -> None:
    mail = esps_peer(lines("\r\n"), greeting="220 ready")
    mail.stub(re.compile(rb"(?i)^(ehlo|mail|rset)")).reply("250 ok")
    mail.stub(re.compile(rb"(?i)^rcpt")).reply("450 later").reply("250 ok")
    mail.stub(re.compile(rb"(?i)^quit")).reply("221 bye").optional()
    with smtplib.SMTP(mail.host, mail.port, timeout=30) as client:
        client.ehlo()
        client.mail("a@example.org")
        assert client.rcpt("b@example.org") == (450, b"later")
        assert client.rcpt("b@example.org") == (250, b"ok")


def test_unexpected(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG")
    peer.stub("QUIT").reply("bye")
    assert ask(peer, b"PING\n", b"PINK\n") == b"PONG\n"


def test_unexpected_bytes(esps_peer: PeerFactory) -> None:
    peer = esps_peer(length_prefixed(2))
    peer.stub(b"\0\1\2\3").reply("x")
    assert ask(peer, b"\0\4\0\1\2\3", b"\0\4\0\1\7\3") == b"\0\1x"


def test_no_stub(esps_peer: PeerFactory) -> None:
    assert ask(esps_peer(lines()), b"hello\n") == b""


def test_empty(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG").optional()
    assert ask(peer, b"\n") == b""


def test_used_up(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG").times(1)
    assert ask(peer, b"PING\n", b"PING\n") == b"PONG\n"


def test_never_struck(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG")
    peer.fault("reset", match="QUIT")
    ask(peer, b"PING\n")


def test_no_frame(esps_peer: PeerFactory) -> None:
    assert ask(esps_peer(lines()), b"half a li") == b""


def test_conversation(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.conversation(expect("a"), send("1"), expect("b"), close())
    assert ask(peer, b"a\n") == b"1\n"


def test_just_before_the_end(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    client = socket.create_connection((peer.host, peer.port), 30)
    client.sendall(b"LATE\n")
    client.close()


def test_datagram(esps_peer: PeerFactory) -> None:
    peer = esps_peer(datagrams())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", (peer.host, peer.port))


def test_optional(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG").optional()
    peer.conversation(expect("a")).optional()
    peer.fault("reset").optional()


def test_relaxed(esps_peer: PeerFactory) -> None:
    esps_peer(lines(), strict=False).stub("PING")


@pytest.mark.esps_portal(strict=False)
def test_relaxed_by_the_marker(esps_peer: PeerFactory) -> None:
    esps_peer(lines()).stub("PING")


def test_that_fails_itself(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines())
    peer.stub("PING").reply("PONG")
    assert ask(peer, b"PING\n") == b"PING\n"


def test_wrong_option(esps_peer: PeerFactory) -> None:
    esps_peer(lines(), greting="x")  # type: ignore[call-arg]


def test_wrong_greeting(esps_peer: PeerFactory) -> None:
    esps_peer(lines(), greeting=3)  # type: ignore[arg-type]


def test_wrong_framing(esps_peer: PeerFactory) -> None:
    esps_peer("lines")  # type: ignore[arg-type]


def test_taken_port(esps_peer: PeerFactory) -> None:
    first = esps_peer(lines())
    esps_peer(lines(), port=first.port)
