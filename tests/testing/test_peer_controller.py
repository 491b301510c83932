"""What a test does with a peer beside scripting it: waits, journal, recordings, resets, ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from esps_portal.testing import (
    NoExchangeError,
    PortalEndedError,
    VerificationError,
    datagrams,
    lines,
    open_peer,
    peer_in_thread,
)
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.journal.packets import read_capture, read_streams
from tests.patience import PATIENCE
from tests.sockets import ask, closed, connected, udp


@pytest.fixture(name="peer")
def _peer() -> Iterator[ThreadedPeer]:
    with peer_in_thread(lines()) as peer:
        peer.stub("PING").reply("PONG").optional()
        yield peer


def test_waiting(peer: ThreadedPeer) -> None:
    with connected(peer, greeted=False) as client:
        timer = threading.Timer(0.05, client.send, [b"PING\nPING\n"])
        timer.start()
        found = peer.wait_for("PING", count=2, timeout=PATIENCE)
        timer.join()
    assert [exchange.request for exchange in found] == [b"PING\n"] * 2
    assert asyncio.run(peer.wait_for_async("PING", timeout=PATIENCE))
    with pytest.raises(
        NoExchangeError, match=r"0 of 1 exchanges that match 'QUIT' came in 0\.01 s"
    ):
        peer.wait_for("QUIT", timeout=0.01)


async def test_waiting_would_block_the_loop() -> None:
    async with open_peer(lines()) as peer:
        with pytest.raises(RuntimeError, match=r"await peer\.wait_for_async"):
            peer.wait_for()


def test_the_journal(peer: ThreadedPeer) -> None:
    with connected(peer, greeted=False) as client:
        assert client.call(b"PING") == b"PONG\n"
    closed(peer)
    events = [entry.event for entry in peer.journal()]
    assert events == ["opened", "received", "replied", "closed"]
    (exchange,) = peer.exchanges()
    assert (exchange.request, exchange.reply, exchange.complete) == (b"PING\n", b"PONG\n", True)
    assert "--> PING\\n" in peer.transcript()


def test_recordings_and_captures(peer: ThreadedPeer, tmp_path: Path) -> None:
    with (
        peer.record(tmp_path / "peer.jsonl"),
        peer.pcap(tmp_path / "peer.pcap"),
        connected(peer, greeted=False) as client,
    ):
        assert client.call(b"PING") == b"PONG\n"
    lines_of = (tmp_path / "peer.jsonl").read_text(encoding="utf-8").splitlines()
    units = [found for found in map(json.loads, lines_of) if found["event"] == "unit"]
    assert [(unit["from"], unit["data"]) for unit in units] == [
        ("client", "PING\n"),
        ("server", "PONG\n"),
    ]
    (stream,) = read_streams(read_capture((tmp_path / "peer.pcap").read_bytes()))
    assert stream.said() == (b"PING\n", b"PONG\n")
    assert stream.server == (peer.host, peer.port)


def test_a_reset_forgets_everything(peer: ThreadedPeer) -> None:
    peer.handler(lambda frame, _: frame)
    peer.fault("reset", match="never")
    with connected(peer, greeted=False) as client:
        assert client.call(b"hello") == b"hello\n"
        peer.reset()
        client.assert_reset()
    assert (peer.exchanges(), peer.connections(), peer.problems()) == ([], [], [])
    with connected(peer, greeted=False) as client:
        assert client.call(b"hello") == b""
    with pytest.raises(VerificationError, match="there is no stub"):
        peer.verify()


def test_a_delay_ends_with_the_peer() -> None:
    with peer_in_thread(datagrams()) as peer:
        peer.stub("late").delay(30).reply("x")
        with udp(peer) as client:
            client.send(b"late")
            peer.wait_for("late", timeout=PATIENCE)
            peer.reset()
            peer.stub("soon").reply("y")
            assert ask(client, b"soon") == b"y"
    with pytest.raises(PortalEndedError, match="the peer has ended"):
        peer.stub("x")


async def test_in_the_same_loop() -> None:
    async with open_peer(lines("\r\n"), greeting="220 ready") as peer:
        stub = peer.stub("QUIT").reply("221 bye").then_close()
        async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
            await stream.send_all(b"QUIT\r\n")
            assert b"".join([data async for data in stream]) == b"220 ready\r\n221 bye\r\n"
        assert stub.used == 1
        peer.verify()
