"""Servers that are not portals, and portals that are slow to greet, for both clients."""

from __future__ import annotations

import errno
import socket
import threading
from functools import partial

import pytest
import trio

from esps_portal import ClosedError, EspsError, PeerError, TimedOutError, blocking, connect
from esps_portal.client.tcp_session import TCPSession
from esps_portal.protocol.retransmission import Retransmission
from tests.client.bare_server import (
    GREETING,
    Ask,
    both_clients,
    datagrams,
    lines_until,
    listener,
    tcp_url,
    udp_url,
)
from tests.patience import PATIENCE


async def failing(ask: Ask, url: str) -> EspsError:
    with pytest.raises(EspsError) as caught:
        await ask(url)
    return caught.value


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both clients speak first almost at once."""
    for module in ("tcp", "blocking_tcp"):
        monkeypatch.setattr(f"esps_portal.client.{module}.HELLO_DELAY", 0.01)


@both_clients
@pytest.mark.parametrize("greeting", [b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"220 mail ESMTP\r\n"])
async def test_the_error_has_what_the_server_sent(ask: Ask, greeting: bytes) -> None:
    """Its first bytes are enough: it ends neither its line nor the connection."""
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(greeting)
                assert b"CALL" not in await stream.receive_some()

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, PeerError)
    assert error.received == greeting


async def test_names_that_are_no_text() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(GREETING)
            tag = (await stream.receive_some()).partition(b" ")[0]
            await stream.send_all(tag + b" OK echo %FF%1B\n")
            # Its QUIT: a client that does not wait for the reply would reset for one.
            assert (await stream.receive_some()).endswith(b" QUIT\n")

    def ask(url: str) -> list[str]:
        with blocking.connect(url, timeout=30) as portal:
            return portal.services()

    async with listener() as server, trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, [server]))
        async with connect(tcp_url(server)) as portal:
            names = await portal.services()
        assert await trio.to_thread.run_sync(ask, tcp_url(server)) == names
        assert names == ["echo", "\\xff\x1b"]
        nursery.cancel_scope.cancel()


@both_clients
async def test_a_server_that_waits_for_its_client(ask: Ask, impatient: None) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                assert await lines_until(stream, 1) == [
                    b"c1 HELLO ESPS/1"
                ]  # ESPS-VERB-28: it offers no other, so it need not wait
                await stream.send_all(b"HTTP/1.0 400 Bad request\r\n")

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, PeerError)
    assert error.received == b"HTTP/1.0 400 Bad request\r\n"


@both_clients
async def test_a_portal_that_is_slow_to_greet(ask: Ask, impatient: None) -> None:
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
async def test_a_server_that_closes_without_a_greeting(ask: Ask) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            await (await server.accept()).aclose()

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, ClosedError)
    assert not error.greeted


@both_clients
async def test_the_error_has_the_line_that_was_cut_off(ask: Ask) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING)
                await lines_until(stream, 1)
                await stream.send_all(b"c1 OK hel\x1b")

        nursery.start_soon(serve)
        error = await failing(ask, tcp_url(server))
    assert isinstance(error, ClosedError)
    assert error.unfinished == b"c1 OK hel\x1b"


def test_a_reset_has_it_too() -> None:
    """Without a socket: a reset also drops what the client had not read."""
    reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    session = TCPSession()
    session.receive_untrusted(GREETING)
    session.receive_untrusted(b"c1 OK hel\x1b")
    error = session.receive_failed(reset)
    assert isinstance(error, PeerError)
    assert str(error) == r'the portal reset: Connection reset by peer; it sent "c1 OK hel\x1b"'
    session = TCPSession()
    session.receive_untrusted(b"* ESPS/1 te")
    error = session.receive_failed(reset)
    assert isinstance(error, PeerError)
    assert not error.received, "it may become a portal"


@pytest.mark.parametrize("trickles", [False, True])
def test_a_timeout_has_it_too(trickles: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        url = "esps://{}:{}".format(*server.getsockname())
        ended = threading.Event()

        def serve() -> None:
            with server.accept()[0] as stream:
                stream.sendall(GREETING + b"c1 OK hel")
                while not ended.wait(0.001):
                    if trickles:
                        stream.sendall(b"l")

        thread = threading.Thread(target=serve)
        thread.start()
        with blocking.connect(url, timeout=PATIENCE) as portal:
            with pytest.raises(TimedOutError) as caught:
                portal.ping(timeout=0.05)
            # It must not send to a client that has closed.
            ended.set()
            thread.join()
    assert caught.value.unfinished.startswith(b"c1 OK hel")


@both_clients
async def test_the_error_has_what_came_over_udp(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Retransmission(ack_timeout=0.2, max_retransmit=1)
    monkeypatch.setattr(Retransmission, "for_host", lambda _: quick)
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            _, source = await server.recvfrom(100)
            await server.sendto(b"\0dns", source)

        nursery.start_soon(serve)
        error = await failing(ask, udp_url(server))
    assert isinstance(error, TimedOutError)
    assert error.received == b"\0dns"


def test_the_error_has_it_also_at_a_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        url = "esps+udp://{}:{}".format(*server.getsockname())
        with blocking.connect(url, timeout=30) as portal:
            with pytest.raises(TimedOutError):
                portal.ping(timeout=0.01)
            _, source = server.recvfrom(100)
            server.sendto(b"rubbish", source)
            with pytest.raises(TimedOutError) as caught:
                portal.ping(timeout=1)
    assert caught.value.received == b"rubbish"


async def test_wait_closed() -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING + b"* BYE idle\n")

        nursery.start_soon(serve)
        async with connect(tcp_url(server)) as portal:
            with pytest.raises(ClosedError) as caught:
                await portal.wait_closed()
    assert caught.value.reason == "idle"


@both_clients
@pytest.mark.parametrize("reason", [b" idle", b" x-tired words", b""])
async def test_after_a_bye_nobody_waits_for_fin(ask: Ask, reason: bytes) -> None:  # ESPS-CLI-4
    async with listener() as server, trio.open_nursery() as nursery:
        asked = trio.Event()

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING)
                await stream.receive_some(1000)
                await stream.send_all(b"* BYE%b\nc1 OK too late\n" % reason)
                await asked.wait()  # and no FIN

        nursery.start_soon(serve)
        with pytest.raises(ClosedError) as caught:
            await ask(tcp_url(server))
        assert caught.value.reason == reason.decode().strip()
        asked.set()


@both_clients
async def test_an_answer_before_a_bye_is_collected(ask: Ask) -> None:  # ESPS-CLI-4
    async with listener() as server, trio.open_nursery() as nursery:
        asked = trio.Event()

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING)
                tag = (await stream.receive_some(1000)).split()[0]
                await stream.send_all(tag + b" OK done\n* BYE idle\n")
                await asked.wait()

        nursery.start_soon(serve)
        assert await ask(tcp_url(server)) == (b"done",)
        asked.set()


@both_clients
async def test_after_a_bye_closing_answers_still_come(ask: Ask) -> None:  # ESPS-CLI-5
    async with listener() as server, trio.open_nursery() as nursery:
        asked = trio.Event()

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING)
                tag = (await stream.receive_some(1000)).split()[0]
                await stream.send_all(b"* BYE closing\n")
                await stream.send_all(tag + b" OK done\n")
                await asked.wait()

        nursery.start_soon(serve)
        assert await ask(tcp_url(server)) == (b"done",)
        asked.set()


async def test_a_wait_after_a_bye_closing_has_an_end() -> None:  # ESPS-CLI-6
    async with listener() as server, trio.open_nursery() as nursery:
        asked = trio.Event()

        async def serve() -> None:
            async with await server.accept() as stream:
                await stream.send_all(GREETING + b"* BYE closing\n")
                await asked.wait()  # neither an answer nor FIN

        not_in_time = pytest.raises(TimedOutError)

        def ask() -> None:
            with blocking.connect(tcp_url(server), timeout=30) as portal, not_in_time:
                portal.call("work", timeout=0.05)

        nursery.start_soon(serve)
        await trio.to_thread.run_sync(ask)
        asked.set()


async def test_wait_closed_over_udp_never_returns() -> None:
    async with datagrams() as server, connect(udp_url(server)) as portal:
        with trio.move_on_after(0.01) as waited:
            await portal.wait_closed()
    assert waited.cancelled_caught
