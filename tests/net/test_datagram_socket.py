"""A flood of datagrams, and others meanwhile; the sockets are real."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.net.bind import bound
from esps_portal.net.datagram_socket import DatagramSocket
from esps_portal.net.received_datagrams import ReceivedDatagrams
from tests.patience import PATIENCE

# Short ones, of which each takes 768 bytes of the kernel's buffer: it holds them on any system.
FLOOD = 400


@attrs.define
class Handled:
    """A socket, who sends to it, and what was handled."""

    ours: DatagramSocket
    flooder: socket.socket
    client: socket.socket
    datagrams: list[bytes] = attrs.field(factory=list)

    async def run(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Have all handled that has come, and what comes meanwhile."""

        async def handle(received: ReceivedDatagrams, _: float) -> None:
            self.datagrams += received.data
            meanwhile()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ours.run_in_bulk, handle)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


def sending_to(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.connect(address)
    return sock


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])  # the second with the address it was sent to
def handled(request: pytest.FixtureRequest) -> Iterator[Handled]:
    sock = bound(socket.AF_INET, socket.SOCK_DGRAM, request.param, 0)
    address = ("127.0.0.1", sock.getsockname()[1])
    with contextlib.ExitStack() as stack:
        flooder, client = (stack.enter_context(sending_to(address)) for _ in range(2))
        datagrams = DatagramSocket(sock)
        stack.callback(datagrams.close)
        yield Handled(datagrams, flooder, client)


async def test_a_flood_leaves_others_their_turn(handled: Handled) -> None:
    for number in range(FLOOD):
        handled.flooder.send(b"%d" % number)
    for number in range(3):
        handled.client.send(b"client %d" % number)
    await handled.run()
    flood = [each for each in handled.datagrams if not each.startswith(b"client")]
    assert flood == [b"%d" % number for number in range(FLOOD)]
    # After what was read at first, the flooder and the client have turns.
    assert handled.datagrams[64:70] == [b"64", b"client 0", b"65", b"client 1", b"66", b"client 2"]


async def test_a_flood_is_answered(handled: Handled) -> None:
    answers: list[bytes] = []

    async def answer(received: ReceivedDatagrams, _: float) -> None:
        handled.ours.send_all(received.data, received, 0)
        answers.extend(handled.flooder.recv(10) for _ in received.data)

    sent = [b"%d" % number for number in range(FLOOD)]
    for datagram in sent:
        handled.flooder.send(datagram)
    handled.flooder.settimeout(PATIENCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handled.ours.run_in_bulk, answer)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert answers == sent


async def test_of_a_flood_some_is_dropped_and_nothing_of_others(
    handled: Handled, caplog: pytest.LogCaptureFixture
) -> None:
    left = 8000

    def go_on() -> None:
        nonlocal left
        if left:
            handled.client.send(b"client")
        for _ in range(min(left, 200)):
            handled.flooder.send(b"flood")
            left -= 1

    go_on()
    await handled.run(go_on)
    assert handled.datagrams.count(b"client") == 8000 / 200
    dropped = 8000 - handled.datagrams.count(b"flood")
    # Alone it may hold half of 4 MiB, in pieces of about a kilobyte.
    assert dropped > 4000
    assert f"{dropped} datagrams were dropped: more have come than can be answered" in caplog.text


async def test_what_is_discarded_is_not_handled_later(handled: Handled) -> None:
    for _ in range(FLOOD):
        handled.flooder.send(b"old")
    await handled.run(handled.ours.discard_waiting)
    assert handled.datagrams == [b"old"] * 64
