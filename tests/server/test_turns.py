"""Nobody holds the loop: what one client may have done before the others have their turn."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from esps_portal import Limits, Portal
from esps_portal.clock import monotonic
from esps_portal.net.turns import TURNS_AT_ONCE
from esps_portal.net.writer import HIGH_WATER
from esps_portal.server.answerer import TURN_LINES, TURN_SECONDS
from esps_portal.server.shared_work import INPUT_AT_ONCE
from esps_portal.services.builtin_portal import builtin_portal
from tests.passes import Passes
from tests.portals import Running, StreamPeer, in_memory, running

NAMES = (b"first", b"second", b"third")


class Calls:
    """A portal that notes who has called, in order."""

    def __init__(self, act: Callable[[], object] = lambda: None, *, echo: bool = False) -> None:
        self.portal = Portal(limits=Limits())
        self.seen: list[bytes] = []

        @self.portal.service(idempotent=True)
        def note(*args: bytes) -> tuple[bytes, ...]:
            self.seen.append(args[0])
            act()
            return args if echo else ()

    def longest_row(self) -> int:
        """How many calls of one client came in a row while others waited."""
        ends = [max(i for i, who in enumerate(self.seen) if who == name) for name in NAMES]
        row = longest = 1
        for before, after in zip(self.seen, self.seen[1 : min(ends) + 1], strict=False):
            row = row + 1 if before == after else 1
            longest = max(longest, row)
        return longest


@contextlib.asynccontextmanager
async def clients(portal: Portal) -> AsyncIterator[tuple[Running, list[StreamPeer]]]:
    async with running(portal) as server:
        peers = [await server.tcp() for _ in NAMES]
        for peer in peers:  # of what follows, none is a first line
            await peer.send(b"0 PING\n")
            assert await peer.line() == b"0 OK"
        yield server, peers


def send_at_once(peers: list[StreamPeer], line: bytes, count: int) -> None:
    """Let all of it be in the server's kernel before the server has a turn."""
    for peer, name in zip(peers, NAMES, strict=True):
        os.write(peer.stream.socket.fileno(), (line % name) * count)


@pytest.mark.parametrize("line", [b"a CALL note %b\n", b"a CALL note %b #\n"])
async def test_a_turn_has_so_many_lines(line: bytes) -> None:
    """Whether they are plain requests, that are answered in bulk, or others."""
    calls = Calls()
    async with clients(calls.portal) as (_, peers):
        send_at_once(peers, line, 3 * TURN_LINES)
        for peer in peers:
            for _ in range(3 * TURN_LINES):
                assert await peer.line() == b"a OK"
    assert len(calls.seen) == 9 * TURN_LINES
    assert calls.longest_row() <= TURN_LINES


@pytest.mark.parametrize("echo", [False, True])
async def test_a_turn_ends_with_a_call_that_takes_long(echo: bool) -> None:
    def act() -> None:
        until = monotonic() + TURN_SECONDS
        while monotonic() < until:
            pass

    calls = Calls(act, echo=echo)
    async with clients(calls.portal) as (_, peers):
        send_at_once(peers, b"a CALL note %b\n", 5)
        for peer in peers:
            for _ in range(5):
                assert (await peer.line()).startswith(b"a OK")
    assert calls.longest_row() == 1


async def test_a_batch_of_turns_lets_udp_and_newcomers_have_theirs() -> None:
    """Slow calls of many clients: who comes later does not wait for the end of them all."""
    seen: list[bytes] = []

    def act() -> None:
        until = monotonic() + 2 * TURN_SECONDS
        while monotonic() < until:
            pass

    calls = Calls(act)
    calls.seen = seen
    async with clients(calls.portal) as (server, peers):
        send_at_once(peers, b"a CALL note %b\n", 20)
        udp = server.udp()
        udp.send(b"a CALL note udp\n")
        newcomer = await server.tcp()
        await newcomer.send(b"a CALL note newcomer\n")
        assert await newcomer.line() == b"a OK"
        assert await udp.receive() == b"a OK\n"
        for peer in peers:
            for _ in range(20):
                assert await peer.line() == b"a OK"
    assert len(seen) == 62
    assert seen.index(b"udp") < 30
    assert seen.index(b"newcomer") < 50


@pytest.mark.parametrize(
    "line", [b"@\n", b"a NOVERB\n", b"a CALL random 2000\n", b"a CALL random 2000 #\n"]
)
async def test_what_waits_for_a_client_that_does_not_read_is_bounded(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notices and errors count as replies do."""
    # However fast the machine is.
    monkeypatch.setattr("esps_portal.server.answerer.TURN_SECONDS", 60.0)
    longest_reply = 8192
    async with in_memory(builtin_portal("x/1")) as memory:
        await memory.client.receive_some(100)
        await memory.send(b"0 PING\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.client.send_all, line * (1_000_000 // len(line)))
            await trio.testing.wait_all_tasks_blocked()
            (connection,) = memory.server.connections
            held = len(connection._writer.outgoing)  # noqa: SLF001
            assert 0 < held <= HIGH_WATER + longest_reply
            nursery.cancel_scope.cancel()


async def test_a_connection_that_only_waits_has_no_task() -> None:
    async with running() as server:
        peers = [await server.tcp()]
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        peers += [await server.tcp() for _ in range(30)]
        for peer in peers:
            await peer.send(b"a CALL echo x\n")
            assert await peer.line() == b"a OK x"
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_where_there_is_no_epoll_each_connection_has_its_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("esps_portal.server.serving.new_poller", lambda: None)
    async with running() as server:
        peers = [await server.tcp() for _ in range(5)]
        tasks = trio.lowlevel.current_statistics().tasks_living
        for peer in peers:
            await peer.send(b"a CALL echo x\n" * 300)
            assert [await peer.line() for _ in range(300)] == [b"a OK x"] * 300
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        before = tasks
        await peers[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before - 1


async def test_it_has_none_again_once_its_call_has_ended_and_it_has_said_more() -> None:
    async with running() as server:
        peer = await server.tcp()
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        await peer.send(b"a CALL delay 60000\nb PING\n")
        assert await peer.line() == b"b OK"
        assert trio.lowlevel.current_statistics().tasks_living > before
        # While the call runs the others are answered at once, in order.
        await peer.send(b"c PING\nd CALL echo x\n")
        assert [await peer.line(), await peer.line()] == [b"c OK", b"d OK x"]
        await peer.send(b"e CANCEL a\n")
        assert (await peer.line()).startswith(b"a ERR cancelled")
        assert await peer.line() == b"e OK"
        await peer.send(b"f PING\n")
        assert await peer.line() == b"f OK"
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_client_that_reads_again_is_answered_on() -> None:
    """Its connection has left the set while output waited."""
    async with running() as server:
        peer = await server.tcp()
        count = 0
        lines = b"a CALL random 2000 1\n" * 100
        for _ in range(20):
            await peer.send(lines)
            count += 100
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(count):
            assert (await peer.line()).startswith(b"a OK ")
        await peer.send(b"b PING\n")
        assert await peer.line() == b"b OK"


async def test_a_client_that_hangs_up_while_output_waits_makes_no_events() -> None:
    """Registered with an empty mask it would be reported again and again."""
    async with running(stall=30) as server:
        peer = await server.tcp()
        await peer.send(b"a CALL random 2000 1\n" * 2000)
        await trio.testing.wait_all_tasks_blocked()
        other = await server.tcp()
        await peer.stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()  # never, if one was always ready
        await other.send(b"b PING\n")
        assert await other.line() == b"b OK"


async def test_few_of_many_tasks_answer_in_one_pass_of_the_loop() -> None:
    """Clients that each have a call that runs, and as much to ask as one read brings."""
    passes, portal = Passes(), builtin_portal("test/1", Limits())

    @portal.service(idempotent=True)
    def note() -> None:
        passes.note(trio.lowlevel.current_task())

    async with running(portal) as server:
        peers = [await server.tcp() for _ in range(60)]
        with passes.counted():
            for peer in peers:  # and the server has no turn meanwhile
                os.write(peer.stream.socket.fileno(), b"a CALL stall\n" + b"b CALL note\n" * 1000)
            for peer in peers:
                for _ in range(1000):
                    assert await peer.line() == b"b OK"
    assert passes.count >= 60
    # One more is the task that serves those who need none.
    assert passes.most <= INPUT_AT_ONCE + 1


async def test_few_of_many_calls_end_in_one_pass_of_the_loop() -> None:
    """All clients go at once, each of whom has many calls."""
    passes, portal, running_now = Passes(), Portal(limits=Limits()), 0
    all_run, all_ended = trio.Event(), trio.Event()

    @portal.service()
    async def wait() -> None:
        nonlocal running_now
        running_now += 1
        if running_now == 16 * 64:
            all_run.set()
        try:
            await trio.sleep_forever()
        finally:
            passes.note(trio.lowlevel.current_task())
            running_now -= 1
            if not running_now:
                all_ended.set()

    async with running(portal) as server:
        peers = [await server.tcp() for _ in range(16)]
        for peer in peers:
            await peer.send(b"".join(b"%d CALL wait\n" % tag for tag in range(64)))
        await all_run.wait()
        with passes.counted():
            for peer in peers:
                peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.stream.socket.close()
            await all_ended.wait()
    assert passes.count == 16 * 64
    # Of two passes, at most: the order of tasks within a pass is random.
    assert passes.most <= 2 * TURNS_AT_ONCE


async def test_one_that_is_reset_while_nothing_runs_ends_without_a_task() -> None:
    started: list[object] = []

    class Starts(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            started.append(task)

    async with running(Portal(limits=Limits())) as server:
        peers = [await server.tcp() for _ in range(20)]
        for peer in peers:
            await peer.send(b"a PING\n")
            assert await peer.line() == b"a OK"
        instrument = Starts()
        trio.lowlevel.add_instrument(instrument)
        for peer in peers:
            peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.stream.socket.close()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
        newcomer = await server.tcp()
        await newcomer.send(b"a PING\n")
        assert await newcomer.line() == b"a OK"
    assert started == []
