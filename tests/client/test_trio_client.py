"""The client on trio, over both transports: a running portal, and servers that are at fault."""

from __future__ import annotations

import errno
import os
import socket
from typing import NoReturn

import pytest
import trio
import trio.testing

from esps_portal import (
    ClosedError,
    Limits,
    PeerError,
    ReplyError,
    ServerConfig,
    TimedOutError,
    UnreachableError,
    blocking,
    connect,
    serve,
)
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.services.builtin_portal import builtin_portal
from tests.patience import PATIENCE

QUICK = Retransmission(ack_timeout=0.01)


async def test_calls(url: str) -> None:
    async with connect(url) as portal:
        assert await portal.call("echo", "a b", b"\x00\xff", "", "ü") == (
            b"a b",
            b"\x00\xff",
            b"",
            "ü".encode(),
        )
        assert await portal.ping("x") == (b"x",)
        assert "echo" in await portal.services()
        assert (await portal.describe("count"))[0] == b"count"
        assert (await portal.hello())[0] == b"ESPS/1"


async def test_an_err_reply_has_code_and_message(url: str) -> None:
    async with connect(url) as portal:
        with pytest.raises(ReplyError) as caught:
            await portal.call("fail", "x-shop", "sold", "out")
        assert (caught.value.code, caught.value.message) == ("x-shop", "sold out")


async def test_streams(url: str) -> None:
    async with connect(url) as portal, portal.stream("drip", "3", "1") as rows:
        assert [row async for row in rows] == [(b"1",), (b"2",), (b"3",)]
        assert rows.result == (b"3",)


async def test_any_request(url: str) -> None:
    async with connect(url) as portal:
        async with portal.request("HELLO", "ESPS/9", "ESPS/1") as rows:
            assert [row async for row in rows] == []
            assert rows.result[0] == b"ESPS/1"
        async with portal.request("CALL", "drip", "2", "1") as rows:
            assert [row async for row in rows] == [(b"1",), (b"2",)]
        async with portal.request("NONSENSE") as rows:
            with pytest.raises(ReplyError, match=r"^unknown-verb"):
                await anext(rows)


@pytest.mark.parametrize("verb", ["", "P%4E", "PING x", "P\n", "X" * 17, "\udcff"])
async def test_what_is_no_verb_is_not_sent(url: str, verb: str) -> None:
    async with connect(url) as portal:
        with pytest.raises(ValueError, match="a verb is 1 to 16 letters"):
            portal.request(verb)
        assert await portal.ping("next") == (b"next",)


async def test_a_stream_that_is_left_early(url: str) -> None:
    async with connect(url) as portal:
        async with portal.stream("drip", "3", "1") as rows:
            async for _ in rows:
                break
        assert await portal.ping() == ()


async def test_many_calls_at_once(url: str) -> None:
    async with connect(url) as portal, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            text = str(number)
            assert await portal.call("delay", str(number % 7), text) == (text.encode(),)

        # Over UDP one socket has a share of what may run at once.
        for number in range(4 if url.startswith("esps+udp:") else 50):
            nursery.start_soon(one, number)


async def test_cancelling_the_reader_leaves_the_others(port: int) -> None:
    async with connect(f"esps://127.0.0.1:{port}") as portal, trio.open_nursery() as nursery:

        async def short() -> None:
            with trio.move_on_after(0.05):
                await portal.call("stall")

        nursery.start_soon(short)
        await trio.testing.wait_all_tasks_blocked()
        assert await portal.call("delay", "100", "x") == (b"x",)


async def test_cancelling_a_call_cancels_it_at_the_portal(nursery: trio.Nursery) -> None:
    portal = builtin_portal("test/1")
    begun, ended = trio.Event(), trio.Event()

    @portal.service
    async def forever() -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    listening = await nursery.start(serve, ServerConfig(portal=portal, port=0))
    with trio.fail_after(30):
        async with connect(f"esps://127.0.0.1:{listening.tcp[0][1]}") as client:
            async with trio.open_nursery() as calls:
                calls.start_soon(client.call, "forever")
                await begun.wait()
                calls.cancel_scope.cancel()
            await ended.wait()
            assert await client.ping("still") == (b"still",)


async def test_more_than_the_buffers_hold(port: int) -> None:
    """A client reads while it writes, or both sides would wait for each other."""
    big, answers = "x" * 8000, []
    with trio.fail_after(60):
        async with connect(f"esps://127.0.0.1:{port}") as portal, trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await portal.call("echo", big))

            for _ in range(2000):
                nursery.start_soon(ask)
    assert answers == [(big.encode(),)] * 2000


@pytest.mark.parametrize(
    ("service", "error"),
    [("close", ClosedError), ("reset", PeerError), ("truncate", ClosedError)],
)
async def test_a_portal_that_ends_the_connection(
    port: int, service: str, error: type[Exception]
) -> None:
    args = ("9",) if service == "truncate" else ()
    async with connect(f"esps://127.0.0.1:{port}") as portal:
        with pytest.raises(error):
            await portal.call(service, *args)
        with pytest.raises(error):
            await portal.ping()


async def test_garbage_is_a_peer_error(port: int) -> None:
    async with connect(f"esps://127.0.0.1:{port}") as portal:
        with pytest.raises((PeerError, ClosedError)):
            await portal.call("garbage", "2000", "1")


async def test_a_reset_that_overtakes_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may report it as the result of ``connect``; the caller gets the same error."""
    reset = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def refuse(*_: object) -> NoReturn:
        raise reset

    async def refuse_all(*_: object) -> NoReturn:
        raise OSError("all attempts to connect failed") from ExceptionGroup("", [reset])

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(trio, "open_tcp_stream", refuse_all)
    raises_peer_error = pytest.raises(
        PeerError, match=r"^the portal reset: Connection reset by peer$"
    )
    with raises_peer_error, blocking.connect():
        pass
    with raises_peer_error:
        async with connect():
            pass


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
async def test_nobody_there(scheme: str) -> None:
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{tcp.getsockname()[1]}"
        with pytest.raises(UnreachableError):
            async with connect(url) as portal:
                await portal.ping()
        with pytest.raises(UnreachableError), blocking.connect(url) as other:
            other.ping()


async def test_an_exception_in_the_block_is_not_wrapped(url: str) -> None:
    with pytest.raises(KeyError):
        async with connect(url):
            raise KeyError


async def test_no_answer_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"esps+udp://127.0.0.1:{silent.getsockname()[1]}"
        async with connect(url, retransmission=QUICK) as portal:
            with pytest.raises(TimedOutError):
                await portal.ping()
        silent.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        assert len({silent.recv(100) for _ in range(5)}) == 1  # ESPS-UDP: the same datagram
        with pytest.raises(BlockingIOError):
            silent.recv(100)


async def test_a_reply_with_another_tag_is_ignored() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        liar.settimeout(PATIENCE)
        liar.bind(("127.0.0.1", 0))

        def lie() -> None:
            _, source = liar.recvfrom(100)
            liar.sendto(b"other OK x\n", source)
            liar.sendto(b"rubbish", source)
            liar.sendto(b"\xff\n", source)
            request, source = liar.recvfrom(100)
            liar.sendto(request.split()[0] + b" OK true\n", source)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lie)
            url = f"esps+udp://127.0.0.1:{liar.getsockname()[1]}"
            async with connect(url) as portal:
                assert await portal.ping() == (b"true",)


async def test_a_portal_without_room(nursery: trio.Nursery) -> None:
    config = ServerConfig(portal=builtin_portal("x/1", Limits(max_connections=1)), port=0)
    listening = await nursery.start(serve, config)
    url = f"esps://127.0.0.1:{listening.tcp[0][1]}"
    async with connect(url):
        with pytest.raises(ClosedError) as caught:
            async with connect(url):
                pass
        assert caught.value.reason == "busy"


async def test_wrong_arguments(url: str) -> None:
    async with connect(url) as portal:
        with pytest.raises(TypeError):
            await portal.call("echo", 1)  # type: ignore[arg-type]  # that is the test
        with pytest.raises(ValueError, match="longer than"):
            await portal.call("echo", "x" * 9000)
        assert await portal.ping() == ()
