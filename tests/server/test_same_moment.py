"""What comes in the same turn of the loop, in whatever order it is then looked at."""

from __future__ import annotations

import contextlib
import functools
import os
import socket

import trio
import trio.testing

from esps_portal import CallContext, Limits, Portal
from esps_portal.net.accept import ConnectionServer
from esps_portal.server.connection import accept_policy, portal_connection
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.testing.pipes import memory_pair
from tests.portals import running
from tests.proxies import fill, proxied, reset, upstream


def connections_of(portal: Portal, nursery: trio.Nursery) -> ConnectionServer:
    handler = functools.partial(portal_connection, portal)
    return ConnectionServer(handler, accept_policy(portal.limits), nursery)


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


async def test_more_clients_than_there_is_room_for() -> None:  # ESPS-TCP-2
    async with running(max_connections=2) as portal, contextlib.AsyncExitStack() as stack:
        address = portal.listening.tcp[0]
        peers = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
        lines = [await trio.to_thread.run_sync(peer.recv, 1000) for peer in peers]
    assert sorted(lines)[:6] == [b"* BYE busy\n"] * 6
    assert all(line.startswith(b"* ESPS/1 ") for line in sorted(lines)[6:])


async def test_a_proxy_has_room_for_so_many_too() -> None:
    async with running() as portal, proxied(portal.listening.tcp[0], max_connections=2) as front:
        with contextlib.ExitStack() as stack:
            address = front.listening.tcp[0]
            peers = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
            lines = [await trio.to_thread.run_sync(peer.recv, 1000) for peer in peers]
    assert sorted(lines)[:6] == [b"* BYE busy\n"] * 6
    assert all(line.startswith(b"* ESPS/1 ") for line in sorted(lines)[6:])


async def test_the_portals_reset_and_octets_for_it() -> None:
    """The write that meets the RST takes the error away from who waiters for it."""
    for _ in range(8):
        async with upstream() as portal, proxied(portal.address) as front:
            client = await front.connect()
            end = await portal.accept()
            await fill(end)
            reset(end)
            os.write(client.stream.socket.fileno(), b"x")
            assert await front.closed() == [("portal", "rst")]


async def test_a_shutdown_and_a_cancel_that_cannot_be_told_yet() -> None:
    # ESPS-VERB-18, ESPS-VERB-21
    portal = builtin_portal("test/1", Limits(drain=1000))
    async with trio.open_nursery() as nursery:
        server = connections_of(portal, nursery)
        client, stream = memory_pair()
        nursery.start_soon(server.serve, stream, ("memory", 1))
        await client.send_all(b"s CALL stall\n" + b"p PING %b\n" % (b"x" * 5990) * 10)
        await trio.testing.wait_all_tasks_blocked()
        # Nothing is read, so these answers are stuck, and the last one among them.
        await client.send_all(b"p PING %b\n" % (b"x" * 5990) * 2 + b"c CANCEL s\n")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shut_down)
        await trio.testing.wait_all_tasks_blocked()
        said = b""
        with trio.fail_after(30):
            while data := await client.receive_some():
                said += data
        assert said.splitlines()[-3:] == [b"s ERR cancelled", b"* BYE closing", b"c OK"]
        nursery.cancel_scope.cancel()


async def test_a_farewell_and_a_line_of_another_call() -> None:  # ESPS-TCP-10
    portal = builtin_portal("test/1")
    may_speak, ended = trio.Event(), trio.Event()

    @portal.service
    async def late(*, call: CallContext) -> None:
        try:
            await may_speak.wait()
            await call.data("late")
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        server = connections_of(portal, nursery)
        client, stream = memory_pair()
        nursery.start_soon(server.serve, stream, ("memory", 1))
        await client.send_all(b"l CALL late\n" + b"p PING %b\n" % (b"x" * 5990) * 10)
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(b"t CALL truncate 8000\n")
        await trio.testing.wait_all_tasks_blocked()
        may_speak.set()
        await trio.testing.wait_all_tasks_blocked()
        said = b""
        with trio.fail_after(30):
            while data := await client.receive_some():
                said += data
            await ended.wait()
        assert said.endswith(b"\nt OK " + b"x" * 7995)
        nursery.cancel_scope.cancel()
