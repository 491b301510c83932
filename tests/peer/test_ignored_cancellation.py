"""A handler that ignores its cancellation holds nothing but itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Literal

import attrs
import pytest
import trio

from esps_portal.testing import PeerConnection, datagrams, lines, open_peer
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.patience import PATIENCE
from tests.peer.conftest import Peers


@attrs.define(eq=False)
class Stubborn:
    """A handler that waits for the test, cancelled or not."""

    begun: threading.Event = attrs.field(factory=threading.Event)
    released: threading.Event = attrs.field(factory=threading.Event)
    has_ended: bool = False

    async def __call__(self, frame: bytes, _: PeerConnection) -> bytes:
        self.begun.set()
        await trio.to_thread.run_sync(self.released.wait, PATIENCE)
        self.has_ended = True
        return frame


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubborn]:
    monkeypatch.setattr("esps_portal.net.detached.CANCELLED", 0.05)
    handler = Stubborn()
    yield handler
    handler.released.set()


def check_answers(peers: Peers, peer: ThreadedPeer) -> None:
    peer.stub("b").reply("c")
    client = peers.dial(peer)
    client.send(b"b\n")
    assert client.read(2) == b"c\n"
    peer.verify()


@pytest.mark.parametrize("how", ["reset", "by the client"])
def test_its_connection_ends_without_it(
    peers: Peers,
    stubborn: Stubborn,
    how: Literal["reset", "by the client"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = peers.start(lines())
    peer.handler(stubborn)
    client = peers.dial(peer)
    client.send(b"a\n")
    assert stubborn.begun.wait(PATIENCE)
    if how == "reset":
        peer.reset()
    else:
        client.reset()
        peer.wait_for_connections(closed=True, timeout=PATIENCE)
    assert not stubborn.has_ended
    assert caplog.messages == ["the handler for 'a' (tcp #1) ignores its cancellation"]
    check_answers(peers, peer)


def test_over_udp_it_is_left_behind(
    peers: Peers, stubborn: Stubborn, caplog: pytest.LogCaptureFixture
) -> None:
    peer = peers.start(datagrams())
    peer.handler(stubborn)
    client = peers.datagrams(peer)
    client.send(b"a")
    assert stubborn.begun.wait(PATIENCE)
    peer.reset()
    assert not stubborn.has_ended
    assert [text.split(" (")[0] for text in caplog.messages] == ["the handler for 'a'"]
    peer.stub("b").reply("c")
    client.send(b"b")
    assert client.recv(100) == b"c"


async def test_the_peer_ends_without_it(
    stubborn: Stubborn, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_peer(lines()) as peer:
        peer.handler(stubborn)
        client = await trio.open_tcp_stream(peer.host, peer.port)
        await client.send_all(b"a\n")
        assert await trio.to_thread.run_sync(stubborn.begun.wait, PATIENCE)
    assert not stubborn.has_ended
    assert caplog.messages == ["the handler for 'a' (tcp #1) ignores its cancellation"]
    await client.aclose()
    stubborn.released.set()  # trio itself waits for its thread
