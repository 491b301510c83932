"""What a test has a peer say unasked: to whom, when, under faults, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.testing import (
    FramingError,
    StubError,
    close,
    datagrams,
    expect,
    length_prefixed,
    lines,
    send,
)
from tests.patience import PATIENCE
from tests.peer.conftest import Peers
from tests.threaded_proxies import RST


def test_a_subscriber_gets_what_comes_later(peers: Peers) -> None:
    peer = peers.start(lines("\r\n"), greeting="HELLO")
    peer.stub("SUB news").reply("OK")
    client = peers.dial(peer)
    assert client.read(7) == b"HELLO\r\n"
    client.send(b"SUB news\r\n")
    peer.wait_for("SUB", timeout=PATIENCE)
    assert peer.push("MSG 1", b"MSG 2") == 1
    assert client.read(18) == b"OK\r\nMSG 1\r\nMSG 2\r\n"
    assert [(e.number, e.request, e.reply) for e in peer.exchanges()] == [
        (0, b"", b"HELLO\r\n"),
        (1, b"SUB news\r\n", b"OK\r\n"),
        (2, b"", b"MSG 1\r\nMSG 2\r\n"),
    ]
    assert "<-- MSG 1" in peer.transcript()
    peer.verify()


def test_to_all_or_to_one(peers: Peers) -> None:
    peer = peers.start(length_prefixed(1))
    clients = [peers.dial(peer)]
    peer.wait_for_connections(1, timeout=PATIENCE)
    clients.append(peers.dial(peer))
    peer.wait_for_connections(2, timeout=PATIENCE)
    assert peer.push("all") == 2
    assert peer.push("two", connection=2) == 1
    assert [each.read(4) for each in clients] == [b"\3all", b"\3all"]
    assert clients[1].read(4) == b"\3two"


def test_it_comes_after_the_frames_that_have_come(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("slow").delay(0.05).reply("done")
    client = peers.dial(peer)
    client.send(b"slow\n")
    peer.wait_for("slow", timeout=PATIENCE)
    peer.push("news")
    assert client.read(10) == b"done\nnews\n"


def test_within_a_conversation(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.conversation(expect("a"), send("A"), expect("b"), send("B"), close())
    client = peers.dial(peer)
    client.send(b"a\n")
    assert client.read(2) == b"A\n"
    peer.push("news")
    assert client.read(5) == b"news\n"
    client.send(b"b\n")
    assert client.read(2) == b"B\n"
    peer.verify()


def test_a_fault_strikes_it(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("a").reply("A")
    fault = peer.fault("reset", reply_match="news", offset=2)
    client = peers.dial(peer)
    client.send(b"a\n")
    assert client.read(2) == b"A\n"
    peer.push("news")
    assert client.rest() == (b"ne", RST)
    assert fault.happened == 1
    peer.verify()


def test_as_long_as_the_client_says_nothing_it_is_for_reply_0(peers: Peers) -> None:
    peer = peers.start(lines())
    other = peer.fault("reset", reply_match="news")
    fault = peer.fault("reset", reply_match="news", offset=2, reply=0)
    client = peers.dial(peer)
    peer.wait_for_connections(timeout=PATIENCE)
    peer.push("hello", "news")
    assert client.rest() == (b"hello\nne", RST)
    assert (fault.happened, other.happened) == (1, 0)
    (problem,) = peer.problems()
    assert problem.endswith("; only reply=0 strikes what the server sends first")


def test_it_is_no_request_that_a_fault_counts(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("a").reply("A")
    fault = peer.fault("reset", request=2)
    client = peers.dial(peer)
    peer.wait_for_connections(timeout=PATIENCE)
    for _ in range(2):
        peer.push("news")
        assert client.read(5) == b"news\n"
    client.send(b"a\n")
    assert client.read(2) == b"A\n"
    peer.push("news")
    assert client.read(5) == b"news\n"
    assert fault.happened == 0
    client.send(b"a\n")
    assert client.rest() == (b"", RST)
    assert fault.happened == 1


def test_what_cannot_be_pushed(peers: Peers) -> None:
    peer = peers.start(lines())
    with pytest.raises(
        StubError, match=r"^no connection is open: wait for one first, by wait_for_"
    ):
        peer.push("x")
    peers.dial(peer)
    peer.wait_for_connections(timeout=PATIENCE)
    with pytest.raises(StubError, match=r"^connection 2 is not open$"):
        peer.push("x", connection=2)
    with pytest.raises(FramingError):
        peer.push("x\n")
    with pytest.raises(StubError, match="nothing to push"):
        peer.push()
    wrong: Any = 5
    with pytest.raises(TypeError):
        peer.push(wrong)
    wrong = "1"
    with pytest.raises(TypeError, match="connection must be the number of an open one, got '1'"):
        peer.push("x", connection=wrong)
    assert not peer.exchanges()


def test_over_udp_the_client_speaks_first(peers: Peers) -> None:
    with pytest.raises(StubError, match=r"^over UDP the client sends first"):
        peers.start(datagrams()).push("x")


def test_a_connection_that_has_ended_gets_nothing(peers: Peers) -> None:
    peer = peers.start(lines())
    client = peers.dial(peer)
    peer.wait_for_connections(timeout=PATIENCE)
    client.sock.close()
    peer.wait_for_connections(closed=True, timeout=PATIENCE)
    with pytest.raises(StubError, match="no connection is open"):
        peer.push("x")
