"""The tasks of one connection's calls: their lines, their end, and who waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import trio
import trio.testing

from esps_portal import CallContext, Limits, Portal
from esps_portal.net.turns import TURNS_AT_ONCE
from esps_portal.protocol.messages import Reply, Request
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import RunningCall
from esps_portal.server.call_tasks import CallTasks, ConnectionCaller
from esps_portal.server.endings import EndReason
from esps_portal.server.observer import PortalExchange
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.shared_work import SharedWork
from esps_portal.services.call import Call
from esps_portal.testing.pipes import CAPACITY, MemoryStream, memory_pair
from tests.patience import PATIENCE


@attrs.define(eq=False)
class Tasks:
    """The calls of one service, and the client that reads their lines."""

    client: MemoryStream
    calls: CallTasks
    protocol: ServerConnection
    replies: ReplyWriter
    ends: list[EndReason]
    nursery: trio.Nursery
    portal: Portal

    async def begin(self, tag: bytes) -> RunningCall:
        request = Request(tag, b"CALL", (b"service",))
        caller = ConnectionCaller(("127.0.0.1", 1), self.calls)
        call = self.portal.answer(request, caller)
        assert isinstance(call, Call)
        running = self.calls.begin(call, PortalExchange(), self.nursery)
        await trio.testing.wait_all_tasks_blocked()
        return running


@contextlib.asynccontextmanager
async def tasks(
    service: Callable[..., Any], shared: SharedWork | None = None
) -> AsyncIterator[Tasks]:
    portal = Portal(limits=Limits())
    portal.service(name="service")(service)
    client, stream = memory_pair()
    ends: list[EndReason] = []
    replies = ReplyWriter(stream, ends.append)
    protocol = ServerConnection(portal.limits)
    async with trio.open_nursery() as nursery:
        calls = CallTasks(protocol, replies, shared or SharedWork(64))
        yield Tasks(client, calls, protocol, replies, ends, nursery, portal)
        nursery.cancel_scope.cancel()


async def test_lines_come_as_they_are_made() -> None:
    may_end = trio.Event()

    async def service(*, call: CallContext) -> str:
        await call.data("1")
        await may_end.wait()
        return "x"

    async with tasks(service) as t:
        running = await t.begin(b"a")
        assert await t.client.receive_some() == b"a DATA 1\n"
        assert t.protocol.running == 1
        may_end.set()
        await t.calls.until_ended(running)
        await t.calls.until_all_ended()
        assert await t.client.receive_some() == b"a OK x\n"
        assert t.protocol.running == 0
        assert t.calls.last_ended > 0


async def test_few_of_many_calls_send_in_one_pass_of_the_loop() -> None:
    may_send, sent, most = trio.Event(), 0, 0

    async def service(*, call: CallContext) -> None:
        nonlocal sent
        await may_send.wait()
        for _ in range(10):
            await call.data("x")
            sent += 1

    shared = SharedWork(1024)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            connection = await stack.enter_async_context(tasks(service, shared))
            for tag in range(32):
                await connection.begin(b"%d" % tag)
        may_send.set()
        while sent < 8 * 32 * 10:
            before = sent
            await trio.lowlevel.checkpoint()
            most = max(most, sent - before)
    # Of two passes, at most: the order of tasks within a pass is random.
    assert most <= 2 * TURNS_AT_ONCE


async def test_a_cancelled_call_counts_until_its_task_has_ended() -> None:
    may_end = trio.Event()

    async def service(*, call: CallContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                await call.data("too late")
                await may_end.wait()

    async with tasks(service) as t:
        running = await t.begin(b"a")
        cancel = t.protocol.read(b"b CANCEL a")
        assert cancel is not None
        t.calls.cancel(running, b"a ERR cancelled\n")
        await trio.testing.wait_all_tasks_blocked()
        assert t.protocol.running == 1
        ended = trio.Event()

        async def wait() -> None:
            await t.calls.until_ended(running)
            ended.set()

        t.nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        may_end.set()
        await ended.wait()
        assert t.protocol.running == 0
        assert t.replies.writer.outgoing == b""


async def test_one_waits_for_one_and_another_for_all() -> None:
    events = {b"a": trio.Event(), b"b": trio.Event()}
    order = iter(events.values())
    ended: list[str] = []

    async def service() -> None:
        await next(order).wait()

    async with tasks(service) as t:
        first = await t.begin(b"a")
        await t.begin(b"b")

        async def one() -> None:
            await t.calls.until_ended(first)
            ended.append("one")

        async def all_() -> None:
            await t.calls.until_all_ended()
            ended.append("all")

        t.nursery.start_soon(one)
        t.nursery.start_soon(all_)
        await trio.testing.wait_all_tasks_blocked()
        events[b"a"].set()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["one"]
        events[b"b"].set()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["one", "all"]


async def test_a_cancelled_task_leaves_the_rest_of_its_line() -> None:
    async def service(*, call: CallContext) -> None:
        await call.data("x" * 5000)
        await trio.sleep_forever()

    async with tasks(service) as t:
        t.replies.writer.outgoing += b"#" * (CAPACITY - 1)
        await t.begin(b"a")
        await t.calls.cancel_all()
        await trio.testing.wait_all_tasks_blocked()
        found = b""
        while not found.endswith(b"x\n"):
            found += await t.client.receive_some()
        assert found.count(b"a DATA " + b"x" * 5000) == 1


async def test_a_reset_while_it_sends_ends_the_connection() -> None:
    cancelled = trio.Event()

    async def service(*, call: CallContext) -> None:
        try:
            await call.data("1")
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with tasks(service) as t:
        await t.client.aclose()
        await t.begin(b"a")
        assert t.ends == [EndReason.BROKEN]
        await t.calls.cancel_all()
        await cancelled.wait()


async def test_a_reset_before_its_last_line_ends_the_connection() -> None:
    async def service() -> str:
        await trio.lowlevel.checkpoint()
        return "x"

    async with tasks(service) as t:
        await t.client.aclose()
        await t.begin(b"a")
        await t.calls.until_all_ended()
        assert t.ends == [EndReason.BROKEN]
        # A CANCEL that had come before finds no call.
        assert t.protocol.running == 0
        assert isinstance(t.protocol.read(b"b CANCEL a"), Reply)
