"""Many clients of a control port at a time: some are served in each pass of the loop."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.control.endpoint import Endpoint
from esps_portal.control.guard import Guard
from esps_portal.control.http_handler import HttpHandler
from esps_portal.control.http_messages import RequestHead
from esps_portal.control.room import Room
from esps_portal.control.router import FoundEndpoint, find_endpoint
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.connection_server import MAX_ENDED, ConnectionServer
from esps_portal.net.turns import ConnectionTurns, Turns
from esps_portal.peer.units import PeerUnits
from esps_portal.testing.pipes import MemoryStream, ServerEnd, memory_pair
from tests.control.controlled import controlled
from tests.passes import Passes
from tests.patience import PATIENCE

CLIENTS, AT_ONCE, ROUNDS = 24, 2, 4
PART = "x" * 32_768  # as many as are made at once
# A turn of one that comes while the loop waits is counted for the next pass (`Turns`).
MOST = 2 * AT_ONCE


@attrs.frozen
class Site:
    """A site of which one page is counted, and of another one the parts of its body."""

    passes: Passes

    def find(self, head: RequestHead) -> FoundEndpoint:
        routes = {
            "page": {"GET": Endpoint(lambda _, __: self.passes.note(object()))},
            "other": {"GET": Endpoint(lambda _, __: None)},
            "large": {"GET": Endpoint(lambda _, __: self._parts())},
        }
        found = find_endpoint(routes, None, head.path[1:].split("/"), head)
        assert found is not None
        return found

    def _parts(self) -> Iterator[str]:
        """Yield two that are sent with the head, and then those that are counted."""
        for number in range(ROUNDS + 2):
            if number > 1:
                self.passes.note(object())
            yield PART


def get(page: str) -> bytes:
    return f"GET /{page} HTTP/1.1\r\nHost: localhost:7\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def clients(passes: Passes, **kinds: int) -> AsyncIterator[list[MemoryStream]]:
    """Connect some; give them few turns of these kinds in a pass."""
    turns = ConnectionTurns(**{kind: Turns(count, seconds=30) for kind, count in kinds.items()})
    site, room, guard = Site(passes), Room(CLIENTS), Guard(frozenset({"localhost:7"}))

    def handler(stream: ServerEnd, _: object) -> HttpHandler:
        return HttpHandler(stream, guard, site, room, turns)

    with passes.counted(), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            server = ConnectionServer(handler, AcceptPolicy(max_connections=CLIENTS), nursery)
            pairs = [memory_pair() for _ in range(CLIENTS)]
            for _, stream in pairs:
                nursery.start_soon(server.serve, stream, ("memory", 1))
            yield [client for client, _ in pairs]
            nursery.cancel_scope.cancel()


async def send_at_once(streams: list[MemoryStream], data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.send_all, data)


async def test_some_requests_are_answered_in_each_pass() -> None:
    passes = Passes()
    async with clients(passes, input=AT_ONCE) as streams:
        await send_at_once(streams, get("page"))
        for stream in streams:
            assert b" 200 OK" in await stream.receive_some()
    assert passes.count == CLIENTS
    assert passes.most <= MOST


async def test_some_of_those_who_ask_on_are_answered_in_each_pass() -> None:
    passes = Passes()
    async with clients(passes, work=AT_ONCE) as streams:
        await send_at_once(streams, get("other") + ROUNDS * get("page"))
        for stream in streams:
            answers = b""
            while answers.count(b" 200 OK") <= ROUNDS:
                answers += await stream.receive_some()
    assert passes.count == ROUNDS * CLIENTS
    assert passes.most <= MOST


async def test_some_parts_of_large_replies_are_made_in_each_pass() -> None:
    passes = Passes()
    async with clients(passes, work=AT_ONCE) as streams, trio.open_nursery() as nursery:
        await send_at_once(streams, get("large"))
        for stream in streams:
            nursery.start_soon(read_all_parts, stream)
    assert passes.count == ROUNDS * CLIENTS
    assert passes.most <= MOST


async def read_all_parts(stream: MemoryStream) -> None:
    reply = b""
    while not reply.endswith(b"\r\n0\r\n\r\n"):
        reply += await stream.receive_some()


async def test_what_comes_after_an_error_is_discarded_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clients that never stop sending."""
    passes, receive, reads = Passes(), ServerEnd.receive, Counter[ServerEnd]()
    done = trio.Event()

    async def noted(self: ServerEnd) -> bytes:
        data = await receive(self)
        if data.startswith(b"m"):
            reads[self] += 1
            if reads[self] > 1:  # the first time it need not have waited
                passes.note(self)
            if len(reads) == CLIENTS and min(reads.values()) == ROUNDS:
                done.set()
        return data

    async def send_on(stream: MemoryStream) -> None:
        while True:
            await stream.send_all(b"m")

    monkeypatch.setattr(ServerEnd, "receive", noted)
    async with clients(passes, work=AT_ONCE) as streams, trio.open_nursery() as nursery:
        await send_at_once(streams, b"@\r\n\r\n")
        for stream in streams:
            assert b" 400 " in await stream.receive_some()
            nursery.start_soon(send_on, stream)
        await done.wait()
        nursery.cancel_scope.cancel()
    assert passes.most <= MOST


async def test_some_connections_of_a_server_that_is_ended_end_in_each_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes, closed = Passes(), PeerUnits.closed

    def noted(self: PeerUnits, now: float) -> None:
        passes.note(self)
        closed(self, now)

    monkeypatch.setattr(PeerUnits, "closed", noted)
    async with controlled() as it, contextlib.AsyncExitStack() as open_streams:
        client = await it.client()
        peer = await client.post("/peers", {"name": "a", "framing": "lines:lf"})
        for _ in range(CLIENTS):
            stream = await trio.open_tcp_stream(peer["host"], peer["port"])
            await open_streams.enter_async_context(stream)
        await trio.testing.wait_all_tasks_blocked()
        with passes.counted():
            assert await client.delete("/peers/a") == {}
    assert passes.count == CLIENTS
    assert passes.most <= MAX_ENDED
