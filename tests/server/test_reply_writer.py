"""The lines of one connection: plain, under a fault, in turn, and none after the end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import attrs
import trio
import trio.testing

from esps_portal.faults.fault import Fault
from esps_portal.faults.plan import FaultPlan
from esps_portal.server.endings import EndReason
from esps_portal.server.observer import PortalExchange
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.testing.pipes import MemoryStream, memory_pair


@attrs.define(eq=False)
class Written:
    """A reply writer, and why its connection ends."""

    client: MemoryStream
    replies: ReplyWriter
    nursery: trio.Nursery
    ends: list[EndReason]

    def exchange(self, kind: str = "", **said: object) -> PortalExchange:
        """Return an exchange, under a fault if one is named."""
        exchange = PortalExchange()
        if kind:
            self.replies.expect_fault(self.nursery)
            exchange.plan = FaultPlan.of(Fault.create(kind, **said))
        return exchange

    @property
    def outgoing(self) -> bytes:
        return bytes(self.replies.writer.outgoing)

    def take(self) -> bytes:
        taken = self.outgoing
        self.replies.writer.outgoing.clear()
        return taken

    async def start(self, line: bytes, exchange: PortalExchange) -> None:
        async def write() -> None:
            await self.replies.write(line, exchange, final=True, must_send=True)

        self.nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def written() -> AsyncIterator[Written]:
    client, stream = memory_pair()
    ends: list[EndReason] = []
    async with trio.open_nursery() as nursery:
        yield Written(client, ReplyWriter(stream, ends.append), nursery, ends)
        nursery.cancel_scope.cancel()
    await client.aclose()


async def test_without_faults_a_line_is_added() -> None:
    async with written() as w:
        await w.replies.write(b"a OK\n", w.exchange(), final=True, must_send=False)
        w.replies.append(b"b OK\n")
        assert w.outgoing == b"a OK\nb OK\n"
        assert w.replies.has_work
        assert not w.replies.is_busy
        assert not w.replies.is_delaying
        await w.replies.until_idle()
        w.replies.hurry()
        w.take()
        assert not w.replies.has_work


async def test_a_fault_shapes_a_line_and_others_wait_their_turn(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with written() as w:
        await w.start(b"a OK\n", w.exchange("slice", pause=600))
        assert w.replies.is_busy
        assert w.replies.is_delaying
        assert w.replies.has_work
        await w.start(b"b OK\n", w.exchange())
        assert w.outgoing == b""  # the piece is sent
        mock_clock.jump(600)
        await trio.testing.wait_all_tasks_blocked()
        await w.replies.until_idle()
        assert not w.replies.has_work
        assert w.replies.last_delayed == trio.current_time()


async def test_a_line_that_cannot_wait_completes_what_is_out_in_part() -> None:
    async with written() as w:
        await w.start(b"a OK\n", w.exchange("slice", pause=600, at=2))
        w.replies.append(b"* BYE closing\n")
        assert w.outgoing == b"OK\n* BYE closing\n"


async def test_a_line_comes_after_what_is_held() -> None:
    async with written() as w:
        await w.start(b"a OK\n", w.exchange("coalesce", replies=2, seconds=600))
        assert w.replies.has_work
        assert not w.replies.is_delaying
        w.replies.append(b"* BYE closing\n")
        assert w.outgoing == b"a OK\n* BYE closing\n"


async def test_a_fault_ends_the_connection_and_nothing_is_added() -> None:
    async with written() as w:
        exchange = w.exchange("close")
        await w.replies.write(b"a OK\n", exchange, final=True, must_send=True)
        assert w.ends == [EndReason.CLOSE]
        assert w.replies.is_final
        await w.replies.write(b"b OK\n", w.exchange(), final=True, must_send=True)
        assert w.outgoing == b""


async def test_a_line_that_waits_its_turn_when_the_connection_ends_is_dropped() -> None:
    async with written() as w:
        await w.start(b"a OK\n", w.exchange("slice", pause=600, at=2))
        await w.start(b"b OK\n", w.exchange())
        assert await w.client.receive_some() == b"a "
        w.replies.end_for(EndReason.CLOSE)
        w.replies.release()
        await w.replies.until_idle()
        await w.replies.writer.send_everything()
        assert await w.client.receive_some() == b"OK\n"
        assert not w.replies.has_work


async def test_hurry() -> None:
    async with written() as w:
        await w.start(b"a OK\n", w.exchange("slice", pause=600))
        assert await w.client.receive_some() == b"a "
        w.replies.hurry()
        await w.replies.until_idle()
        await w.replies.writer.send_everything()
        assert await w.client.receive_some() == b"OK\n"


async def test_a_reset_while_held_lines_are_released(mock_clock: trio.testing.MockClock) -> None:
    client, stream = memory_pair()
    ends: list[EndReason] = []
    async with trio.open_nursery() as nursery:
        w = Written(client, ReplyWriter(stream, ends.append), nursery, ends)
        await w.start(b"a OK\n", w.exchange("coalesce", replies=2, seconds=10))
        await client.aclose()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [EndReason.BROKEN]
