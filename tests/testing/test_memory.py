"""A portal in memory: the same portal, no sockets, and a clock that jumps."""

from __future__ import annotations

import time
from typing import Literal

import pytest
import trio
import trio.testing

from esps_portal import Limits
from esps_portal.testing import PortalEndedError, open_memory_portal
from esps_portal.testing.pipes import CAPACITY, MemoryStream, Pipe


async def lines(stream: MemoryStream, count: int) -> list[bytes]:
    held = b""
    while held.count(b"\n") < count:
        data = await stream.receive_some()
        assert data, f"the end came after {held!r}"
        held += data
    return held.splitlines()


async def test_a_conversation() -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        portal.stub("price", "sku-1").reply("9.99")
        await stream.send_all(b"a CALL price sku-1\nb CALL whoami\nc QUIT\n")
        greeting, *rest = await lines(stream, 4)
        assert greeting.startswith(b"* ESPS/1 esps-portal/")
        assert rest == [b"a OK 9.99", b"b OK memory 1 tcp", b"c OK"]
        assert await stream.receive_some() == b""
        portal.verify()


async def test_hours_take_milliseconds(autojump_clock: trio.testing.MockClock) -> None:
    limits = Limits(idle=2 * 3600)
    began = time.monotonic()
    async with open_memory_portal(limits=limits) as portal, portal.open_stream() as stream:
        portal.stub("slow").reply("done").delay(3600)
        await stream.send_all(b"a CALL slow\n")
        assert await lines(stream, 2)
        assert 3600 <= trio.current_time() < 3601
        assert await lines(stream, 1) == [b"* BYE idle"]
        assert 3 * 3600 <= trio.current_time() < 4 * 3600
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.closed) == ("portal", None)
    assert time.monotonic() - began < 30


async def test_a_peer_that_never_reads_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        await stream.send_all(b"a CALL chargen 100000 500\n")
        await trio.sleep(60)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"b PING\n")
        assert (portal.connections()[0].closed_by, portal.connections()[0].how) == ("portal", "rst")


async def test_a_reset_is_a_broken_resource() -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        portal.fault("reset", service="echo")
        await lines(stream, 1)
        await stream.send_all(b"a CALL echo\n")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_half_close_lets_calls_end() -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        await stream.send_all(b"a CALL delay 1 x\n")
        await stream.send_eof()
        assert (await lines(stream, 2))[1] == b"a OK x"
        assert await stream.receive_some() == b""


async def test_down_refuses() -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        await lines(stream, 1)
        with portal.down():
            with pytest.raises(ConnectionRefusedError):
                portal.open_stream()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        async with portal.open_stream() as other:
            await lines(other, 1)


async def test_a_full_portal_is_busy() -> None:
    limits = Limits(max_connections=1, linger=0)
    async with open_memory_portal(limits=limits) as portal, portal.open_stream() as first:
        await lines(first, 1)
        async with portal.open_stream() as second:
            assert await lines(second, 1) == [b"* BYE busy"]
            assert await second.receive_some() == b""


async def test_a_client_that_closes_is_seen() -> None:
    async with open_memory_portal() as portal:
        async with portal.open_stream() as stream:
            await lines(stream, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert portal.connections()[0].closed_by == "client"


async def test_use_after_the_end() -> None:
    async with open_memory_portal() as portal:
        stream = portal.open_stream()
        await lines(stream, 1)
    with pytest.raises(PortalEndedError, match="has ended"):
        portal.stub("x")
    assert await stream.receive_some() == b"* BYE closing\n"
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_it_is_a_trio_stream() -> None:
    async def make() -> tuple[MemoryStream, MemoryStream]:
        there, back = Pipe(), Pipe()
        return MemoryStream(there, back), MemoryStream(back, there)

    async def make_full() -> tuple[MemoryStream, MemoryStream]:
        near, far = await make()
        await near.send_all(bytes(CAPACITY))
        await far.send_all(bytes(CAPACITY))
        return near, far

    with trio.fail_after(30):
        await trio.testing.check_half_closeable_stream(make, make_full)


# -- faults


async def test_so_many_bytes_then_a_reset() -> None:
    """They are there to be read, as on a socket."""
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        portal.fault("reset", service="echo", offset=4)
        await stream.receive_some()
        await stream.send_all(b"a CALL echo xyz\n")
        assert await stream.receive_some() == b"a OK"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_portal_that_never_reads_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        portal.fault("deaf", service="echo")
        await stream.receive_some()
        await stream.send_all(b"a CALL echo xyz\n")
        assert await stream.receive_some() == b"a OK xyz\n"
        with trio.move_on_after(60) as blocked:
            while True:
                await stream.send_all(b"b PING\n" * 1000)
        assert blocked.cancelled_caught
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.how) == ("client", "rst")


async def test_a_silent_portal_goes_on_after_hours(autojump_clock: trio.testing.MockClock) -> None:
    """Neither idle nor unread: a silence is nobody's fault."""
    async with (
        open_memory_portal() as portal,
        portal.open_stream() as idle,
        portal.open_stream() as unread,
    ):
        portal.stub("slow").reply("done").delay(1)
        assert await lines(idle, 1)
        await unread.send_all(b"a CALL chargen 1000 500\n")
        assert await lines(unread, 1)
        await idle.send_all(b"a CALL slow\n")
        await trio.testing.wait_all_tasks_blocked()
        with portal.down(how="silent"):
            with pytest.raises(TimeoutError):
                portal.open_stream()
            await idle.send_all(b"b PING\n")
            await trio.sleep(10 * 3600)
            with trio.move_on_after(3600) as waited:
                await idle.receive_some()
            assert waited.cancelled_caught
        assert sorted(await lines(idle, 2)) == [b"a OK done", b"b OK"]
        *data, last = await lines(unread, 1001)
        assert (len(data), last) == (1000, b"a OK")
        await trio.sleep(20)
        await idle.send_all(b"c PING\n")
        assert await lines(idle, 1) == [b"c OK"]
        assert await lines(idle, 1) == [b"* BYE idle"]


@pytest.mark.parametrize("kind", ["close", "reset"])
async def test_an_end_in_a_silence_comes_after_it(
    autojump_clock: trio.testing.MockClock, kind: Literal["close", "reset"]
) -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        portal.stub("slow").reply("done").delay(1)
        fault = portal.fault(kind)
        assert await lines(stream, 1)
        await stream.send_all(b"a CALL slow\n")
        await trio.testing.wait_all_tasks_blocked()
        with portal.down(how="silent"):
            with trio.move_on_after(60) as waited:
                await stream.receive_some()
            assert waited.cancelled_caught
            assert fault.happened == 1
        if kind == "close":
            assert await stream.receive_some() == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_refusing_after_a_silence_resets() -> None:
    async with open_memory_portal() as portal, portal.open_stream() as stream:
        assert await lines(stream, 1)
        with portal.down(how="silent"), portal.down():
            with pytest.raises(ConnectionRefusedError):
                portal.open_stream()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
