"""What peers do that mean no good, or know no better."""

from __future__ import annotations

import logging
import socket
import struct

import pytest
import trio
import trio.testing

from esps_portal import Limits, Portal
from esps_portal.product import PRODUCT
from esps_portal.server.unanswered import MAX_UNANSWERED
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.call import CallContext
from esps_portal.testing import PortalController, open_memory_portal
from esps_portal.testing.pipes import CAPACITY, Pipe
from tests.patience import PATIENCE
from tests.portals import running
from tests.sockets import closed, connected, until


async def test_an_endless_line_may_end_like_another_protocol() -> None:  # ESPS-LINE-16
    async with running() as portal:
        client = await portal.tcp()
        await client.send(b"0 PING\na PING " + b"a" * 9000 + b" HTTP/1.1\nb PING\n")
        assert await client.line() == b"0 OK"
        assert (await client.line()).startswith(b"a ERR too-long ")
        assert await client.line() == b"b OK"


async def test_half_a_line_that_is_too_long_is_idle(  # ESPS-END-8
) -> None:
    async with running(idle=0.3) as portal:
        client = await portal.tcp()
        with trio.fail_after(PATIENCE):
            await client.send(b"0 PING\na PING " + b"a" * 9000)
            assert await client.line() == b"0 OK"
            assert (await client.line()).startswith(b"a ERR too-long ")
            sent = trio.current_time()
            assert await client.line() == b"* BYE idle"
        assert trio.current_time() - sent < 10


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_peer_that_leaves_a_stream_is_no_failure(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:  # ESPS-END-11
    portal = Portal()
    ended = trio.Event()

    @portal.service
    async def flood(*, call: CallContext) -> None:
        try:
            while True:
                await call.data("x" * 1000)
        finally:
            ended.set()

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL flood\n")
        await client.line()
        if how == "rst":
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await ended.wait()
    assert portal.statistics.failed == 0
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_refusal_behind_rows_is_a_refusal() -> None:  # ESPS-UDP-16
    portal = Portal()

    @portal.service(idempotent=True)
    async def broken(*, call: CallContext) -> None:
        await call.data("x" * 100)
        raise RuntimeError

    async with running(portal) as listening:
        assert await listening.udp().ask(b"a CALL broken\n") == b"a ERR failed\n"
        padded = b"a CALL broken " + b"#" * 100 + b"\n"
        assert (await listening.udp().ask(padded)).startswith(b"a DATA xxx")


async def test_what_can_never_be_sent_is_not_produced() -> None:  # ESPS-UDP-15
    portal = Portal(limits=Limits())
    produced = []

    @portal.service
    async def flood(*, call: CallContext) -> None:
        for number in range(1_000_000):
            produced.append(number)
            await call.data("x" * 100)

    async with running(portal) as listening:
        assert await listening.udp().ask(b"a CALL flood\n") == b"a ERR too-large 0 use-tcp\n"
    assert len(produced) < 20


async def until_a_third_is_free(pipe: Pipe) -> None:
    """Wait for room as a kernel does: what there is of it does not count before it is enough."""
    while pipe.held > CAPACITY * 2 // 3:
        await pipe._changed.park()  # noqa: SLF001 - it stands in for a method of the pipe


async def test_a_slow_reader_is_no_stalled_one(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:  # ESPS-TCP-16
    monkeypatch.setattr(Pipe, "wait_for_room", until_a_third_is_free)
    limits = Limits(stall=30)
    async with open_memory_portal(limits=limits) as portal, portal.open_stream() as client:
        await client.send_all(b"a CALL chargen 100000 512\n")
        for _ in range(12):  # all of it is less than a third
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(20)
            assert len(await client.receive_some(1000)) == 1000
        for _ in range(2):  # it reads no more; the last that it took is seen within 30 seconds
            await trio.testing.wait_all_tasks_blocked()
            await client.send_all(b"\n")
            mock_clock.jump(30)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"\n")


async def test_a_flood_of_refused_peers_keeps_nobody_waiting() -> None:  # ESPS-TCP-2
    portal = builtin_portal(PRODUCT, Limits(max_connections=1, linger=1000))
    async with running(portal) as listening:
        await listening.tcp()
        with trio.fail_after(PATIENCE):
            for _ in range(200):
                client = await listening.connect()
                assert await client.line() == b"* BYE busy"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"chargen 0000000001 3", b"a DATA %20!%22"),
        (b"drip 0 03600000", b"a OK 0"),
        (b"random 000000000 x", b'a OK ""'),
        (b"delay 0000000000 x", b"a OK x"),
    ],
)
async def test_zeros_before_a_number_change_nothing(request_: bytes, answer: bytes) -> None:
    # ESPS-SVC-2
    async with running() as portal:
        client = await portal.tcp()
        await client.send(b"a CALL " + request_ + b"\n")
        assert await client.line() == answer


async def test_empty_lines_are_no_reading(mock_clock: trio.testing.MockClock) -> None:
    # ESPS-TCP-16
    # In memory: a kernel takes some more of what it has no room for, whenever its timers say so.
    limits = Limits(stall=30)
    async with open_memory_portal(limits=limits) as portal, portal.open_stream() as client:
        await client.send_all(b"a CALL chargen 100000 512\n")
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(9.9)
            await client.send_all(b"\n")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.4)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"\n")


async def test_the_stall_timeout_begins_when_output_begins_to_wait(
    mock_clock: trio.testing.MockClock,
) -> None:  # ESPS-TCP-16
    may_speak = trio.Event()
    limits = Limits(stall=30)
    async with open_memory_portal(limits=limits) as portal, portal.open_stream() as client:

        @portal.service
        async def work(*, call: CallContext) -> None:
            await may_speak.wait()
            for _ in range(200):
                await call.data("x" * 1000)

        await client.send_all(b"a CALL work\n")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(25)
        may_speak.set()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(29)
        await trio.testing.wait_all_tasks_blocked()
        taken = b""
        while not taken.endswith(b"a OK\n"):
            data = await client.receive_some()
            assert data
            taken += data
    assert len(taken) > 200_000


def test_what_follows_a_fatal_line_is_not_noted_without_end(portal: PortalController) -> None:
    with connected(portal) as client:
        client.send(b"@\n" + b"x PING\n" * 5000)
        client.rest()
    until(lambda: closed(portal), portal)
    noted = [entry for entry in portal.journal() if entry.event == "aborted"]
    assert len(noted) == MAX_UNANSWERED
