"""Peers that are no portal, or slow to say that they are one, as both clients meet them."""

from __future__ import annotations

import socket

import pytest
import trio

from esps_portal import ClosedError, EspsError, PeerError, TimedOutError, blocking, connect
from esps_portal.protocol.retransmission import Retransmission
from tests.client.test_duties import (
    GREETING,
    Ask,
    both_clients,
    datagrams,
    lines_until,
    listener,
    tcp_url,
    udp_url,
)


async def failing(ask: Ask, url: str) -> EspsError:
    with pytest.raises(EspsError) as caught:
        await ask(url)
    return caught.value


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both clients speak first almost at once."""
    for module in ("client.tcp", "blocking"):
        monkeypatch.setattr(f"esps_portal.{module}.GREETING_DUE", 0.01)


@both_clients
@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"220 mail ESMTP\r\n"])
async def test_what_a_stranger_said_is_kept(ask: Ask, said: bytes) -> None:
    """It is known by its first bytes: it ends neither its line nor the connection."""
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(said)
                assert b"CALL" not in await stream.receive_some()

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, PeerError)
    assert error.received == said


@both_clients
async def test_a_server_that_waits_for_its_client(ask: Ask, impatient: None) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                assert await lines_until(stream, 1) == [b"c1 HELLO ESPS/1"]
                await stream.send_all(b"HTTP/1.0 400 Bad request\r\n")

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, PeerError)
    assert error.received == b"HTTP/1.0 400 Bad request\r\n"


@both_clients
async def test_a_portal_that_is_slow_is_one(ask: Ask, impatient: None) -> None:
    """It greets, answers the HELLO that came first, and then the call."""
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await lines_until(stream, 1)
                await stream.send_all(GREETING + b"c1 OK ESPS/1 test/1\n")
                (call,) = await lines_until(stream, 1)
                await stream.send_all(call.split()[0] + b" OK done\n")

        nursery.start_soon(serve)
        assert await ask(tcp_url(server)) == (b"done",)


@both_clients
async def test_one_that_closes_without_a_greeting(ask: Ask) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            await (await server.accept()).aclose()

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, ClosedError)
    assert not error.greeted


@both_clients
async def test_what_a_stranger_said_over_udp_is_kept(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Retransmission(ack_timeout=0.05, max_retransmit=1)
    monkeypatch.setattr(Retransmission, "for_host", lambda _: quick)
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            _, source = await server.recvfrom(100)
            await server.sendto(b"\0dns", source)

        nursery.start_soon(serve)
        error = await failing(ask, udp_url(server))
    assert isinstance(error, TimedOutError)
    assert error.received == b"\0dns"


def test_and_where_the_time_is_over_first() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        url = "esps+udp://{}:{}".format(*server.getsockname())
        with blocking.connect(url, timeout=30) as portal:
            with pytest.raises(TimedOutError):
                portal.ping(timeout=0.01)
            _, source = server.recvfrom(100)
            server.sendto(b"rubbish", source)
            with pytest.raises(TimedOutError) as caught:
                portal.ping(timeout=0.1)
    assert caught.value.received == b"rubbish"


async def test_waiting_for_the_end_of_a_connection() -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING + b"* BYE idle\n")

        nursery.start_soon(serve)
        async with connect(tcp_url(server)) as portal:
            with pytest.raises(ClosedError) as caught:
                await portal.wait_closed()
    assert caught.value.reason == "idle"


async def test_over_udp_no_connection_ends() -> None:
    async with datagrams() as server, connect(udp_url(server)) as portal:
        with trio.move_on_after(0.01) as waited:
            await portal.wait_closed()
    assert waited.cancelled_caught
