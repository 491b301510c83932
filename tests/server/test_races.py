"""Events in the same turn of the loop: each order in which they are seen is right."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
import trio
import trio.testing

from esps_portal import CallContext, Limits
from esps_portal.server import answerer
from esps_portal.server.connection import PortalConnection
from esps_portal.services.builtin_portal import builtin_portal
from tests.patience import PATIENCE
from tests.portals import in_memory, running
from tests.proxies import fill, proxied, reset, upstream


async def test_a_line_and_the_deadline(  # ESPS-END-8
    mock_clock: trio.testing.MockClock,
) -> None:
    async with running(idle=600) as portal:
        clients = [await portal.tcp() for _ in range(20)]
        for number, client in enumerate(clients):
            line = b"a CALL delay 0 x\n" if number % 2 else b"a PING x\n"
            os.write(client.stream.socket.fileno(), line)
        mock_clock.jump(600)
        for client in clients:
            assert await client.line() == b"a OK x"
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(600)
        for client in clients:
            assert await client.line() == b"* BYE idle"


@pytest.mark.parametrize("turn", [answerer.TURN_SECONDS, -1.0])
async def test_lines_and_a_shutdown(turn: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come until then is answered, also where each line takes a turn: ESPS-END-5."""
    monkeypatch.setattr(answerer, "TURN_SECONDS", turn)
    async with running() as portal:
        clients = [await portal.tcp() for _ in range(20)]
        sent = b"".join(b"%d CALL echo x\n" % number for number in range(9))
        for client in clients:
            os.write(client.stream.socket.fileno(), sent)
        portal.shut_down()
        answers = [b"%d OK x" % number for number in range(9)]
        for client in clients:
            lines = [await client.line() for _ in range(10)]
            assert lines == [*answers, b"* BYE closing"]


async def test_more_clients_than_there_is_room_for() -> None:  # ESPS-TCP-2
    async with running(max_connections=2) as portal, contextlib.AsyncExitStack() as stack:
        address = portal.listeners.tcp[0]
        peers = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(8)]
        lines = [await trio.to_thread.run_sync(peer.recv, 1000) for peer in peers]
    assert sorted(lines)[:6] == [b"* BYE busy\n"] * 6
    assert all(line.startswith(b"* ESPS/1 ") for line in sorted(lines)[6:])


async def test_a_proxy_has_room_for_so_many_too() -> None:
    async with running() as portal, proxied(portal.listeners.tcp[0], max_connections=2) as front:
        with contextlib.ExitStack() as stack:
            address = front.listeners.tcp[0]
            peers = [
                stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(8)
            ]
            lines = [await trio.to_thread.run_sync(peer.recv, 1000) for peer in peers]
    assert sorted(lines)[:6] == [b"* BYE busy\n"] * 6
    assert all(line.startswith(b"* ESPS/1 ") for line in sorted(lines)[6:])


async def test_the_portals_reset_and_bytes_for_it() -> None:
    """The write that meets the RST consumes the error that another task waits for."""
    for _ in range(8):
        async with upstream() as portal, proxied(portal.address) as front:
            client = await front.connect()
            end = await portal.accept()
            await fill(end)
            reset(end)
            os.write(client.stream.socket.fileno(), b"x")
            assert await front.closed() == [("portal", "rst")]


async def test_a_cancel_and_the_end_of_its_call(  # ESPS-VERB-18
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read without a task, it is carried out before any task may end."""
    # All lines are one turn, even if the machine does other things for a while.
    monkeypatch.setattr("esps_portal.server.answerer.TURN_SECONDS", 60.0)
    portal = builtin_portal("test/1")
    events: list[trio.Event] = []

    @portal.service
    async def hold() -> None:
        events.append(trio.Event())
        await events[-1].wait()

    @portal.service
    def release() -> None:
        events[-1].set()

    async with running(portal) as server:
        peer = await server.tcp()
        for _ in range(20):  # the two tasks have their turns in any order
            await peer.send(b"a CALL hold\nb PING\n")
            assert await peer.line() == b"b OK"
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(b"c CALL release\nd CANCEL a\ne PING\n")
            answers = [await peer.line() for _ in range(4)]
            assert answers == [b"c OK", b"a ERR cancelled", b"d OK", b"e OK"]


async def test_a_shutdown_and_a_cancel_whose_reply_cannot_be_sent_yet() -> None:
    # ESPS-VERB-18, ESPS-VERB-21
    portal = builtin_portal("test/1", Limits(drain=1000))
    async with in_memory(portal) as connection, trio.open_nursery() as nursery:
        await connection.send(b"s CALL stall\n" + b"p PING %b\n" % (b"x" * 5990) * 10)
        # Nothing is read, so these replies are stuck, and the last one among them.
        await connection.send(b"p PING %b\n" % (b"x" * 5990) * 2 + b"c CANCEL s\n")
        nursery.start_soon(connection.server.shut_down)
        await trio.testing.wait_all_tasks_blocked()
        found = await connection.rest()
        assert found.splitlines()[-3:] == [b"s ERR cancelled", b"* BYE closing", b"c OK"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("last", [b"", b"q QUIT\n"])
async def test_a_shutdown_and_lines_for_which_there_was_no_room(last: bytes) -> None:
    """Each has an answer, once the client reads: ESPS-END-5, ESPS-END-6."""
    portal = builtin_portal("test/1", Limits(drain=1000))
    async with in_memory(portal) as connection, trio.open_nursery() as nursery:
        lines = [b"%d CALL random 2048 1\n" % number for number in range(100)]
        await connection.send(b"".join(lines) + last)
        nursery.start_soon(connection.server.shut_down)
        await trio.testing.wait_all_tasks_blocked()
        answers = (await connection.rest()).splitlines()[1:]
        kinds = [answer.split()[1:3] for answer in answers]
        executed = sum(kind == b"OK" for kind, *_ in kinds)
        assert 0 < executed < 100
        assert answers[executed] == b"* BYE closing"
        assert kinds[executed + 1 :] == [[b"ERR", b"closing"]] * (100 - executed + bool(last))
        nursery.cancel_scope.cancel()


async def test_an_abort_and_the_start_of_a_task() -> None:
    """As at a reset: the task that is to wait for a client which does not read has not begun."""
    portal = builtin_portal("test/1")
    async with in_memory(portal) as connection:
        start = connection.server.start

        def start_and_abort(served: PortalConnection) -> None:
            start(served)
            served.abort()

        connection.ready.start = start_and_abort
        await connection.send(b"p PING %b\n" % (b"x" * 5990) * 20)
        await connection.ended.wait()
        with pytest.raises(trio.BrokenResourceError):
            await connection.client.receive_some()


async def test_the_end_of_a_connection_and_a_line_of_another_call() -> None:  # ESPS-TCP-10
    portal = builtin_portal("test/1")
    may_speak, ended = trio.Event(), trio.Event()

    @portal.service
    async def late(*, call: CallContext) -> None:
        try:
            await may_speak.wait()
            await call.data("late")
        finally:
            ended.set()

    async with in_memory(portal) as connection:
        await connection.send(b"l CALL late\n" + b"p PING %b\n" % (b"x" * 5990) * 10)
        await connection.send(b"t CALL truncate 8000\n")
        may_speak.set()
        await trio.testing.wait_all_tasks_blocked()
        found = await connection.rest()
        await ended.wait()
        assert found.endswith(b"\nt OK " + b"x" * 7995)
