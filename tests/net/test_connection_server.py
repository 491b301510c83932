"""Accepting: what is refused, and what a connection that broke early leaves behind."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.connection_server import MAX_ENDED, ConnectionServer
from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.stream import Stream
from esps_portal.testing.pipes import memory_pair
from tests.passes import Passes
from tests.patience import PATIENCE


class Handler:
    """Serves one connection: it sends a word, and ends when its client does."""

    deadline = float("inf")
    is_idle = True

    def __init__(self, stream: Stream, _: tuple[str, int]) -> None:
        self._stream = stream

    async def run(self) -> None:
        """Serve."""
        self._stream.send_now(b"hello")
        try:
            await self._stream.receive()
        finally:
            self._stream.close()

    def shut_down(self) -> None:
        """Nothing is to be ended."""

    expire = abort = sever = begin_anew = shut_down


@contextlib.asynccontextmanager
async def accepting(
    max_connections: int, stream: Callable[[socket.socket], Stream] = SocketStream
) -> AsyncIterator[tuple[ConnectionServer[Handler], Callable[[], socket.socket]]]:
    """A server on a free port, and what connects to it."""
    policy = AcceptPolicy(max_connections=max_connections, refusal=b"full", linger=PATIENCE)
    with contextlib.ExitStack() as clients:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0)
        address = listener.getsockname()

        def connect() -> socket.socket:
            return clients.enter_context(socket.create_connection(address, PATIENCE))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                server = ConnectionServer(Handler, policy, nursery, stream=stream)
                nursery.start_soon(server.acceptor.accept, listener)
                yield server, connect
                nursery.cancel_scope.cancel()


async def received(client: socket.socket) -> bytes:
    return await trio.to_thread.run_sync(client.recv, 100)


def refusing(server: ConnectionServer[Handler]) -> int:
    return server.refusals.under_way


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def test_one_that_broke_at_once_is_closed_and_the_next_is_served() -> None:
    broken: list[socket.socket] = []

    def stream(connected: socket.socket) -> Stream:
        if not broken:
            broken.append(connected)
            raise OSError
        return SocketStream(connected)

    async with accepting(2, stream) as (server, connect):
        first = connect()
        assert await received(first) == b""
        assert broken[0].fileno() == -1
        assert await received(connect()) == b"hello"
        assert len(server.connections) == 1


async def test_one_that_fails_ends_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, failures = Handler.run, iter([KeyError("a defect")])

    async def fail_once(handler: Handler) -> None:
        await run(handler)
        for failure in failures:
            raise failure

    monkeypatch.setattr(Handler, "run", fail_once)
    async with accepting(2) as (server, connect):
        failing, other = connect(), connect()
        assert [await received(failing), await received(other)] == [b"hello", b"hello"]
        failing.close()
        while len(server.connections) == 2:
            await trio.lowlevel.checkpoint()
        assert await received(connect()) == b"hello"
        assert len(server.connections) == 2
    assert "a defect" in caplog.text


async def test_a_refused_one_that_broke_at_once_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(*_: object) -> Stream:
        raise OSError

    async with accepting(1) as (server, connect):
        assert await received(connect()) == b"hello"
        with monkeypatch.context() as patch:
            patch.setattr(server.refusals, "_stream", stream)
            assert await received(connect()) == b""
        assert await received(connect()) == b"full"
        assert len(server.connections) == 1


async def test_refused_ones_that_reset_make_room_for_more_refusals() -> None:
    async with accepting(0) as (server, connect):
        for _ in range(70):  # more than are refused at a time
            client = connect()
            assert await received(client) == b"full"
            reset(client)
        while refusing(server):
            await trio.lowlevel.checkpoint()
        last = connect()
        assert (await received(last), await received(last)) == (b"full", b"")
        assert refusing(server) == 1  # it is ended gracefully, not just closed


async def test_two_of_one_turn_share_the_last_place() -> None:
    async with accepting(1) as (_, connect):
        clients = [connect(), connect()]  # the loop does not run meanwhile
        words = {await received(client) for client in clients}
        assert words == {b"hello", b"full"}


async def test_the_watch_ends_few_connections_in_one_pass_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """All their deadlines pass at once."""
    passes, expired = Passes(), []

    class Late(Handler):
        deadline = 5.0

        def expire(self) -> None:
            assert self not in expired
            expired.append(self)
            self.deadline = math.inf
            passes.note(self)

    policy = AcceptPolicy(max_connections=100)
    with passes.counted():
        async with trio.open_nursery() as nursery:
            server = ConnectionServer(Late, policy, nursery)
            for number in range(100):
                _, stream = memory_pair()
                nursery.start_soon(server.serve, stream, ("memory", number))
            await trio.testing.wait_all_tasks_blocked()  # before the watch looks when to look again
            nursery.start_soon(server.watch)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert passes.count == 100
    assert passes.most <= MAX_ENDED


@pytest.mark.parametrize("end", ["abort", "shut_down"])
async def test_few_of_many_connections_are_ended_in_one_pass_of_the_loop(end: str) -> None:
    """A test is over, or the server ends."""
    passes = Passes()

    class Ended(Handler):
        def abort(self) -> None:
            passes.note(self)
            self._stream.abort()

        shut_down = abort

    with passes.counted(), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            server = ConnectionServer(Ended, AcceptPolicy(max_connections=100), nursery)
            for number in range(100):
                _, stream = memory_pair()
                nursery.start_soon(server.serve, stream, ("memory", number))
            await trio.testing.wait_all_tasks_blocked()
            await getattr(server, end)()
            assert not server.connections
    assert passes.count == 100
    assert passes.most <= MAX_ENDED
