"""Each action of a fault, on a stream in memory; and what an interruption makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

import attrs
import pytest
import trio
import trio.testing

from esps_portal.faults.actions import Action, End, Hold, Pause, Send
from esps_portal.net.fault_writer import FaultWriter
from esps_portal.net.writer import Writer
from esps_portal.testing.pipes import CAPACITY, MemoryStream, memory_pair

SLICED: list[Action] = [Send(b"ab"), Pause(10), Send(b"cd")]


@attrs.define(eq=False)
class Written:
    """A fault writer, and what has become of it."""

    client: MemoryStream
    writer: Writer
    faults: FaultWriter
    nursery: trio.Nursery
    ends: list[str]

    async def start(self, actions: Iterable[Action], *, must_send: bool = True) -> trio.CancelScope:
        """Start to perform actions in a task; return what cancels it."""
        scope = trio.CancelScope()

        async def perform() -> None:
            with scope:
                await self.faults.perform(actions, must_send=must_send)

        self.nursery.start_soon(perform)
        await trio.testing.wait_all_tasks_blocked()
        return scope

    async def cancel(self, scope: trio.CancelScope) -> None:
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def sent(self) -> bytes:
        """Send what waits, and return all that has come."""
        await self.writer.flush()
        if not self.writer._stream.unacked():  # noqa: SLF001 - a memory stream: what is unread
            return b""
        return await self.client.receive_some()


@contextlib.asynccontextmanager
async def written() -> AsyncIterator[Written]:
    client, stream = memory_pair()
    writer = Writer(stream)
    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        faults = FaultWriter(writer, nursery, ends.append, lambda: ends.append("broken"))
        yield Written(client, writer, faults, nursery, ends)
        assert faults.pending == 0
        nursery.cancel_scope.cancel()


# -- each action


async def test_send() -> None:
    async with written() as w:
        await w.faults.perform([Send(b"ab"), Send(b"c")], must_send=True)
        assert await w.sent() == b"abc"
        assert w.faults.is_idle


@pytest.mark.parametrize(("is_same", "wait"), [(True, 0.25), (False, 0.26)], ids=["same", "other"])
async def test_a_rate_makes_up_for_a_pause_that_ends_late(
    mock_clock: trio.testing.MockClock, *, is_same: bool, wait: float
) -> None:
    unit, other = object(), object()
    async with written() as w:
        await w.start([Pause(0.25, rate_of=unit), Send(b"a")])
        mock_clock.jump(0.26)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b"a"
        await w.start([Pause(0.26, rate_of=unit if is_same else other), Send(b"b")])
        mock_clock.jump(wait - 0.005)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b""
        mock_clock.jump(0.01)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b"b"


async def test_what_is_held_is_counted_until_it_leaves() -> None:
    async with written() as w:
        held = Hold(b"abc", 2, 600, final=True)
        await w.faults.perform([held], must_send=True)
        assert w.faults.held_size == 3
        await w.faults.perform([held], must_send=True)
        assert await w.sent() == b"abcabc"
        assert w.faults.held_size == 0
        assert w.faults.is_idle


async def test_a_pause_before_anything_is_sent_delays_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with written() as w:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: w.faults.perform([Pause(5), Send(b"late")], must_send=True))
            await trio.testing.wait_all_tasks_blocked()
            assert w.faults.pending == 1
            assert not w.faults.is_busy
            assert not w.faults.is_idle
            await w.faults.perform([Send(b"first ")], must_send=True)
            assert trio.current_time() == began
        assert trio.current_time() == began + 5
        assert await w.sent() == b"first late"


async def test_a_pause_within_a_unit_lets_no_other_between(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with written() as w, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: w.faults.perform(SLICED, must_send=True))
        await trio.testing.wait_all_tasks_blocked()
        assert w.faults.is_busy
        assert await w.sent() == b"ab"
        await w.faults.perform([Send(b"ef")], must_send=True)
        assert await w.sent() == b"cdef"
        await w.faults.until_idle()


@pytest.mark.parametrize("how", ["close", "reset", "half-close", "stall"])
async def test_end(how: str) -> None:
    async with written() as w:
        await w.faults.perform([Send(b"a"), End(how)], must_send=True)
        assert w.ends == [how]
        assert await w.sent() == b"a"


async def test_what_is_held_is_released_by_number(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"a1", 2, 10, final=False)], must_send=True)
        await w.faults.perform([Hold(b"a2", 2, 10, final=True)], must_send=True)
        assert not w.faults.is_idle
        assert await w.sent() == b""
        await w.faults.perform([Hold(b"b", 2, 10, final=True)], must_send=True)
        assert w.faults.is_idle
        assert await w.sent() == b"a1a2b"
        # The time of what was released says nothing about what is held now.
        await w.faults.perform([Hold(b"c", 2, 100, final=True)], must_send=True)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b""


async def test_what_is_held_is_released_by_time(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"a", 2, 10, final=True)], must_send=True)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        assert await w.client.receive_some() == b"a"


async def test_what_is_held_waits_for_the_turn(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"held", 2, 5, final=True)], must_send=True)
        await w.start(SLICED)
        mock_clock.jump(5)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b"ab"
        mock_clock.jump(5)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b"cdheld"


async def test_what_is_held_meets_a_reset(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"a", 2, 10, final=True)], must_send=True)
        await trio.testing.wait_all_tasks_blocked()
        await w.client.aclose()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert w.ends == ["broken"]


async def test_what_is_held_when_the_connection_ends_is_not_sent(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"a", 2, 10, final=True)], must_send=True)
        await trio.testing.wait_all_tasks_blocked()
        w.faults.has_ended = True
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b""


# -- interruptions


@pytest.mark.parametrize(("must_send", "left"), [(True, b"ab"), (False, b"")])
async def test_interrupted_while_late(must_send: bool, left: bytes) -> None:
    async with written() as w:
        scope = await w.start([Pause(600), Send(b"ab")], must_send=must_send)
        await w.cancel(scope)
        assert await w.sent() == left


@pytest.mark.parametrize(("must_send", "left"), [(True, b"cdef"), (False, b"")])
async def test_interrupted_while_it_waits_its_turn(must_send: bool, left: bytes) -> None:
    """What must be sent is sent at once, after what is out in part."""
    async with written() as w:
        await w.start(SLICED)
        assert await w.sent() == b"ab"
        scope = await w.start([Send(b"ef")], must_send=must_send)
        await w.cancel(scope)
        assert await w.sent() == left
        w.faults.complete()
        await w.faults.until_idle()


@pytest.mark.parametrize("must_send", [True, False])
async def test_interrupted_while_it_pauses(must_send: bool) -> None:
    async with written() as w:
        scope = await w.start([*SLICED, End("close")], must_send=must_send)
        assert await w.sent() == b"ab"
        await w.cancel(scope)
        assert await w.sent() == b"cd"
        assert w.ends == ["close"]
        assert not w.faults.is_busy


@pytest.mark.parametrize("must_send", [True, False])
async def test_interrupted_while_it_sends(must_send: bool) -> None:
    async with written() as w:
        w.writer.outgoing += b"x" * CAPACITY
        await w.writer.flush()
        scope = await w.start([Send(b"ab"), End("close")], must_send=must_send)
        await w.cancel(scope)
        assert len(await w.client.receive_some()) == CAPACITY
        assert await w.sent() == b"ab"
        assert w.ends == ["close"]


@pytest.mark.parametrize("must_send", [True, False])
async def test_interrupted_while_what_comes_before_is_sent(must_send: bool) -> None:
    async with written() as w:
        w.writer.outgoing += b"x" * (CAPACITY + 1)
        scope = await w.start([Send(b"ab"), End("close")], must_send=must_send)
        await w.cancel(scope)
        assert len(await w.client.receive_some()) == CAPACITY
        assert await w.sent() == (b"xab" if must_send else b"x")
        assert w.ends == (["close"] if must_send else [])


async def test_a_reset_while_it_sends_is_no_end_of_ours() -> None:
    async with written() as w:
        await w.client.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await w.faults.perform([Send(b"ab"), End("close")], must_send=True)
        assert w.ends == []


async def test_a_unit_cancelled_in_the_moment_of_its_turn_is_dropped() -> None:
    async with written() as w:
        first = await w.start(SLICED)
        second = await w.start([Send(b"ef")], must_send=False)
        first.cancel()
        await trio.lowlevel.checkpoint()  # the turn is handed over
        second.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert await w.sent() == b"abcd"


# -- the end of the connection


async def test_complete_ends_pauses_and_keeps_the_end() -> None:
    async with written() as w:
        await w.start([*SLICED, End("close")])
        w.faults.complete()
        await w.faults.until_idle()
        assert await w.sent() == b"abcd"
        assert w.ends == ["close"]


async def test_release_completes_first() -> None:
    async with written() as w:
        await w.faults.perform([Hold(b"held", 2, 600, final=True)], must_send=True)
        await w.start(SLICED)
        w.faults.release()
        assert await w.sent() == b"abcdheld"
        await w.faults.until_idle()
        assert w.faults.is_idle


async def test_who_is_in_a_hurry_pauses_no_more(mock_clock: trio.testing.MockClock) -> None:
    async with written() as w:
        await w.start(SLICED)
        w.faults.hurry()
        await w.faults.until_idle()
        await w.faults.perform(SLICED, must_send=True)
        assert trio.current_time() == 0
        assert await w.sent() == b"abcdabcd"


@pytest.mark.parametrize("must_send", [True, False])
async def test_nothing_begins_after_the_end(must_send: bool) -> None:
    async with written() as w:
        scope = await w.start(SLICED)
        await w.start([Send(b"ef"), End("close")], must_send=must_send)
        late = await w.start([Pause(600), Send(b"gh")], must_send=must_send)
        w.faults.has_ended = True
        await w.cancel(late)
        await w.cancel(scope)
        assert await w.sent() == b"abcd"
        assert w.ends == []
