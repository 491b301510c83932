"""The one writer of a stream, over a stream in memory whose reader the test is."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from esps_portal.net.writer import HIGH_WATER, Writer
from esps_portal.testing.pipes import CAPACITY, MemoryStream, memory_pair


async def start_sending(writer: Writer, nursery: trio.Nursery, size: int) -> trio.CancelScope:
    """Start a task that sends so many bytes; return what cancels it."""
    scope = trio.CancelScope()
    writer.outgoing += b"a" * size

    async def flush() -> None:
        with scope:
            await writer.flush()

    nursery.start_soon(flush)
    await trio.testing.wait_all_tasks_blocked()
    return scope


async def read(client: MemoryStream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += await client.receive_some()
    return found


async def test_what_has_room_is_sent_without_waiting() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    writer.outgoing += b"abc"
    await writer.flush()
    assert writer.outgoing == b""
    assert not writer.is_sending
    assert await client.receive_some() == b"abc"


async def test_what_has_no_room_is_sent_in_parts() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        await start_sending(writer, nursery, 2 * CAPACITY + 10)
        assert writer.is_sending
        assert len(writer.outgoing) == CAPACITY + 10
        assert await read(client, 2 * CAPACITY + 10) == b"a" * (2 * CAPACITY + 10)
    assert not writer.is_sending


async def test_a_second_task_leaves_its_bytes_to_the_first() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        await start_sending(writer, nursery, CAPACITY + 1)
        writer.outgoing += b"b"
        await writer.flush()
        assert (await read(client, CAPACITY + 2)).endswith(b"ab")


async def test_a_second_task_waits_when_too_much_is_unsent() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        await start_sending(writer, nursery, CAPACITY + 1)
        await start_sending(writer, nursery, HIGH_WATER)
        third = await start_sending(writer, nursery, 1)
        third.cancel()  # it leaves without having sent
        size = CAPACITY + HIGH_WATER + 2
        assert await read(client, size) == b"a" * size


async def test_a_cancelled_task_leaves_the_rest_to_the_next() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        first = await start_sending(writer, nursery, CAPACITY + 1)
        await start_sending(writer, nursery, HIGH_WATER)
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert first.cancelled_caught
        assert writer.is_sending  # the other one
        size = CAPACITY + 1 + HIGH_WATER
        assert await read(client, size) == b"a" * size


async def test_a_cancelled_task_leaves_the_rest_where_nobody_waits() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        (await start_sending(writer, nursery, CAPACITY + 1)).cancel()
    assert writer.outgoing == b"a"
    assert not writer.is_sending
    assert len(await client.receive_some()) == CAPACITY
    await writer.flush()
    assert await client.receive_some() == b"a"


async def test_everything_is_sent_though_another_task_sends() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        first = await start_sending(writer, nursery, CAPACITY + 1)
        nursery.start_soon(writer.send_everything)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert await read(client, CAPACITY + 1) == b"a" * (CAPACITY + 1)
    assert writer.outgoing == b""
    await writer.send_everything()  # nothing waits: it returns


async def test_a_reset_is_raised() -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    await client.aclose()
    writer.outgoing += b"abc"
    with pytest.raises(trio.BrokenResourceError):
        await writer.flush()
    assert not writer.is_sending


async def test_progress_is_what_the_peer_acknowledges(
    mock_clock: trio.testing.MockClock,
) -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    async with trio.open_nursery() as nursery:
        mock_clock.jump(1)
        await start_sending(writer, nursery, 2 * CAPACITY)
        assert writer.progress == trio.current_time()
        mock_clock.jump(1)
        assert writer.has_waited(1)
        assert writer.waits_since() == writer.progress == trio.current_time() - 1
        stream._outgoing._held.clear()  # noqa: SLF001 - read, and nobody is woken
        assert not writer.has_waited(1)
        assert writer.waits_since() == writer.progress == trio.current_time()
        nursery.cancel_scope.cancel()
    await client.aclose()


async def test_what_the_stream_holds_waits_too(mock_clock: trio.testing.MockClock) -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    began = writer.progress
    assert writer.waits_since() is None
    mock_clock.jump(100)
    writer.outgoing += b"abc"
    assert writer.flush_now()
    # When it was sent nobody knows: it is looked at for the first time.
    assert writer.waits_since() == trio.current_time()
    mock_clock.jump(1)
    assert writer.waits_since() == trio.current_time() - 1
    assert await client.receive_some(1) == b"a"
    assert writer.waits_since() == trio.current_time()
    assert await client.receive_some() == b"bc"
    assert writer.waits_since() is None
    assert not writer.has_waited(0)
    mock_clock.jump(1)
    writer.outgoing += b"d"
    await writer.flush()
    assert writer.waits_since() == trio.current_time()
    assert writer.progress == began  # nothing has waited here
    await client.aclose()


async def test_progress_while_sending_counts_for_what_is_held_then(
    mock_clock: trio.testing.MockClock,
) -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    writer.outgoing += b"abc"
    assert writer.flush_now()
    assert writer.waits_since() == trio.current_time()
    mock_clock.jump(100)
    async with trio.open_nursery() as nursery:
        await start_sending(writer, nursery, CAPACITY)
        stream._outgoing._held.clear()  # noqa: SLF001 - read, and nobody is woken
        assert writer.waits_since() == trio.current_time()
        nursery.cancel_scope.cancel()
    stream._outgoing._held += b"abc"  # noqa: SLF001 - some of it is still held
    writer._acked = stream.acked()  # noqa: SLF001 - and nothing has been read since
    assert writer.waits_since() == trio.current_time()
    await client.aclose()


async def test_a_clock_that_jumps_leaves_no_time_to_acknowledge(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stream = memory_pair()
    writer = Writer(stream)
    now = 0.0
    monkeypatch.setattr("esps_portal.net.writer.monotonic", lambda: now)
    writer.outgoing += b"abc"
    assert writer.flush_now()
    assert writer.waits_since() == trio.current_time()
    mock_clock.jump(30)
    assert not writer.has_waited(30)
    assert writer.waits_since() == trio.current_time()
    now = 1.0
    assert not writer.has_waited(30)
    mock_clock.jump(30)
    assert writer.has_waited(30)
    await client.aclose()
