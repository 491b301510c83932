"""What all connections hold together is bounded: those that hold most are reset."""

from __future__ import annotations

import pytest
import trio

from esps_portal.net import buffered_bytes
from esps_portal.net.buffered_bytes import BufferedBytes
from esps_portal.net.writer import HIGH_WATER
from esps_portal.server.serving import portal_connection
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.testing.pipes import memory_pair
from tests.patience import PATIENCE
from tests.portals import running

LIMIT = 1_048_576  # the smallest that is allowed


class Held:
    """A connection, as it is counted."""

    def __init__(self, name: str, evicted: list[str]) -> None:
        self._name = name
        self._evicted = evicted

    def evict(self) -> None:
        self._evicted.append(self._name)


def test_those_that_hold_most_are_ended() -> None:
    evicted: list[str] = []
    a, b, c = (Held(name, evicted) for name in "abc")
    held = BufferedBytes(10)
    held.note(a, 6)
    held.note(b, 4)
    assert (held.total, evicted) == (10, [])
    held.note(b, 3)
    held.note(c, 1)
    assert (held.total, evicted) == (10, [])
    held.note(c, 2)
    assert (held.total, evicted) == (5, ["a"])
    held.note(a, 0)  # it ends
    held.note(b, 8)
    assert (held.total, evicted) == (10, ["a"])
    held.note(c, 3)
    assert (held.total, evicted) == (3, ["a", "b"])
    held.note(c, 11)
    assert (held.total, evicted) == (0, ["a", "b", "c"])


def test_of_equal_ones_the_oldest_is_ended() -> None:
    evicted: list[str] = []
    held = BufferedBytes(5)
    for name in "abc":
        held.note(Held(name, evicted), 2)
    assert evicted == ["a"]


async def is_reset(stream: trio.abc.ReceiveStream) -> bool:
    """Read what has come; return whether that is RST."""
    try:
        await stream.receive_some(65536)
    except trio.BrokenResourceError:
        return True
    return False


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[BufferedBytes]:
    """Those that count for the servers of the test."""
    found: list[BufferedBytes] = []
    begin = BufferedBytes.__init__

    def noted(self: BufferedBytes, limit: int) -> None:
        begin(self, limit)
        found.append(self)

    monkeypatch.setattr(buffered_bytes.BufferedBytes, "__init__", noted)
    return found


async def test_many_that_read_nothing_hold_no_more_than_the_limit() -> None:  # ESPS-LIM-6
    portal, held = builtin_portal("test/1"), BufferedBytes(10 * HIGH_WATER)
    async with trio.open_nursery() as nursery:
        clients, connections = [], []
        for number in range(20):
            client, stream = memory_pair()
            connection = portal_connection(portal, stream, ("test", number), buffered=held)
            nursery.start_soon(connection.run)
            # More than the pipe takes and the writer may hold.
            await client.send_all(b"".join(b"%d CALL chargen 2000 512\n" % n for n in range(20)))
            await trio.testing.wait_all_tasks_blocked()
            assert held.total <= 10 * HIGH_WATER
            clients.append(client)
            connections.append(connection)
        assert held.total > 8 * HIGH_WATER
        are_reset = [await is_reset(client) for client in clients]
        assert 10 <= are_reset.count(True) <= 12
        for connection in connections:
            connection.abort()
    assert held.total == 0


async def test_the_one_that_holds_most_is_reset() -> None:  # ESPS-LIM-6
    async with running(
        max_buffered=LIMIT, max_line=2 * LIMIT, max_unterminated=4 * LIMIT
    ) as listening:
        small, large, larger = [await listening.tcp() for _ in range(3)]
        await small.send(b"a CALL echo ")
        await large.send(b"a CALL echo " + b"x" * 300_000)

        async def send_too_much() -> None:
            await larger.send(b"a CALL echo " + b"x" * 1_000_000)
            await larger.stream.receive_some()

        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await send_too_much()
        await small.send(b"x\n")
        assert await small.line() == b"a OK x"
        await large.send(b"\nb PING\n")
        assert (await large.line()).startswith(b"a ")
        assert await large.line() == b"b OK"


async def test_what_is_answered_is_held_no_more(counted: list[BufferedBytes]) -> None:
    async with running() as listening:
        peer = await listening.tcp()
        await peer.send(b"a CALL echo ")
        await peer.send(b"x\n")
        assert await peer.line() == b"a OK x"
        await peer.send(b"b CALL chargen 2000 500\n")
        for _ in range(2000):
            assert (await peer.line()).startswith(b"b DATA ")
        assert await peer.line() == b"b OK"
        assert counted[0].total == 0
