"""Many clients of a proxy at a time: some are served in each pass of the loop."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from esps_portal.journal.tap import StreamTap
from esps_portal.net.connection_server import MAX_ENDED
from esps_portal.net.dial import dial
from esps_portal.net.dial_order import DialPlace
from esps_portal.net.port_control import PortControl
from esps_portal.net.turns import ConnectionTurns, Turns
from esps_portal.proxy.tcp_relay import Relay
from esps_portal.proxy.unit_reader import UnitReader
from tests.passes import Passes
from tests.proxies import Proxied, Upstream, proxied, reset, upstream

CLIENTS, AT_ONCE = 24, 2
# A turn of one that comes while the loop waits is counted for the next pass (`Turns`).
MOST = 2 * AT_ONCE


class Many:
    """A proxy with many clients, each of which is connected to the upstream."""

    def __init__(self, proxy: Proxied, up: Upstream) -> None:
        self._proxy = proxy
        self._up = up
        self.clients: list[trio.SocketStream] = []
        self.servers: list[trio.SocketStream] = []

    @property
    def ports(self) -> PortControl:
        return self._proxy.listeners.ports

    async def connect(self) -> None:
        self.clients = [self._proxy.connect_at_once() for _ in range(CLIENTS)]
        for _ in range(CLIENTS):
            self.servers.append(await self._up.accept())

    async def shut_down(self) -> None:
        """Shut the proxy down, and wait until it has ended."""
        self._proxy.shut_down()
        await self._proxy.ended.wait()

    async def ended(self) -> list[tuple[str, str]]:
        return await self._proxy.closed()


@contextlib.asynccontextmanager
async def many(**limits: float) -> AsyncIterator[Many]:
    async with upstream() as up, proxied(up.address, transport="tcp", **limits) as proxy:
        yield Many(proxy, up)


def few_turns(monkeypatch: pytest.MonkeyPatch, **kinds: int) -> None:
    """Give connections few turns of these kinds in a pass, however long they take."""
    turns = ConnectionTurns(**{kind: Turns(count, seconds=30) for kind, count in kinds.items()})
    monkeypatch.setattr("esps_portal.net.serving.ConnectionTurns", lambda: turns)


@contextlib.contextmanager
def noted(monkeypatch: pytest.MonkeyPatch, worker: type[object], name: str) -> Iterator[Passes]:
    """Note in which pass each of them does something."""
    passes, work = Passes(), getattr(worker, name)

    def note(self: object, *args: object, **more: object) -> object:
        passes.note(self)
        return work(self, *args, **more)

    monkeypatch.setattr(worker, name, note)
    with passes.counted():
        yield passes


async def test_some_begin_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """They connect in turns; and go on in turns, though the upstream takes them all at once."""
    few_turns(monkeypatch, opening=AT_ONCE)
    connects, are_taken = Passes(), trio.Event()

    async def late(host: str, port: int, place: DialPlace | None) -> socket.socket:
        connects.note(object())
        if connects.count == CLIENTS:
            are_taken.set()
        await are_taken.wait()
        return await dial(host, port, place=place)

    monkeypatch.setattr("esps_portal.proxy.connector.dial", late)
    with connects.counted(), noted(monkeypatch, Relay, "_relay") as passes:
        async with many() as crowd:
            await crowd.connect()
    for seen in connects, passes:
        assert seen.count == CLIENTS
        assert seen.most <= MOST


async def test_some_are_read_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    few_turns(monkeypatch, input=AT_ONCE)
    async with many() as crowd:
        await crowd.connect()
        with noted(monkeypatch, UnitReader, "take") as passes:
            for client in crowd.clients:  # and the proxy has no turn meanwhile
                os.write(client.socket.fileno(), b"a PING\n")
            for server in crowd.servers:
                assert await server.receive_some() == b"a PING\n"
    assert passes.count == CLIENTS
    assert passes.most <= MOST


@pytest.mark.parametrize("is_read", [True, False])
async def test_some_end_in_each_pass_when_the_upstream_dies(
    is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that wait for room, which are not read meanwhile."""
    few_turns(monkeypatch, input=AT_ONCE)
    async with many() as crowd:
        await crowd.connect()
        if not is_read:
            for server in crowd.servers:
                await server.send_eof()  # then only a RST can come from there
            for client in crowd.clients:
                assert await client.receive_some() == b""
        with noted(monkeypatch, Relay, "_note") as passes:
            for server in crowd.servers:
                reset(server)
            assert await crowd.ended() == [("portal", "rst" if is_read else "fin")] * CLIENTS
    assert passes.count >= CLIENTS
    assert passes.most <= MOST


@pytest.mark.parametrize("how", ["down", "reset"])
async def test_some_end_in_each_pass_of_an_outage(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a test calls; a reset ends first what a silent network has held up."""
    async with many() as crowd:
        await crowd.connect()
        with noted(monkeypatch, StreamTap, "closed") as passes:
            if how == "down":
                crowd.ports.down()
                await crowd.ports.until_down()
            else:
                crowd.ports.down("silent")
                await crowd.ports.reset()
    assert passes.count == CLIENTS
    assert passes.most <= MAX_ENDED


async def test_some_end_in_each_pass_when_a_drain_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The upstream does not end."""
    async with many(drain=0.01, linger=0.01) as crowd:
        await crowd.connect()
        with noted(monkeypatch, StreamTap, "closed") as passes:
            await crowd.shut_down()
    assert passes.count == CLIENTS
    assert passes.most <= MAX_ENDED
