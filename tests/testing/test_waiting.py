"""Waiting for calls: in a plain thread, under asyncio and trio, in vain, with wrong arguments."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
import trio

from esps_portal import blocking
from esps_portal.exchanges.server_state import ServerState
from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.testing import (
    NotCalledError,
    PortalController,
    PortalEndedError,
    open_portal,
    serve_in_thread,
)
from esps_portal.testing.waiting import Wait
from tests.patience import PATIENCE, until
from tests.sockets import ask, closed, connected, timed, udp

_Result = TypeVar("_Result")


class SameThread:
    """A loop that is this thread."""

    def run(self, function: Callable[[], _Result]) -> _Result:
        return function()

    def access(self, function: Callable[[], _Result]) -> _Result:
        return function()


async def test_what_is_waited_for_may_happen_just_after_the_timeout() -> None:
    waiters = Waiters()
    kept: list[Callable[[], None]] = []

    def begin(met: Callable[[], None]) -> Waiter:
        kept.append(met)
        return waiters.add(Waiter("echo", 1, met))

    assert not await Wait(SameThread(), waiters, begin).pause(0)
    assert not waiters.waiting
    kept[0]()  # it was on its way
    assert not Wait(SameThread(), waiters, begin).block(0)


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
                received = b""
                while b"a OK x\n" not in received:
                    received += await stream.receive_some()

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


def test_the_error_shows_which_calls_came(portal: PortalController) -> None:
    with connected(portal) as client:
        client.call(b"a CALL echo x")
        with pytest.raises(AssertionError) as caught:
            portal.wait_for("price", count=2, timeout=0.01)
    first, *rest = str(caught.value).splitlines()
    assert first == "price was called 0 of 2 times in 0.01 s"
    assert any(line.endswith("--> a CALL echo x") for line in rest)
    assert any(line.endswith("<-- a OK x") for line in rest)
    assert isinstance(caught.value, TimeoutError)


def test_the_error_shortens_a_long_transcript(
    portal: PortalController,
) -> None:
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


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be a positive integer, got 0"),
        ({"count": 1.5}, ValueError, "count must be a positive integer, got 1.5"),
        ({"count": True}, ValueError, "count must be a positive integer, got True"),
        ({"count": 10_001}, ValueError, "count must be at most 10000, the number of calls kept"),
        ({"timeout": -1}, ValueError, "timeout must be a number of seconds, 0 or more, got -1"),
        ({"timeout": float("nan")}, ValueError, "0 or more, got nan"),
        ({"timeout": None}, TypeError, "timeout must be a number of seconds, got None"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, got '1'"),
        ({"service": b"price"}, TypeError, "service must be a str, or None for any, got b'price'"),
    ],
)
async def test_wrong_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with serve_in_thread() as portal, pytest.raises(error, match=message):
        await portal.wait_for_async(**arguments)


@contextlib.contextmanager
def alarmed_soon(handler: Callable[..., None]) -> Iterator[None]:
    """Send this thread a signal: one that is for the process may come to any of its threads."""
    before = signal.signal(signal.SIGALRM, handler)
    late = threading.Timer(0.05, signal.pthread_kill, [threading.get_ident(), signal.SIGALRM])
    late.start()
    try:
        yield
    finally:
        late.join()
        signal.signal(signal.SIGALRM, before)


def test_a_timeout_error_of_a_signal_handler_passes_through(portal: PortalController) -> None:
    def alarm(*_: object) -> None:
        raise TimeoutError("the test takes too long")

    with (
        timed() as elapsed,
        pytest.raises(TimeoutError, match="the test takes too long") as it,
        alarmed_soon(alarm),
    ):
        portal.wait_for("price", timeout=PATIENCE)
    assert not isinstance(it.value, NotCalledError)
    assert elapsed.seconds < PATIENCE


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    "wait",
    [
        lambda portal: portal.wait_for("price", timeout=PATIENCE),
        lambda portal: portal.wait_for_connections(timeout=PATIENCE),
        lambda portal: portal.fault("reset").wait_for(timeout=PATIENCE),
        lambda portal: asyncio.run(portal.wait_for_async("price", timeout=PATIENCE)),
        lambda portal: trio.run(partial(portal.wait_for_async, "price", timeout=PATIENCE)),
    ],
)
def test_a_wait_ends_with_its_test(wait: Callable[[Any], object], *, again: bool) -> None:
    """What another test does is nothing that it waits for."""
    errors: list[BaseException] = []

    def run(portal: PortalController) -> None:
        try:
            wait(portal)
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    with serve_in_thread() as portal:
        thread = threading.Thread(target=run, args=(portal,), daemon=True)
        thread.start()
        waiting = portal._thread._served.state  # noqa: SLF001 - nothing tells that it waits
        until(lambda: bool(_waits(waiting)))
        portal.release()
        if again:
            portal.acquire(lambda _: None)
        thread.join(PATIENCE)
    (error,) = errors
    assert isinstance(error, PortalEndedError)
    assert str(error) == "the test that waits here has ended"


def _waits(state: ServerState) -> list[object]:
    journal = state.journal
    both = journal.waiters.waiting + journal.connection_waiters.waiting
    return [*both, *state.faults.waiters.waiting]
