"""A portal in a thread starts and stops at once, leaves nothing, and says when it has died."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
import trio

from esps_portal import blocking
from esps_portal.net.bind import CannotBindError
from esps_portal.testing import (
    NotCalledError,
    PortalController,
    PortalEndedError,
    open_portal,
    serve_in_thread,
)
from tests.clocks import PortalClock
from tests.sockets import PATIENCE, ask, closed, connected, timed, udp


@pytest.fixture(name="portal")
def _portal() -> Iterator[PortalController]:
    with serve_in_thread() as portal:
        yield portal


class Death(BaseException):
    """What no portal catches."""


def kill(portal: PortalController) -> None:
    """Raise in the portal's own loop."""

    def die() -> None:
        raise Death("in the loop")

    portal.service(name="die")(die)
    with connected(portal) as client:
        client.send(b"a CALL die\n")
        with contextlib.suppress(OSError):
            client.rest()
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(PortalEndedError):
        while time.monotonic() < deadline:
            portal.calls()


# -- start and stop


def test_many_rounds_leave_nothing() -> None:
    with serve_in_thread():
        pass  # whatever is made once has been made
    process = psutil.Process()
    threads, descriptors = threading.active_count(), process.num_fds()
    for number in range(200):
        with serve_in_thread() as portal:
            if number % 4 == 0:
                with connected(portal) as client, udp(portal) as datagrams:
                    client.send(b"a CALL stall\nb CALL delay 600000\n")
                    datagrams.send(b"c CALL delay 600000\n")
                    portal.wait_for(count=3)
            elif number % 4 == 1:
                portal.down()
    assert threading.active_count() == threads
    assert process.num_fds() == descriptors


def test_stopping_waits_for_nothing_whatever_is_open(clock: PortalClock) -> None:
    """Time stands still: nothing that takes some, and be it a millisecond, would ever be over."""
    with contextlib.ExitStack() as stack:
        with serve_in_thread() as portal:
            clients = [stack.enter_context(connected(portal)) for _ in range(100)]
            for client in clients[:50]:
                client.send(b"a CALL stall\n")
            clients[50].send(b"a CALL ec")  # half a request
            portal.fault("stall", service="echo")
            clients[51].send(b"a CALL echo\n")
            portal.wait_for(count=51, timeout=PATIENCE)
        assert not portal.is_running
        assert clients[50].rest() == b"* BYE closing\n"
        assert clients[51].rest() == b""


def test_a_port_that_is_taken_is_said_at_once(portal: PortalController) -> None:
    before = threading.active_count()
    with pytest.raises(CannotBindError), serve_in_thread(port=portal.port):
        pass  # pragma: no cover - it does not get here
    assert threading.active_count() == before


def test_an_error_in_the_block_ends_the_portal() -> None:
    with pytest.raises(ZeroDivisionError), serve_in_thread() as portal:
        raise ZeroDivisionError
    with pytest.raises(PortalEndedError):
        portal.calls()


# -- the end, and death


def test_use_after_the_end() -> None:
    with serve_in_thread() as portal:
        fault, outage = portal.fault("reset"), portal.down()
    for use in (
        portal.calls,
        portal.reset,
        portal.down,
        portal.transcript,
        portal.verify,
        lambda: portal.stub("price"),
        lambda: portal.fault("reset"),
        lambda: portal.wait_for("price"),
    ):
        with pytest.raises(PortalEndedError, match="the portal has ended"):
            use()
    for undo in (fault.remove, outage.up):
        with contextlib.suppress(PortalEndedError):
            undo()


def test_a_portal_that_dies_says_why() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        kill(portal)
        for use in (portal.calls, portal.reset, portal.down, lambda: portal.stub("price")):
            with pytest.raises(PortalEndedError, match="died") as caught:
                use()
            assert isinstance(caught.value.__cause__, Death)
            assert "in the loop" in str(caught.value)


def test_who_waits_is_told_of_the_death_at_once() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        killer = threading.Timer(0.05, kill, (portal,))
        killer.start()
        began = time.monotonic()
        with pytest.raises(PortalEndedError) as caught:
            portal.wait_for("price", timeout=PATIENCE)
        assert time.monotonic() - began < PATIENCE
        killer.join(PATIENCE)
        assert isinstance(caught.value.__cause__, Death)


async def test_who_waits_in_a_coroutine_is_told_of_the_death_at_once() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        killer = threading.Timer(0.05, kill, (portal,))
        killer.start()
        with trio.fail_after(PATIENCE), pytest.raises(PortalEndedError):
            await portal.wait_for_async("price", timeout=2 * PATIENCE)
        killer.join(PATIENCE)


async def test_use_after_the_end_inside_trio() -> None:
    async with open_portal() as portal:
        fault = portal.fault("reset")
    with pytest.raises(PortalEndedError, match="the portal has ended"):
        portal.calls()
    with pytest.raises(PortalEndedError):
        fault.remove()


# -- threads and loops


def test_calls_from_many_threads(portal: PortalController) -> None:
    wrong: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(30):
                portal.stub(name, str(number)).reply(str(number))
                drop = portal.fault("drop", service="nobody").optional()
                with drop, connected(portal) as client:
                    answer = client.call(f"a CALL {name} {number}".encode())
                    assert answer == f"a OK {number}\n".encode()
                portal.wait_for(name, count=number + 1, timeout=PATIENCE)
                assert len(portal.calls(name)) == number + 1
                portal.transcript()
        except BaseException as error:  # noqa: BLE001 - it is looked at in the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(f"thread-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []
    portal.verify()


def test_a_service_may_use_its_own_portal(portal: PortalController) -> None:
    def place() -> str:
        portal.stub("placed").reply("yes")
        return str(len(portal.calls()))

    portal.service(name="place")(place)
    with connected(portal) as client:
        assert client.call(b"a CALL echo") == b"a OK\n"
        assert client.call(b"b CALL place") == b"b OK 1\n"
        assert client.call(b"c CALL placed") == b"c OK yes\n"


def test_wait_for_in_a_thread(portal: PortalController) -> None:
    def call_later() -> None:
        with udp(portal) as client:
            ask(client, b"a CALL echo x\n")

    thread = threading.Timer(0.02, call_later)
    thread.start()
    (call,) = portal.wait_for("echo", timeout=PATIENCE)
    thread.join()
    assert call.args == (b"x",)
    assert portal.wait_for("echo") == [call]  # what has come already counts


async def test_wait_for_raises_at_once_inside_trio(portal: PortalController) -> None:
    await trio.lowlevel.checkpoint()
    with timed() as elapsed, pytest.raises(RuntimeError, match="block the trio loop"):
        portal.wait_for("echo", timeout=PATIENCE)
    assert elapsed.seconds < PATIENCE


def test_wait_for_raises_at_once_inside_asyncio(portal: PortalController) -> None:
    async def wait() -> None:
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="block the asyncio loop"):
            portal.wait_for("echo", timeout=PATIENCE)

    with timed() as elapsed:
        asyncio.run(wait())
    assert elapsed.seconds < PATIENCE


def test_wait_for_async_under_asyncio(portal: PortalController) -> None:
    async def talk() -> None:
        waiting = asyncio.create_task(portal.wait_for_async("echo", count=2, timeout=PATIENCE))
        reader, writer = await asyncio.open_connection(portal.host, portal.port)
        assert (await reader.readline()).startswith(b"* ESPS/1 ")
        writer.write(b"a CALL echo x\nb CALL echo y\n")
        assert [call.tag for call in await waiting] == ["a", "b"]
        writer.close()
        await writer.wait_closed()
        with pytest.raises(TimeoutError) as caught:
            await portal.wait_for_async("price", timeout=0.01)
        assert "price was called 0 of 1 times in 0.01 s" in str(caught.value)

    asyncio.run(talk())


async def test_wait_for_async_under_trio(portal: PortalController) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _call() -> None:
            stream = await trio.open_tcp_stream(portal.host, portal.port)
            async with stream:
                await stream.send_all(b"a CALL echo x\n")
                await trio.sleep(0.05)

        (call,) = await portal.wait_for_async("echo", timeout=PATIENCE)
    assert call.args == (b"x",)
    with pytest.raises(TimeoutError):
        await portal.wait_for_async("price", timeout=0.01)


async def test_wait_for_async_inside_the_same_loop() -> None:
    async with open_portal() as portal, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _call() -> None:
            stream = await trio.open_tcp_stream(portal.host, portal.port)
            async with stream:
                await stream.send_all(b"a CALL echo x\n")
                await stream.receive_some()

        (call,) = await portal.wait_for_async("echo", timeout=PATIENCE)
        assert call.args == (b"x",)


async def test_a_portal_in_a_thread_serves_a_trio_test(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    stream = await trio.open_tcp_stream(portal.host, portal.port)
    async with stream:
        await stream.send_all(b"a CALL price\na QUIT\n")
        data = b""
        while piece := await stream.receive_some():
            data += piece
    assert data.splitlines()[1:] == [b"a OK 9.99", b"a OK"]
    portal.verify()
    portal.reset()


# -- what it says


def test_not_called_shows_what_was(portal: PortalController) -> None:
    with connected(portal) as client:
        client.call(b"a CALL echo x")
        with pytest.raises(AssertionError) as caught:
            portal.wait_for("price", count=2, timeout=0.01)
    first, *rest = str(caught.value).splitlines()
    assert first == "price was called 0 of 2 times in 0.01 s"
    assert any(line.endswith("--> a CALL echo x") for line in rest)
    assert any(line.endswith("<-- a OK x") for line in rest)
    assert isinstance(caught.value, TimeoutError)


def test_verify_says_each_kind_of_finding(portal: PortalController) -> None:
    portal.stub("price", "sku-1").reply("9.99")
    portal.stub("once").reply().times(1)
    portal.stub("half").reply("1").reply("2")
    portal.stub("never").optional()
    portal.fault("drop", chance=0.5, seed=4)
    with connected(portal) as client:
        for request in (b"price sku-2", b"prise", b"once", b"once", b"half"):
            client.call(b"a CALL " + request)
    with pytest.raises(AssertionError) as caught:
        portal.verify()
    report = str(caught.value)
    for words in (
        "unexpected call: price 'sku-2'\n    nearest stub: price 'sku-1': argument 1 is 'sku-2',",
        "unexpected call: prise\n    no stub or service has that name; did you mean price?",
        "unexpected call: once\n    nearest stub: once: it was for 1 call, and is used up",
        "unused stub: price 'sku-1': never used",
        "unused stub: half: used 1 of 2 times",
        "fault by chance, struck 0 times: drop chance=0.5 seed=4",
        "--> a CALL price sku-2",
    ):
        assert words in report
    assert "unused stub: never" not in report


def test_verify_is_content(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    with connected(portal) as client:
        client.call(b"a CALL price")
        client.call(b"b CALL echo")
        client.call(b"c CALL fail busy")
    portal.verify()


def test_an_unknown_option_is_said() -> None:
    with pytest.raises(TypeError, match="unknown option hosts; the options are host"):
        serve_in_thread(hosts="x").__enter__()  # type: ignore[call-arg]


def test_addresses() -> None:
    with serve_in_thread(host="::1") as portal:
        assert portal.host == "::1"
        assert portal.url == f"esps://[::1]:{portal.port}"
        assert portal.udp_url == f"esps+udp://[::1]:{portal.port}"
    with serve_in_thread(host="localhost", udp=False) as portal:
        assert portal.host in {"127.0.0.1", "::1"}
        socket.create_connection((portal.host, portal.port), PATIENCE).close()


def test_a_fork_is_told_that_the_portal_is_elsewhere() -> None:
    script = """
import os
from esps_portal.testing import PortalEndedError, serve_in_thread

with serve_in_thread() as portal:
    child = os.fork()
    if not child:
        try:
            portal.calls()
        except PortalEndedError as error:
            print(error, flush=True)
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert portal.calls() == []
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == "the portal runs in the process that this one was forked from\n"


@pytest.mark.parametrize("bare", [True, False])
def test_a_service_of_the_test(portal: PortalController, *, bare: bool) -> None:
    @(portal.service if bare else portal.service(usage="SKU"))
    def price(sku: bytes) -> bytes:
        return sku * 2

    assert price(b"x") == b"xx"
    with blocking.connect(portal.url) as client:
        assert client.call("price", "x") == (b"xx",)
        assert client.describe("price")[2] == (b"" if bare else b"SKU")
    portal.verify()


def test_a_report_shows_the_beginning_and_the_end(portal: PortalController) -> None:
    with blocking.connect(portal.url) as client:
        for number in range(100):
            client.call("echo", str(number))
    closed(portal)
    whole = portal.transcript()
    with pytest.raises(NotCalledError) as caught:
        portal.wait_for("price", timeout=0)
    _, *lines = str(caught.value).splitlines()
    head, left_out, tail = lines[:30], lines[30], lines[31:]
    count = len(whole.splitlines()) - 120
    assert (left_out, len(tail)) == (f"          ({count} lines are left out here)", 90)
    assert whole.startswith("\n".join(head))
    assert whole.endswith("\n".join(tail))
