"""What a test does with a proxy, and sees of it, in front of a server in another thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from esps_portal.testing import (
    CannotBindError,
    CannotRecordError,
    FaultError,
    FramingError,
    NoExchangeError,
    NotStruckError,
    OwnUpstreamError,
    PortalController,
    PortalEndedError,
    ProxyController,
    UpstreamError,
    VerificationError,
    datagrams,
    lines,
    open_proxy,
    proxy_in_thread,
)
from esps_portal.testing.threaded_proxy import ThreadedProxy
from tests import patience
from tests.journal.packets import read_capture, read_streams
from tests.line_servers import counter, datagram_server, line_server
from tests.patience import PATIENCE
from tests.proxies import a_free_port
from tests.sockets import Client, ask, closed, connected, udp, until

ROUNDS = 50


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[str]:
    with line_server(counter()) as url:
        yield url


@pytest.fixture(name="proxy")
def _proxy(upstream: str) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(upstream) as proxy:
        yield proxy


def client_of(proxy: ProxyController) -> contextlib.AbstractContextManager[Client]:
    return connected(proxy, greeted=False)


# -- exchanges


def test_an_exchange(proxy: ProxyController) -> None:
    with client_of(proxy) as client:
        assert client.call(b"GET n") == b"GET n\n"
        (exchange,) = proxy.exchanges()
        assert (exchange.request, exchange.reply) == (b"GET n\n", b"GET n\n")
        assert (exchange.complete, exchange.ended, exchange.state) == (False, None, "replied")
        client.call(b"GET m")
        first, second = proxy.exchanges()
        assert first is exchange
        assert (first.complete, first.state) == (True, "replied")
        assert first.ended is not None
        assert first.started <= first.ended <= second.started
    assert [(e.connection, e.number) for e in (first, second)] == [(1, 1), (1, 2)]
    (connection,) = closed(proxy)
    assert (connection.requests, connection.closed_by) == (2, "client")
    assert (first.overlapped, first.fault) == (False, "")


@pytest.mark.parametrize(
    "match", ["INCR", b"INCR", re.compile(rb"^IN.R"), re.compile("R n$"), lambda said: b"I" in said]
)
def test_exchanges_that_match(proxy: ProxyController, match: Any) -> None:  # noqa: ANN401 - anything that can
    with client_of(proxy) as client:
        for request in (b"GET n", b"INCR n", b"GET n"):
            client.call(request)
    assert [found.number for found in proxy.exchanges(match)] == [2]
    assert proxy.wait_for(match, timeout=PATIENCE) == proxy.exchanges(match)


@pytest.mark.parametrize("match", ["", b"", 5])
def test_a_match_that_is_none(proxy: ProxyController, match: Any) -> None:  # noqa: ANN401 - wrong
    for ask_for in (proxy.exchanges, proxy.wait_for):
        with pytest.raises(ValueError, match="match must"):
            ask_for(match)


def test_what_the_server_says_first_matches_nothing() -> None:
    with (
        line_server(counter(), b"220 ready\r\n") as upstream,
        proxy_in_thread(upstream) as proxy,
        client_of(proxy) as client,
    ):
        assert client.line() == b"220 ready\r\n"
        (greeting,) = proxy.exchanges()
        assert (greeting.number, greeting.reply) == (0, b"220 ready\r\n")
        assert proxy.exchanges(lambda _: True) == []
        with pytest.raises(NoExchangeError):
            proxy.wait_for(timeout=0)
        client.call(b"EHLO")
        assert [found.number for found in proxy.wait_for(timeout=PATIENCE)] == [1]
        assert re.search(r"tcp #1 +<-- 220 ready\\r\\n\n.*tcp #1 +--> EHLO", proxy.transcript())


def test_datagrams() -> None:
    with datagram_server() as upstream, proxy_in_thread(upstream) as proxy, udp(proxy) as client:
        assert ask(client, b"one") == b"one"
        assert ask(client, b"two") == b"two"
        (found,) = proxy.wait_for("two", timeout=PATIENCE)
        assert (found.transport, found.connection, found.number) == ("udp", 1, 2)
        assert found.remote == client.getsockname()
        assert proxy.connections() == []
        assert re.match(r"<proxy at 127\.0\.0\.1 port \d+ \(UDP\); upstream udp://", repr(proxy))


def test_a_portal_behind_it_has_calls(portal: PortalController, proxy: ProxyController) -> None:
    portal.stub("price", "sku-1").reply("9.99")
    with proxy_in_thread(portal.url) as other, connected(other) as client:
        assert client.call(b"a CALL price sku-1") == b"a OK 9.99\n"
        (call,) = other.calls("price")
        assert (call.args, call.state) == ((b"sku-1",), "replied")
        assert [found.request for found in other.exchanges("price")] == [b"a CALL price sku-1\n"]
        assert "--> a CALL price sku-1" in other.transcript()
        other.reset()
        assert (other.calls(), other.exchanges(), other.connections()) == ([], [], [])
    with pytest.raises(RuntimeError, match=r"is not a portal \(esps://\): see exchanges\(\)"):
        proxy.calls()


# -- waiting


def test_waiting(proxy: ProxyController) -> None:
    with client_of(proxy) as client:
        client.send(b"INCR n\n")
        assert len(proxy.wait_for("INCR", timeout=PATIENCE)) == 1
        client.line()
        client.send(b"INCR n\n")
        assert len(proxy.wait_for("INCR", count=2, timeout=PATIENCE)) == 2
        with pytest.raises(NoExchangeError) as caught:
            proxy.wait_for("DECR", timeout=0.01)
    text = str(caught.value)
    assert text.startswith("0 of 1 exchanges that match 'DECR' came in 0.01 s\n")
    assert text.count(r"--> INCR n\n") == 2


def test_a_wait_that_a_predicate_ends(proxy: ProxyController) -> None:
    """The test gets the error, at once, and the proxy goes on."""

    def fails(said: bytes) -> bool:
        raise LookupError(said)

    async def wait(client: Client) -> None:
        waiting = asyncio.ensure_future(proxy.wait_for_async(fails, timeout=PATIENCE))
        await asyncio.sleep(0)
        assert client.call(b"GET n") == b"GET n\n"
        with pytest.raises(LookupError):
            await waiting

    with client_of(proxy) as client:
        asyncio.run(wait(client))
        with pytest.raises(LookupError):
            proxy.wait_for(fails, timeout=PATIENCE)
        assert client.call(b"GET m") == b"GET m\n"


def test_a_wait_that_would_block(proxy: ProxyController) -> None:
    async def wait() -> None:
        with pytest.raises(RuntimeError, match=r"use `await proxy\.wait_for_async"):
            proxy.wait_for()

    asyncio.run(wait())


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 10_001}, {"timeout": -1}])
def test_a_wait_for_what_cannot_be(proxy: ProxyController, arguments: Any) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(ValueError, match="must be"):
        proxy.wait_for(**arguments)


# -- faults, outages, resets


def test_a_lost_reply(proxy: ProxyController) -> None:
    fault = proxy.fault("reset", times=1)
    with client_of(proxy) as client:
        client.send(b"INCR n\n")
        with pytest.raises(ConnectionResetError):
            client.rest()
    fault.wait_for(timeout=PATIENCE)
    with client_of(proxy) as client:
        assert client.call(b"INCR n") == b":2\r\n"
    assert fault.happened == 1
    assert [found.fault for found in proxy.exchanges("INCR")] == ["reset times=1", ""]
    proxy.verify()


@pytest.mark.parametrize("selectors", [{}, {"offset": 2}, {"when": "before"}])
def test_a_struck_exchange_is_so_while_its_connection_is_open(
    proxy: ProxyController, selectors: dict[str, Any]
) -> None:
    proxy.fault("half-close", **selectors)
    with client_of(proxy) as client:
        client.send(b"INCR n\n")
        client.rest()
        (exchange,) = proxy.exchanges()
        assert (exchange.state, exchange.ended) == ("faulted", None)


def test_a_fault_that_makes_no_sense_there(proxy: ProxyController) -> None:
    with pytest.raises(FaultError, match="give framing="):
        proxy.fault("no-terminator")


def test_an_outage(proxy: ProxyController) -> None:
    with client_of(proxy) as client:
        client.call(b"GET n")
        with proxy.down():
            with pytest.raises(ConnectionResetError):
                client.receive()
            with pytest.raises(ConnectionRefusedError), client_of(proxy):
                pass
            assert repr(proxy).endswith("; down>")
    with client_of(proxy) as client:
        assert client.call(b"GET n") == b"GET n\n"
    proxy.verify()


def test_a_reset(proxy: ProxyController) -> None:
    proxy.fault("reset", request=9)
    proxy.down()
    proxy.reset()
    with client_of(proxy) as client:
        client.call(b"GET n")
        proxy.reset()
        assert (proxy.exchanges(), proxy.connections(), proxy.journal()) == ([], [], [])
        with pytest.raises(ConnectionResetError):
            client.receive()
    proxy.verify()
    with client_of(proxy) as client:
        client.call(b"GET n")
        (exchange,) = proxy.exchanges()
        assert (exchange.connection, exchange.number) == (1, 1)
        assert 0 <= exchange.started < 1


# -- recordings


def test_a_capture_of_a_block(proxy: ProxyController, tmp_path: Path) -> None:
    """It begins with the connection that is open, and ends with what has come of a reply."""
    path = tmp_path / "redis.pcap"
    with client_of(proxy) as client:
        client.call(b"before")
        began = time.time()
        fault = proxy.fault("latency", seconds=0.02)
        with proxy.pcap(path):
            client.call(b"INCR n")
            client.call(b"INCR n")
        ended = time.time()
        client.call(b"after")
        remote = client.socket.getsockname()
    assert fault.happened == 3
    packets = read_capture(path.read_bytes())
    (stream,) = read_streams(packets)
    assert stream.said() == (b"INCR n\nINCR n\n", b":1\r\n:2\r\n")
    assert (stream.client, stream.server[1]) == (remote, int(proxy.upstream.rpartition(":")[2]))
    assert stream.ended == []
    # A unit has the time when it was read, which is before the fault's delay.
    times = [packet.seconds for packet in packets if packet.data]
    assert began < times[0] <= times[1] < times[2] - 0.02 < times[3] < ended
    with client_of(proxy) as client, proxy.pcap(path):
        client.call(b"again")
    (*_, stream) = read_streams(read_capture(path.read_bytes()))
    assert stream.said() == (b"again\n", b"again\n")


def test_a_capture_of_a_portals_lines(portal: PortalController, tmp_path: Path) -> None:
    """Its journal has calls, and what was said is in another one."""
    path = tmp_path / "portal.pcap"
    with proxy_in_thread(portal.url) as proxy, proxy.pcap(str(path)):
        with connected(proxy) as client:
            client.call(b"a CALL echo hi")
        closed(proxy)
    (stream,) = read_streams(read_capture(path.read_bytes()))
    client_said, server_said = stream.said()
    assert client_said == b"a CALL echo hi\n"
    assert re.fullmatch(rb"\* ESPS/1 \S+\na OK hi\n", server_said)
    assert stream.ended[0] == ("client", "fin")
    assert sorted(stream.ended) == [("client", "fin"), ("server", "fin")]


def test_a_recording_of_a_block(proxy: ProxyController, tmp_path: Path) -> None:
    path = tmp_path / "redis.jsonl"
    with client_of(proxy) as client:
        client.call(b"before")
        with proxy.record(path):
            client.call(b"INCR n")
        client.call(b"after")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(found["from"], found["data"]) for found in values if found["event"] == "unit"] == [
        ("client", "INCR n\n"),
        ("server", ":1\r\n"),
    ]


@pytest.mark.parametrize("method", ["record", "pcap"])
def test_a_file_that_cannot_be_written(proxy: ProxyController, tmp_path: Path, method: str) -> None:
    path = tmp_path / "other"
    path.write_text("something else")
    with pytest.raises(CannotRecordError), getattr(proxy, method)(path):
        pass
    assert path.read_text() == "something else"


def test_a_recording_that_outlives_its_proxy(upstream: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as files, proxy_in_thread(upstream) as proxy:
        files.enter_context(proxy.record(tmp_path / "redis.jsonl"))
        files.enter_context(proxy.pcap(tmp_path / "redis.pcap"))
    assert b"began" in (tmp_path / "redis.jsonl").read_bytes()
    assert read_capture((tmp_path / "redis.pcap").read_bytes()) == []


# -- the review


def report(proxy: ProxyController) -> str:
    with pytest.raises(VerificationError) as caught:
        proxy.verify()
    return str(caught.value)


def test_a_fault_that_never_struck(proxy: ProxyController) -> None:
    proxy.fault("reset", request=7)
    with client_of(proxy) as client:
        client.call(b"GET n")
        problem, nearest, _, *happened = report(proxy).splitlines()
    assert problem == "fault never struck: reset request=7"
    assert nearest == (
        r"    selected 0 times; nearest: GET n\n (tcp #1):"
        " request 7 never came: 1 request matched"
    )
    assert re.fullmatch(r" +\d\.\d+ tcp #1 +<-- GET n\\n", happened[-1])


def test_a_fault_on_a_reply_that_never_came() -> None:
    with line_server(lambda _: b"") as upstream, proxy_in_thread(upstream) as proxy:
        fault = proxy.fault("reset")
        with client_of(proxy) as client:
            client.send(b"GET n\n")
            proxy.wait_for(timeout=PATIENCE)
            why = "    selected 0 times; no reply came after it was placed"
            assert report(proxy).splitlines()[1] == why
            with pytest.raises(NotStruckError) as caught:
                fault.wait_for(timeout=0)
        assert str(caught.value).splitlines()[1] == why


def test_an_upstream_that_is_not_there() -> None:
    with a_free_port() as (host, port):
        upstream = f"tcp://{host}:{port}"
        with proxy_in_thread(upstream) as proxy, proxy_in_thread(upstream, unreachable="ok") as ok:
            for each in (proxy, proxy, ok):
                with pytest.raises(ConnectionResetError), client_of(each) as client:
                    client.rest()  # connecting may fail already
            assert report(proxy).splitlines()[0] == (
                f"upstream {upstream} could not be reached: Connection refused (2 times)"
            )
            ok.verify()
            proxy.reset()
            proxy.verify()


def test_an_upstream_that_is_not_there_over_udp() -> None:
    with a_free_port() as (host, port):
        pass
    with proxy_in_thread(f"udp://{host}:{port}") as proxy, udp(proxy) as client:
        client.send(b"one")
        proxy.wait_for("one", timeout=PATIENCE)
        until(proxy.problems, proxy)
        assert proxy.problems() == [
            f"upstream udp://{host}:{port} could not be reached: Connection refused (once)"
        ]


def test_bytes_that_are_no_frame(upstream: str) -> None:
    with proxy_in_thread(upstream, framing=lines()) as proxy:
        with client_of(proxy) as client:
            client.send(b"GET n\nGET")
            client.socket.shutdown(socket.SHUT_WR)
            assert client.rest() == b"GET n\nGET"
        at_end = "sent 'GET' at its end, which is not a whole frame"
        assert proxy.problems() == [
            f"bytes that are not a frame: connection 1: the {side} {at_end}"
            for side in ("client", "server")
        ]


def test_exchanges_that_overlap_are_named() -> None:
    def slow(line: bytes) -> bytes:
        return line * 200_000

    with line_server(slow) as upstream, proxy_in_thread(upstream) as proxy:
        fault = proxy.fault("latency", seconds=0.05)
        with client_of(proxy) as client:
            client.send(b"GET n\n")
            fault.wait_for(timeout=PATIENCE)
            client.send(b"GET m\n")
            client.exactly(2 * 1_200_000)
        proxy.verify()
        assert "\noverlapped: connection 1: the client sent bytes" in f"\n{proxy.review().text}"


# -- the loop


def sent_and_closed(proxy: ProxyController, _: contextlib.ExitStack) -> None:
    with socket.create_connection((proxy.host, proxy.port)) as client:
        client.sendall(b"INCR n\n")


def sent_and_kept(proxy: ProxyController, held: contextlib.ExitStack) -> None:
    client = held.enter_context(socket.create_connection((proxy.host, proxy.port)))
    client.sendall(b"INCR n\n")


@pytest.mark.parametrize("send", [sent_and_closed, sent_and_kept])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_exchange_is_missed(
    upstream: str, send: Callable[[ProxyController, contextlib.ExitStack], None], name: str
) -> None:
    """What comes just before the review is in it, though the upstream is connected to first."""
    with proxy_in_thread(upstream.replace("127.0.0.1", name)) as proxy:
        seen = []
        for _ in range(ROUNDS):
            with contextlib.ExitStack() as held:
                send(proxy, held)
                seen.append("--> INCR" in proxy.review().text)
                proxy.reset()
        assert seen == [True] * ROUNDS


def test_a_proxy_that_has_ended(upstream: str) -> None:
    with proxy_in_thread(upstream) as proxy:
        pass
    with pytest.raises(PortalEndedError, match=r"^the proxy has ended$"):
        proxy.exchanges()
    (problem,) = proxy.review().problems
    assert problem.startswith("the proxy has ended\n")


# -- starting


@pytest.mark.parametrize(
    "upstream", ["redis://127.0.0.1:1", "127.0.0.1:6379", "tcp://127.0.0.1", 6379]
)
def test_an_upstream_that_is_none(upstream: Any) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(UpstreamError), proxy_in_thread(upstream):
        pass


def test_an_upstream_that_is_the_proxy_itself() -> None:
    with a_free_port() as (host, port):
        pass
    with pytest.raises(OwnUpstreamError), proxy_in_thread(f"tcp://{host}:{port}", port=port):
        pass


def test_a_port_that_is_taken(proxy: ProxyController, upstream: str) -> None:
    with pytest.raises(CannotBindError), proxy_in_thread(upstream, port=proxy.port):
        pass


@pytest.mark.parametrize(
    ("scheme", "options", "text"),
    [
        ("tcp", {"framing": "lines"}, "a framing is an object"),
        ("tcp", {"reply_framing": lines()}, "reply_framing needs framing"),
        ("esps", {"framing": lines()}, "has its own framing: leave it out"),
        ("udp", {"framing": lines()}, "a framing is for TCP; for udp"),
        ("tcp", {"framing": datagrams()}, "'datagrams' is not a framing of a stream"),
        ("tcp", {"framing": lines(), "reply_framing": datagrams()}, "is not a framing of a stream"),
    ],
)
def test_a_framing_that_makes_no_sense(scheme: str, options: Any, text: str) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(FramingError, match=text), proxy_in_thread(f"{scheme}://[::1]:9", **options):
        pass


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hots": "::1"}, "unknown option hots; the options are framing, reply_framing, host"),
        ({"port": "80"}, "port must be a number from 0 to 65535, got '80'"),
        ({"unreachable": "no"}, "unreachable must be 'error' or 'ok', got 'no'"),
    ],
)
def test_an_option_that_is_wrong(options: Any, error: str) -> None:  # noqa: ANN401 - wrong
    raised = pytest.raises((TypeError, ValueError), match=error)
    with raised, proxy_in_thread("udp://[::1]:9", **options):
        pass


def test_datagrams_are_frames_over_udp() -> None:
    with datagram_server() as upstream, proxy_in_thread(upstream, framing=datagrams()) as proxy:
        assert proxy.upstream == upstream


# -- inside trio


async def test_a_proxy_inside_trio(upstream: str) -> None:
    async with open_proxy(upstream) as proxy:
        async with await trio.open_tcp_stream(proxy.host, proxy.port) as client:
            await client.send_all(b"INCR n\n")
            (exchange,) = await proxy.wait_for_async("INCR", timeout=PATIENCE)
            assert await client.receive_some() == b":1\r\n"
            assert exchange.reply == b":1\r\n"
        proxy.verify()
        with pytest.raises(RuntimeError, match="a proxy inside trio cannot be reset"):
            proxy.reset()
    with pytest.raises(PortalEndedError, match="the proxy has ended: its `async with` block is"):
        proxy.exchanges()


# -- ending


def test_many_rounds_leave_nothing() -> None:
    """The proxy ends with an open connection, a fault that waits, and a client over UDP."""
    process = psutil.Process()

    def held() -> tuple[int, int]:
        names = [thread.name for thread in threading.enumerate()]
        return process.num_fds(), names.count("esps-portal")

    def round_of(upstream: str, other: str) -> None:
        with contextlib.ExitStack() as clients:
            with proxy_in_thread(upstream) as proxy, proxy_in_thread(other) as datagrams:
                client = clients.enter_context(client_of(proxy))
                client.call(b"GET n")
                proxy.fault("latency", seconds=60)
                client.send(b"GET n\n")
                proxy.wait_for(count=2, timeout=PATIENCE)
                assert ask(clients.enter_context(udp(datagrams)), b"one") == b"one"
            with pytest.raises(ConnectionResetError):
                client.receive()

    with line_server(counter()) as upstream, datagram_server() as other:
        round_of(upstream, other)
        first = held()
        for _ in range(ROUNDS):
            round_of(upstream, other)
        # The server's own threads may hold a connection a moment longer.
        patience.until(lambda: held() <= first, lambda: f"{held()}, after one round {first}")


def test_a_predicate_that_raises_is_a_problem_and_harms_nobody(proxy: ThreadedProxy) -> None:
    def is_big(_: bytes) -> bool:
        raise LookupError("no such size")

    proxy.fault("reset", match=is_big).optional()
    with client_of(proxy) as client:
        client.send(b"hi\n")
        assert client.line() == b"hi\n"
    (problem,) = proxy.problems()
    assert problem == "the predicate of fault reset match=is_big raised LookupError: no such size"
