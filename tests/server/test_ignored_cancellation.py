"""A service that ignores its cancellation holds nothing but itself."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from esps_portal import CallContext, Limits, Listeners, Portal, ServerConfig, serve
from tests.patience import PATIENCE
from tests.portals import Running, running

Service = Callable[[trio.Event], Awaitable[None]]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for calls that will not end."""
    for module in "net.detached", "server.answerer", "server.call_tasks", "server.datagram_calls":
        monkeypatch.setattr(f"esps_portal.{module}.CANCELLED", 0.05)


async def shielded(released: trio.Event) -> None:
    with trio.CancelScope(shield=True):
        await released.wait()


async def catching(released: trio.Event) -> None:
    while not released.is_set():
        try:
            await released.wait()
        except BaseException:  # noqa: BLE001, S112 - that is the case
            continue


@asynccontextmanager
async def stubborn(service: Service) -> AsyncIterator[Running]:
    """A portal with a service that ends only once the test has ended."""
    portal = Portal(limits=Limits(drain=0.05, linger=0.05, max_connections=1))
    released = trio.Event()

    @portal.service(name="stubborn")
    async def _() -> None:
        await service(released)

    async with running(portal) as listening:
        try:
            yield listening
        finally:
            released.set()


@pytest.mark.parametrize("service", [shielded, catching])
@pytest.mark.parametrize("how", ["quit", "fin", "rst"])
async def test_its_connection_ends_without_it(
    service: Service, how: str, caplog: pytest.LogCaptureFixture
) -> None:  # ESPS-END-11
    async with stubborn(service) as portal:
        client = await portal.tcp()
        await client.send(b"a CALL stubborn\nb PING\n")
        assert await client.line() == b"b OK"
        if how == "quit":
            await client.send(b"c QUIT\n")
            assert (await client.line()).startswith(b"a ERR closing")
            assert (await client.line(), await client.line()) == (b"c OK", b"")
        elif how == "fin":
            await client.stream.send_eof()
            assert (await client.line()).startswith(b"a ERR closing")
            assert await client.line() == b""
        else:
            await trio.aclose_forcefully(client.stream)
        greeting = b""
        while not greeting.startswith(b"* ESPS/1 "):  # its slot is free
            greeting = await (await portal.connect()).line()
    message = "a connection ends without its calls, which ignore cancellation: stubborn"
    assert [record.getMessage() for record in caplog.records] == [message]


async def test_one_that_still_sends_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:  # ESPS-END-11
    portal = Portal(limits=Limits(drain=0.05, linger=0.01))
    is_over = False

    @portal.service
    async def stubborn(*, call: CallContext) -> None:
        with trio.CancelScope(shield=True):
            while not is_over:
                await call.data(b"x" * 8000)

    try:
        async with running(portal) as listening:
            unread = await listening.tcp()
            await unread.send(b"a CALL stubborn\n")
            assert (await unread.line()).startswith(b"a DATA")
            await trio.testing.wait_all_tasks_blocked(0.01)  # nothing more can be sent
            await listening.listeners.ports.reset()
            other = await listening.tcp()
            await other.send(b"a PING\n")
            assert await other.line() == b"a OK"
    finally:
        is_over = True
    message = "a connection ends without its calls, which ignore cancellation: stubborn"
    assert caplog.messages == [message]


@pytest.mark.parametrize("service", [shielded, catching])
async def test_over_udp_it_is_left_behind(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with stubborn(service) as portal:
        client = portal.udp()
        client.send(b"a CALL stubborn\n")
        client.send(b"b PING\n")
        assert await client.receive() == b"b OK\n"
        await portal.listeners.ports.reset()
    message = "calls over UDP are left behind, which ignore cancellation: stubborn"
    assert message in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("service", [shielded, catching])
@pytest.mark.parametrize("how", ["shut down", "cancelled"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_serving_ends_without_it(
    service: Service, how: str, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    portal = Portal(limits=Limits(drain=0.05, linger=0.05))
    released = trio.Event()

    has_begun = trio.Event()

    @portal.service(name="stubborn")
    async def _() -> None:
        has_begun.set()
        await service(released)

    ended = trio.Event()

    async def serve_to_the_end(*, task_status: trio.TaskStatus[Listeners]) -> None:
        try:
            await serve(ServerConfig(portal=portal, port=0), task_status=task_status)
        finally:
            ended.set()

    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    async with trio.open_nursery() as nursery:
        listeners: Listeners = await nursery.start(serve_to_the_end)
        with socket.socket(socket.AF_INET, kind) as client:
            client.connect(getattr(listeners, transport)[0])
            client.send(b"a CALL stubborn\n")
            await has_begun.wait()
            with trio.fail_after(PATIENCE, shield=True):
                if how == "shut down":
                    listeners.shut_down()
                else:
                    nursery.cancel_scope.cancel()
                await ended.wait()
    assert not released.is_set()
    released.set()  # else trio itself would wait
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("which ignore cancellation: stubborn")


async def test_the_reader_does_not_wait_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:  # ESPS-VERB-21, ESPS-VERB-20
    async with stubborn(catching) as portal:
        client = await portal.tcp()
        await client.send(b"a CALL stubborn\nb CANCEL a\nc PING\n")
        assert (await client.line()).startswith(b"a ERR cancelled")
        with trio.fail_after(PATIENCE):
            assert (await client.line(), await client.line()) == (b"b OK", b"c OK")
        (message,) = [record.getMessage() for record in caplog.records]
        assert message == "a call still runs though it was cancelled: stubborn"
