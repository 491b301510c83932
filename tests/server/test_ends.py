"""How connections end, and what one peer can do to another: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct

import psutil
import pytest
import trio

from esps_portal import Limits, Portal, ReplyError, ServerConfig, serve
from esps_portal.net.bind import CannotBindError
from esps_portal.services.builtin_portal import builtin_portal
from tests.forked import ForkedProcess
from tests.patience import PATIENCE
from tests.portals import running
from tests.processes import running_server


async def test_idle() -> None:  # ESPS-END-8
    async with running(idle=0.05) as listening:
        client = await listening.tcp()
        assert await client.line() == b"* BYE idle"
        assert await client.line() == b""


async def test_a_running_call_is_not_idle() -> None:  # ESPS-END-8
    async with running(idle=0.05) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL delay 200 x\n")
        assert await client.line() == b"a OK x"
        assert await client.line() == b"* BYE idle"


async def test_half_a_line_is_idle() -> None:
    async with running(idle=0.05) as listening:
        client = await listening.tcp()
        await client.send(b"a PI")
        assert await client.line() == b"* BYE idle"


async def test_fin_lets_running_calls_end() -> None:  # ESPS-END-3, ESPS-END-4
    async with running() as listening:
        client = await listening.tcp()
        await client.send(b"a CALL delay 50 x\nb CALL count never")
        await client.stream.send_eof()
        assert await client.line() == b"a OK x"
        assert await client.line() == b""
        other = await listening.tcp()
        await other.send(b"c CALL count never\n")
        assert await other.line() == b"c OK 1"


async def test_the_drain_is_bounded() -> None:  # ESPS-END-7
    async with running(drain=0.05) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\nb QUIT\n")
        assert (await client.line()).startswith(b"a ERR closing")
        assert await client.line() == b"b OK"
        assert await client.line() == b""


async def test_shutdown() -> None:  # ESPS-END-5, ESPS-END-6
    portal = builtin_portal("test/1")
    may_end = trio.Event()

    @portal.service
    async def work() -> str:
        await may_end.wait()
        return "x"

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL work\nb PING\n")
        assert await client.line() == b"b OK"
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        await client.send(b"c CALL count x\n")
        assert (await client.line()).startswith(b"c ERR closing")
        may_end.set()
        assert await client.line() == b"a OK x"
        assert await client.line() == b""


@pytest.mark.parametrize("first", ["shutdown", "fin"])
async def test_a_second_end_does_not_prolong_the_drain(
    first: str, mock_clock: trio.testing.MockClock
) -> None:  # ESPS-END-13, ESPS-END-14
    async with running(drain=5) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\nb PING\n")
        assert await client.line() == b"b OK"
        if first == "shutdown":
            listening.shut_down()
            assert await client.line() == b"* BYE closing"
        else:
            await client.stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3)
        if first == "shutdown":
            await client.stream.send_eof()
        else:
            listening.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(2)
        assert (await client.line()).startswith(b"a ERR closing")
        assert await client.line() == b""


async def test_busy_call() -> None:  # ESPS-TCP-12, ESPS-VERB-20
    async with running(max_in_flight=2) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\nb CALL stall\nc CALL stall\nd CALL echo x\n")
        assert (await client.line()).startswith(b"c ERR busy")
        assert await client.line() == b"d OK x"


async def test_busy_with_the_calls_of_others() -> None:  # ESPS-LIM-4
    async with running(max_in_flight=2, max_calls=3) as listening:
        first, second = await listening.tcp(), await listening.tcp()
        await first.send(b"a CALL stall\nb CALL stall\nc PING\n")
        assert await first.line() == b"c OK"
        await second.send(b"a CALL stall\nb CALL stall\nc CALL echo x\n")
        assert (await second.line()).startswith(b"b ERR busy")
        assert await second.line() == b"c OK x"
        await first.send(b"d CANCEL a\n")
        assert (await first.line()).startswith(b"a ERR cancelled")
        assert await first.line() == b"d OK"
        await second.send(b"b CALL delay 0 x\n")
        assert await second.line() == b"b OK x"


async def test_calls_that_begin_at_once_are_counted_too() -> None:  # ESPS-LIM-4
    """Each connection is answered without a task, and has one made for its call."""
    async with running(max_in_flight=1, max_calls=2) as listening:
        clients = [await listening.tcp() for _ in range(5)]
        for client in clients:
            os.write(client.stream.socket.fileno(), b"a CALL stall\nb PING\n")  # before any turn
        answers = [await client.line() for client in clients]
        assert [answer.split()[:3] for answer in answers].count([b"a", b"ERR", b"busy"]) == 3
        assert answers.count(b"b OK") == 2


async def test_busy_with_the_connections_of_one_address() -> None:  # ESPS-LIM-5
    async with running(max_connections_per_address=2, linger=0.05) as listening:
        first, _ = await listening.tcp(), await listening.tcp()
        third = await listening.connect()
        assert await third.line() == b"* BYE busy"
        assert await third.line() == b""
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.connect(listening.listeners.tcp[0])
            assert await trio.to_thread.run_sync(other.recv, 9) == b"* ESPS/1 "
        await first.send(b"a QUIT\n")
        assert await first.line() == b"a OK"
        assert await first.line() == b""
        greeting = b""
        while not greeting.startswith(b"* ESPS/1 "):  # once the first is closed
            greeting = await (await listening.connect()).line()


async def test_busy_portal() -> None:  # ESPS-TCP-2
    async with running(max_connections=1, linger=0.05) as listening:
        first = await listening.tcp()
        second = await listening.connect()
        assert await second.line() == b"* BYE busy"
        assert await second.line() == b""
        await first.send(b"a QUIT\n")
        assert await first.line() == b"a OK"
        assert await first.line() == b""


async def test_a_peer_that_never_reads() -> None:  # ESPS-TCP-14, ESPS-TCP-15, ESPS-TCP-16
    async with running(stall=0.3, idle=60) as listening:
        deaf = await listening.tcp()
        before = psutil.Process().memory_info().rss
        line = b"a PING " + b"x" * 8000 + b"\n"
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await deaf.send(line * 10)
        assert psutil.Process().memory_info().rss - before < 50_000_000
        other = await listening.tcp()
        await other.send(b"a PING\n")
        assert await other.line() == b"a OK"


async def test_what_the_kernel_holds_for_a_peer_that_never_reads() -> None:  # ESPS-TCP-16
    async with running(stall=0.1, idle=60, max_connections=1, linger=0.01) as listening:
        deaf = await listening.tcp()
        # More than the client's kernel takes, and less than ours holds for it.
        await deaf.send(b"a CALL chargen 1500 512\n")
        with trio.fail_after(PATIENCE):
            while await (await listening.connect()).line() == b"* BYE busy":
                pass
        with pytest.raises(trio.BrokenResourceError):
            await until_reset(deaf.stream)


@pytest.mark.heavy
@pytest.mark.parametrize("lines", [300, 2000], ids=["the kernel holds it", "some waits here"])
async def test_a_slow_reader_with_a_small_buffer_is_not_reset(lines: int) -> None:  # ESPS-TCP-16
    """On loopback its window is never wide enough for a whole segment, and still it reads."""
    async with running(stall=2, idle=60, linger=0.01) as listening:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            slow.connect(listening.listeners.tcp[0])
            slow.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            slow.send(b"a CALL chargen %d 512\n" % lines)
            for _ in range(200):
                await trio.sleep(0.02)  # that is twice as long as a stall
                with contextlib.suppress(BlockingIOError):
                    assert slow.recv(512)


async def test_a_call_whose_lines_nobody_reads_ends_with_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:  # ESPS-END-11
    async with running(idle=60, stall=60) as listening:
        unread = await listening.tcp()
        await unread.send(b"a CALL chargen 100000 512\nb CALL chargen 100000 512\n")
        assert (await unread.line())[1:].startswith(b" DATA ")
        await trio.testing.wait_all_tasks_blocked(0.01)  # until no more can be sent
        await listening.listeners.ports.reset()
        with pytest.raises(trio.BrokenResourceError):
            await until_reset(unread.stream)
        other = await listening.tcp()
        await other.send(b"a PING\n")
        assert await other.line() == b"a OK"
    assert caplog.messages == []


async def until_reset(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


async def test_rst_cancels_the_calls_and_harms_nobody() -> None:  # ESPS-END-11
    portal = builtin_portal("test/1")
    ended = trio.Event()

    @portal.service
    async def forever(*, call: object) -> None:
        try:
            while True:
                await call.data("x" * 1000)  # type: ignore[attr-defined]
        finally:
            ended.set()

    async with running(portal) as listening:
        other = await listening.tcp()
        client = await listening.tcp()
        await client.send(b"a CALL forever\n")
        assert await client.line()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await ended.wait()
        await other.send(b"a PING\n")
        assert await other.line() == b"a OK"


def with_endless_call(limits: Limits | None = None) -> tuple[Portal, trio.Event]:
    """Return a portal whose service `forever` says nothing, and what is set once that has ended."""
    portal = builtin_portal("test/1", limits)
    ended = trio.Event()

    @portal.service
    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    return portal, ended


async def test_a_silent_call_ends_with_its_peer() -> None:  # ESPS-END-11
    portal, ended = with_endless_call()
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL forever\nb PING\n")
        assert await client.line() == b"b OK"
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await ended.wait()


async def test_services_of_a_user() -> None:  # ESPS-VERB-15, ESPS-VERB-16, ESPS-VERB-17
    portal = Portal(product="test/1")

    @portal.service
    def boom() -> None:
        raise KeyError("/secret/path")

    @portal.service
    def refuse(code: bytes) -> None:
        raise ReplyError(code.decode(), "because")

    @portal.service
    def long() -> bytes:
        return b"\xff" * 3000

    @portal.service
    async def long_row(*, call: object) -> None:
        await call.data(b"\xff" * 3000)  # type: ignore[attr-defined]

    @portal.service
    def odd() -> object:
        return 1

    async with running(portal) as listening:
        client = await listening.tcp()
        for name in (b"boom", b"long", b"long-row", b"odd"):
            await client.send(b"a CALL %b\n" % name)
            answer = await client.line()
            assert answer.startswith(b"a ERR failed ")
            assert b"secret" not in answer
        assert portal.statistics.failed == 4
        await client.send(b"a CALL refuse x-no\na PING\n")
        assert await client.line() == b"a ERR x-no because"
        assert await client.line() == b"a OK"


async def test_a_taken_port_is_said_at_once() -> None:
    async with running() as listening:
        port = listening.listeners.tcp[0][1]
        with pytest.RaisesGroup(CannotBindError):
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, ServerConfig(port=port))
                pytest.fail("it serves")


async def test_cancelled_it_leaves_no_socket() -> None:
    process = psutil.Process()
    before = process.num_fds()
    async with running() as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\n")
    assert process.num_fds() <= before


def test_out_of_descriptors() -> None:
    """It says so, and goes on once there are some again."""
    with ForkedProcess("serve", "--port", "0", "--json", limits=(40, 40)) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = json.loads(process.stdout.readline())["tcp"][0][1]
            with contextlib.ExitStack() as stack:
                for _ in range(60):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                assert "Too many open files" in process.stderr.readline()
            greeting = b""
            while not greeting.startswith(b"* ESPS/1 "):  # once it has closed the others
                with socket.create_connection(("127.0.0.1", port), 30) as peer:
                    greeting = peer.recv(100)
                    assert greeting
        finally:
            process.terminate()


def test_ipv4_and_ipv6_on_one_number() -> None:
    with running_server("--host", "localhost", "--host", "127.0.0.1", "--host", "::1") as process:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, process.port), 30) as peer:
                assert peer.recv(100).startswith(b"* ESPS/1 ")


def test_a_reply_leaves_from_the_address_that_was_asked() -> None:  # ESPS-UDP-10
    with (
        running_server("--host", "0.0.0.0", "--host", "::") as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer6,
    ):
        peer.settimeout(30)
        peer.sendto(b"a PING\n", ("127.0.0.2", process.port))
        assert peer.recvfrom(100) == (b"a OK\n", ("127.0.0.2", process.port))
        peer6.settimeout(30)
        peer6.sendto(b"a PING\n", ("::1", process.port))
        assert peer6.recvfrom(100)[1][:2] == ("::1", process.port)


async def test_calls_do_not_outlive_an_endless_line() -> None:  # ESPS-LINE-18
    portal, ended = with_endless_call(Limits(linger=1000))
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL forever\nb PING\n")
        assert await client.line() == b"b OK"
        await client.send(b"x" * 65536)
        assert (await client.line()).startswith(b"* ERR too-long ")
        await ended.wait()
