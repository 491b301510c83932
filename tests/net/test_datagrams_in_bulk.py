"""A UDP socket in bulk: what comes meanwhile is handled, what is lost does not stop the rest."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest
import trio

from esps_portal.net import datagram_socket
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import READING_SECONDS, DatagramSocket
from esps_portal.net.received_datagrams import ReceivedDatagrams
from tests.patience import PATIENCE


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return one for a server and one of a client that is connected to it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        client.settimeout(PATIENCE)
        yield server, client


async def test_a_reply_that_cannot_be_sent_is_lost_alone(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, client = sockets
    there, nowhere = client.getsockname(), ("127.0.0.1", 0)
    received = ReceivedDatagrams([b"?"] * 5, [nowhere, there, nowhere, nowhere, there])
    ours = DatagramSocket(server)
    ours.send_all([b"b", b"c", b"d", b"e"], received, 1)
    assert [client.recv(10), client.recv(10)] == [b"b", b"e"]
    ours.close()


async def test_what_is_held_back_leaves_in_order(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, client = sockets
    client.setblocking(False)  # noqa: FBT003 - the same
    there, nowhere = Sender(client.getsockname()), Sender(("127.0.0.1", 0))
    received = ReceivedDatagrams([b"?", b"?"], [there.address, there.address])
    ours = DatagramSocket(server)
    ours.hold()
    for datagram, to in ((b"a", there), (b"lost", nowhere), (b"b", there)):
        ours.send(datagram, to)
    ours.send_all([b"c"], received, 1)
    with pytest.raises(BlockingIOError):
        client.recv(10)
    ours.release()
    assert [client.recv(10) for _ in range(3)] == [b"a", b"b", b"c"]
    ours.release()  # nothing is left
    ours.send(b"d", there)
    assert client.recv(10) == b"d"
    ours.close()


async def test_what_leaves_from_another_port_leaves_after_what_is_held_back(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, _ = sockets
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anyone:
        anyone.bind(("127.0.0.1", 0))
        anyone.settimeout(PATIENCE)
        there = Sender(anyone.getsockname())
        ours = DatagramSocket(server)
        ours.hold()
        ours.send(b"a", there)
        ours.send_from_other_port(b"b", there)
        ours.send(b"c", there)
        ours.release()
        assert [anyone.recv(10) for _ in range(3)] == [b"a", b"b", b"c"]
        ours.close()


async def passes_of_a_thousand(server: socket.socket, client: socket.socket, at_once: int) -> int:
    """Have some datagrams sent for each that is handled; return how many passes others had."""
    handled, passes, ours = 0, 0, DatagramSocket(server)

    async def handle(received: ReceivedDatagrams, _: float) -> None:
        nonlocal handled
        handled += len(received.data)
        if handled >= 1000:
            ours.close()
        else:
            for _ in range(at_once):
                client.send(b"x")

    async def count_passes() -> None:
        nonlocal passes
        while True:
            passes += 1
            await trio.lowlevel.checkpoint()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_passes)
            for _ in range(at_once):
                client.send(b"x")
            await ours.run_in_bulk(handle)
            nursery.cancel_scope.cancel()
    return passes


async def test_what_has_come_meanwhile_is_handled_in_the_same_pass(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_socket, "monotonic", lambda: 0.0)  # there is time for all of it
    assert await passes_of_a_thousand(*sockets, at_once=2) < 10


async def test_others_go_on_while_more_and_more_comes(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(step=READING_SECONDS / 10)
    monkeypatch.setattr(datagram_socket, "monotonic", lambda: next(now))
    assert await passes_of_a_thousand(*sockets, at_once=2) > 20
