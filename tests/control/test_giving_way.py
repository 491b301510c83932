"""Two clients of a control port that has room for one; in memory, on a clock that jumps."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.control.endpoint import Endpoint, EndpointRequest
from esps_portal.control.guard import Guard
from esps_portal.control.http_handler import HEAD, HttpHandler
from esps_portal.control.http_messages import RequestHead
from esps_portal.control.room import Room
from esps_portal.control.router import FoundEndpoint, find_endpoint
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.bind import bound
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.socket_stream import SocketStream
from esps_portal.testing.pipes import MemoryStream, memory_pair
from tests.patience import PATIENCE, patient

COUNT = 9


def get(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: localhost:7\r\n\r\n".encode()


async def slow(_: object, __: EndpointRequest) -> str:
    await trio.sleep(HEAD / 2)
    return "slow"


async def stuck(_: object, __: EndpointRequest) -> str:
    await trio.sleep(10 * HEAD)
    return "stuck"


class Site:
    """What is asked here."""

    def find(self, head: RequestHead) -> FoundEndpoint:
        endpoints = {
            "fast": Endpoint(lambda _, __: "fast"),
            "slow": Endpoint(slow),
            "stuck": Endpoint(stuck),
            "wait": Endpoint(stuck, may_wait=True),
            "large": Endpoint(lambda _, __: iter(range(100_000))),
        }
        routes = {path: {"GET": endpoint} for path, endpoint in endpoints.items()}
        found = find_endpoint(routes, None, head.path[1:].split("/"), head)
        assert found is not None
        return found


@attrs.frozen
class Served:
    server: ConnectionServer[HttpHandler]
    nursery: trio.Nursery

    async def connect(self, first: bytes = b"") -> MemoryStream:
        """Connect, and ask; return when nothing happens any more at this time."""
        client, stream = memory_pair()
        self.nursery.start_soon(self.server.serve, stream, ("memory", 1))
        if first:
            await client.send_all(first)
        await trio.testing.wait_all_tasks_blocked()
        return client


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    room = Room(1)

    def handler(stream: object, _: object) -> HttpHandler:
        return HttpHandler(stream, Guard(frozenset({"localhost:7"})), Site(), room)  # type: ignore[arg-type]

    async with trio.open_nursery() as nursery:
        policy = AcceptPolicy(max_connections=9, watch_interval=HEAD)
        server = ConnectionServer(handler, policy, nursery, room=room)
        nursery.start_soon(server.watch)
        with patient():
            yield Served(server, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("begun", [b"", get("fast"), get("fast")[:9]])
async def test_one_that_is_not_answered_is_closed(autojump_clock: object, begun: bytes) -> None:
    async with served() as it:
        first = await it.connect(begun)
        second = await it.connect(get("fast"))
        assert b'"fast"' in await second.receive_some()
        answers = b""
        while data := await first.receive_some():
            answers += data
        assert (b"200 OK" in answers) == (begun == get("fast"))


@pytest.mark.parametrize("begun", [b"", get("fast")[:9]])
async def test_a_request_that_is_on_its_way_is_answered(
    autojump_clock: object, begun: bytes
) -> None:
    async with served() as it:
        first = await it.connect(begun)
        second = await it.connect(get("fast"))
        await trio.sleep(0.1)
        await first.send_all(get("fast")[len(begun) :])
        for client in (first, second):
            assert b'"fast"' in await client.receive_some()


async def test_one_that_is_answered_is_told_that_it_ends(autojump_clock: object) -> None:
    async with served() as it:
        first = await it.connect(get("slow") + get("fast"))
        second = await it.connect(get("fast"))
        assert b"\r\nConnection: close\r\n" in await first.receive_some()
        answer = await second.receive_some()
        assert b'"fast"' in answer
        assert b"Connection" not in answer, "nobody waits any more"


async def test_where_all_wait_themselves_a_newcomer_is_refused(autojump_clock: object) -> None:
    async with served() as it:
        await it.connect(get("wait"))
        began = trio.current_time()
        second = await it.connect(get("fast"))
        answer = await second.receive_some()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert trio.current_time() == began


async def test_a_newcomer_waits_as_long_as_a_head_may_take(autojump_clock: object) -> None:
    async with served() as it:
        await it.connect(get("stuck"))
        began = trio.current_time()
        second = await it.connect(get("fast"))
        assert (await second.receive_some()).startswith(b"HTTP/1.1 503 ")
        assert trio.current_time() - began == HEAD


async def test_one_that_does_not_read_gives_way_after_a_second(autojump_clock: object) -> None:
    async with served() as it:
        await it.connect(get("large"))
        second = await it.connect(get("fast"))
        with trio.move_on_after(0.9) as waited:
            await second.receive_some()
        assert waited.cancelled_caught
        await trio.sleep(0.1)
        third = await it.connect(get("fast"))
        assert b'"fast"' in await second.receive_some()
        assert b'"fast"' in await third.receive_some()


async def test_one_whose_input_is_only_discarded_takes_no_place(autojump_clock: object) -> None:
    async with served() as it:
        first = await it.connect(b"@\r\n\r\n")
        assert (await first.receive_some()).startswith(b"HTTP/1.1 400 ")
        began = trio.current_time()
        second = await it.connect(get("fast"))
        assert b'"fast"' in await second.receive_some()
        assert trio.current_time() == began
        await first.send_all(b"more")  # it still has its second: no RST has come


async def test_one_whose_request_has_just_begun(caplog: pytest.LogCaptureFixture) -> None:
    # Only a socket minds that it is waited for after it was closed.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        accepted = SocketStream(listener.accept()[0])
    with client:
        async with served() as it:
            it.nursery.start_soon(it.server.serve, accepted, ("127.0.0.1", 1))
            await trio.testing.wait_all_tasks_blocked()
            client.send(get("fast")[:9])
            second = await it.connect(get("fast"))
            assert b'"fast"' in await second.receive_some()
            assert client.recv(1) == b""
    assert not caplog.records


async def test_all_that_came_while_the_server_had_no_turn() -> None:
    with contextlib.ExitStack() as stack:
        listener = bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", 0)
        listener.listen(COUNT)
        clients = [
            stack.enter_context(socket.create_connection(listener.getsockname(), PATIENCE))
            for _ in range(COUNT)
        ]
        for client in clients:
            client.sendall(get("fast"))
        async with served() as it:
            it.nursery.start_soon(it.server.acceptor.accept, listener)
            for client in clients:
                answer = await trio.to_thread.run_sync(client.recv, 10_000)
                assert answer.startswith(b"HTTP/1.1 200 ")
