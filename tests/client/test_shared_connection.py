"""Several calls on one connection: none of them holds up the others."""

from __future__ import annotations

import contextlib
import functools
import socket

import pytest
import trio
import trio.testing

from esps_portal import CallContext, ServerConfig, SlowConsumerError, blocking, connect, serve
from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.services.builtin_portal import builtin_portal

GREETING = b"* ESPS/1 test/1\n"
ROWS = 2000
# Bytes: more than the rows of one read, and less than those of all.
MAX_BUFFERED = 300_000


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    portal = builtin_portal("test/1")

    @portal.service
    async def rows(*, call: CallContext) -> None:
        for number in range(ROWS):
            await call.data(str(number), "x" * 100)

    listening = await nursery.start(serve, ServerConfig(portal=portal, port=0))
    return int(listening.tcp[0][1])


async def test_a_call_for_each_line_of_a_stream(port: int) -> None:
    """Its answers come after lines that the same task has yet to collect."""
    url, asked = f"esps://127.0.0.1:{port}", 0
    with trio.fail_after(60):
        async with connect(url) as portal, portal.stream("rows") as rows:
            async for number, _ in rows:
                assert await portal.call("echo", number) == (number,)
                asked += 1
    assert asked == ROWS


@pytest.fixture
def few_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "esps_portal.client.tcp_session.ClientConnection",
        functools.partial(ClientConnection, max_buffered=MAX_BUFFERED),
    )


@pytest.mark.usefixtures("few_held")
async def test_a_stream_that_nobody_collects_is_ended(port: int) -> None:
    with trio.fail_after(60):
        async with connect(f"esps://127.0.0.1:{port}") as portal:
            async with portal.stream("rows") as rows:
                assert (await anext(rows))[0] == b"0"
                for _ in range(ROWS):
                    await portal.ping()
                with pytest.raises(SlowConsumerError, match=f"over {MAX_BUFFERED} bytes"):
                    await anext(rows)
            assert await portal.ping("x") == (b"x",)


@pytest.mark.usefixtures("few_held")
async def test_a_blocking_stream_that_nobody_collects_is_ended(port: int) -> None:
    def session() -> None:
        with (
            blocking.connect(f"esps://127.0.0.1:{port}", timeout=30) as portal,
            portal.stream("rows") as rows,
        ):
            assert next(rows)[0] == b"0"
            for _ in range(ROWS):
                portal.ping()
            with pytest.raises(SlowConsumerError, match=f"over {MAX_BUFFERED} bytes"):
                next(rows)
            assert portal.ping("x") == (b"x",)

    await trio.to_thread.run_sync(session)


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
async def test_a_stream_after_its_block(port: int, scheme: str) -> None:
    async with connect(f"{scheme}://127.0.0.1:{port}") as portal:
        async with portal.stream("drip", "3", "1") as rows:
            assert await anext(rows) == (b"1",)
        with pytest.raises(RuntimeError, match="its `async with` block is over"):
            await anext(rows)


async def answer(stream: trio.SocketStream) -> None:
    """Answer each line until the client has gone, which waits for few of the answers."""
    held = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            *lines, held = (held + data).split(b"\n")
            await stream.send_all(b"".join(line.split()[0] + b" OK\n" for line in lines))


async def test_a_task_that_is_cancelled_while_it_sends_leaves_the_rest_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("esps_portal.client.tcp.CLEANUP_TIMEOUT", 0.01)
    long = "x" * 8000
    (server,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with server, trio.open_nursery() as nursery:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream: trio.SocketStream | None = None

        async def greet() -> None:
            nonlocal stream
            stream = await server.accept()
            await stream.send_all(GREETING)

        nursery.start_soon(greet)
        url = f"esps://127.0.0.1:{server.socket.getsockname()[1]}"
        with trio.fail_after(60):
            async with connect(url) as portal, trio.open_nursery() as patient:
                async with trio.open_nursery() as impatient:
                    # More than the buffers between the two hold: one of them sends, and waits.
                    for _ in range(1000):
                        impatient.start_soon(portal.call, "work", long)
                    await trio.testing.wait_all_tasks_blocked()
                    for _ in range(3):
                        patient.start_soon(portal.call, "work", long)
                    await trio.testing.wait_all_tasks_blocked()
                    impatient.cancel_scope.cancel()
                assert stream is not None
                nursery.start_soon(answer, stream)
        nursery.cancel_scope.cancel()
    await stream.aclose()
