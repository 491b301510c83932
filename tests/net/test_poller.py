"""Both pollers do the same: of sockets, and of pipes in memory."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from esps_portal.net.poller import EpollPoller, Poller
from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.stream import Stream
from esps_portal.testing.pipe_poller import PipePoller
from esps_portal.testing.pipes import memory_pair
from tests.patience import PATIENCE


@attrs.frozen
class Pair:
    """The client's and the server's end of a connection."""

    send: Callable[[bytes], Awaitable[object]]
    end: Callable[[], Awaitable[object]]
    stream: Stream


@asynccontextmanager
async def sockets() -> AsyncIterator[Callable[[], Pair]]:
    listener = socket.create_server(("127.0.0.1", 0))
    made = [listener]

    def pair() -> Pair:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        made.extend([client, server])

        async def send(data: bytes) -> None:
            client.sendall(data)
            await trio.lowlevel.checkpoint()

        async def end() -> None:
            client.shutdown(socket.SHUT_WR)
            await trio.lowlevel.checkpoint()

        return Pair(send, end, SocketStream(server))

    try:
        yield pair
    finally:
        for each in made:
            each.close()


@asynccontextmanager
async def pipes() -> AsyncIterator[Callable[[], Pair]]:
    def pair() -> Pair:
        client, server = memory_pair()
        return Pair(client.send_all, client.send_eof, server)

    yield pair


KINDS = pytest.mark.parametrize(
    ("kind", "pairs"), [(EpollPoller, sockets), (PipePoller, pipes)], ids=["epoll", "pipes"]
)
Pairs = Callable[[], AbstractAsyncContextManager[Callable[[], Pair]]]


@KINDS
async def test_one_that_is_paused_is_not_told_of(kind: type[Poller], pairs: Pairs) -> None:
    poller = kind()
    async with pairs() as pair:
        one, other = pair(), pair()
        number, later = poller.add(one.stream), poller.add(other.stream)
        poller.pause(number)
        await one.send(b"x")
        await other.send(b"x")
        assert poller.ready() == [later]
        poller.resume(number)
        assert sorted(poller.ready()) == sorted([number, later])
        poller.pause(number)
        poller.remove(number)
        assert poller.ready() == [later]
        poller.close()


@KINDS
async def test_it_tells_what_can_be_read_until_it_is(kind: type[Poller], pairs: Pairs) -> None:
    poller = kind()
    async with pairs() as pair:
        first, second = pair(), pair()
        numbers = [poller.add(each.stream) for each in (first, second)]
        assert list(poller.ready()) == []
        await first.send(b"xy")
        await poller.wait()
        assert list(poller.ready()) == [numbers[0]]
        assert list(poller.ready()) == [numbers[0]]
        assert first.stream.receive_now() == b"xy"
        assert list(poller.ready()) == []
        await second.send(b"z")
        await second.end()
        assert list(poller.ready()) == [numbers[1]]
        assert second.stream.receive_now() == b"z"
        assert list(poller.ready()) == [numbers[1]]
        assert second.stream.receive_now() == b""
        poller.remove(numbers[1])
        assert list(poller.ready()) == []
        poller.close()
        assert not poller.is_open


@KINDS
async def test_what_had_come_before_is_told_too(kind: type[Poller], pairs: Pairs) -> None:
    poller = kind()
    async with pairs() as pair:
        one = pair()
        await one.send(b"x")
        number = poller.add(one.stream)
        await poller.wait()
        assert list(poller.ready()) == [number]
        poller.remove(number)
        assert list(poller.ready()) == []
        number = poller.add(one.stream)
        assert list(poller.ready()) == [number]
        poller.remove(number)
        poller.close()


@KINDS
async def test_waiting_ends_when_something_comes(kind: type[Poller], pairs: Pairs) -> None:
    poller = kind()
    async with pairs() as pair, trio.open_nursery() as nursery:
        one = pair()
        number = poller.add(one.stream)
        woken = trio.Event()

        async def wait() -> None:
            await poller.wait()
            woken.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not woken.is_set()
        await one.send(b"x")
        with trio.fail_after(PATIENCE):
            await woken.wait()
        poller.remove(number)
        poller.close()
