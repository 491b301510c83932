"""What a first user of a proxy met: its reports, its numbers, and what they say of what goes on."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from esps_portal.framings.framing import Framing
from esps_portal.testing import (
    FaultError,
    NotStruckError,
    ProxyController,
    UpstreamError,
    lines,
    proxy_in_thread,
)
from tests.line_servers import datagram_server, line_server
from tests.patience import PATIENCE


def answer(line: bytes) -> bytes:
    """Answer each line with 17 bytes."""
    return b"0123456789abcde\r\n" if line else line


@pytest.fixture
def url() -> Iterator[str]:
    with line_server(answer) as found:
        yield found


@pytest.fixture
def proxy(url: str) -> Iterator[ProxyController]:
    with proxy_in_thread(url) as started:
        yield started


def connected(proxy: ProxyController) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), PATIENCE)


def ask(client: socket.socket, line: bytes = b"hello\n") -> bytes:
    client.sendall(line)
    reply = b""
    while not reply.endswith(b"\n") and (more := client.recv(100)):
        reply += more
    return reply


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (
            lambda proxy: proxy.fault("reset", offset=100),
            "the reply is 17 bytes long, shorter than offset 100",
        ),
        (
            lambda proxy: proxy.fault("patch", at=99, hex="00"),
            "it changes nothing in the reply, which is 17 bytes long",
        ),
        (lambda proxy: proxy.fault("reset", reply_match=b"zzz"), "its reply does not match 'zzz'"),
        (
            lambda proxy: proxy.fault("reset", reply_match="^."),
            "match '^.'; as a regular expression it would match: write re.compile(...)",
        ),
        (
            lambda proxy: proxy.fault("reset", to="server", offset=30),
            "the request is 6 bytes long, shorter than offset 30",
        ),
        (
            lambda proxy: proxy.fault("reset", match=b"zz", when="before"),
            r"'hello\n' does not match 'zz'",
        ),
        (
            lambda proxy: proxy.fault("reset", reply=0),
            "reply 0 is what the server sends first; here the client sent bytes before it did",
        ),
    ],
)
def test_why_a_fault_has_not_struck_what_still_goes_on(
    proxy: ProxyController, place: Callable[[ProxyController], object], why: str
) -> None:
    place(proxy)
    with connected(proxy) as client:
        assert len(ask(client)) == 17
        (problem,) = proxy.problems()
    assert problem.endswith(why)


def test_a_wait_says_why_too(proxy: ProxyController) -> None:
    fault = proxy.fault("reset", reply_match=b"zzz").optional()
    with connected(proxy) as client:
        ask(client)
        with pytest.raises(NotStruckError, match="its reply does not match 'zzz'"):
            fault.wait_for(timeout=0)


def test_connections_are_numbered_as_they_connect(proxy: ProxyController) -> None:
    fault = proxy.fault("close", connection=2, when="before")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(proxy)) for _ in range(30)]
        ports = [client.getsockname()[1] for client in clients]
        assert ask(clients[1]) == b""
        assert len(ask(clients[0])) == 17
        assert [connection.remote[1] for connection in proxy.connections()] == ports
    assert fault.happened == 1


def test_a_framed_reply_is_complete_at_once_and_shown_when_it_came(url: str) -> None:
    with (
        proxy_in_thread(url, framing=lines()) as proxy,
        connected(proxy) as client,
    ):
        ask(client, b"a\n")
        (exchange,) = proxy.exchanges("a")
        assert (exchange.complete, exchange.state) == (True, "replied")
        ask(client, b"b\n")
        ask(client, b"c\n")
        shown = [line.split()[3] for line in proxy.transcript().splitlines()[1:]]
    assert shown == ["-->", "<--"] * 3


def test_a_datagram_is_complete_at_once() -> None:
    with datagram_server() as url, proxy_in_thread(url) as proxy:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"hi", (proxy.host, proxy.port))
            assert client.recv(100) == b"hi"
        (exchange,) = proxy.exchanges("hi")
        assert (exchange.complete, exchange.state) == (True, "replied")


@pytest.mark.parametrize("kind", ["stall", "half-close"])
def test_a_side_that_is_cut_off_is_not_struck_again(proxy: ProxyController, kind: str) -> None:
    fault = proxy.fault(kind, times=2)  # type: ignore[call-overload]
    with connected(proxy) as first:
        for _ in range(3):
            first.sendall(b"hello\n")
            proxy.wait_for("hello", count=1, timeout=PATIENCE)
        fault.wait_for(timeout=PATIENCE)
        with connected(proxy) as second:
            second.settimeout(0.1)
            second.sendall(b"hello\n")
            fault.wait_for(2, timeout=PATIENCE)
    assert fault.happened == 2


@pytest.mark.parametrize("framing", [None, lines()])
def test_a_side_stays_cut_off_once_the_fault_is_removed(url: str, framing: Framing | None) -> None:
    """The journal says so of all that it no longer sees, and not that it was answered."""
    with proxy_in_thread(url, framing=framing) as proxy, connected(proxy) as client:
        with proxy.fault("stall") as fault:
            client.sendall(b"a\n")
            fault.wait_for(timeout=PATIENCE)
        client.sendall(b"b\n")
        deadline = time.monotonic() + PATIENCE
        while not (found := proxy.exchanges("b")) or not found[0].reply:
            assert time.monotonic() < deadline
        assert found[0].fault == "stall"


def test_with_a_framing_only_what_a_fault_may_strike_waits_until_it_is_whole(url: str) -> None:
    with proxy_in_thread(url, framing=lines()) as proxy, connected(proxy) as client:
        proxy.fault("latency", seconds=0.01, to="server", match=b"nobody").optional()
        # The reply's line end comes from a server that was asked, so it passes byte for byte.
        assert len(ask(client)) == 17


@pytest.mark.parametrize(
    ("upstream", "kind", "options", "says"),
    [
        ("udp://127.0.0.1:9", "truncate", {"offset": 3}, "offset is for connections"),
        ("udp://127.0.0.1:9", "drop", {"reply": 0}, "reply=0 is what a server sends first"),
    ],
)
def test_what_makes_no_sense_there(
    upstream: str, kind: str, options: dict[str, int], says: str
) -> None:
    with proxy_in_thread(upstream) as proxy, pytest.raises(FaultError, match=says):
        proxy.fault(kind, **options)  # type: ignore[call-overload]


def test_an_upstream_without_a_scheme_is_asked_for_one() -> None:
    with (
        pytest.raises(UpstreamError, match=r"write tcp://127.0.0.1:9, udp://127.0.0.1:9, or esps"),
        proxy_in_thread("127.0.0.1:9"),
    ):
        raise AssertionError


def test_the_name_of_a_fault_says_what_it_does(proxy: ProxyController) -> None:
    assert str(proxy.fault("slice", every=3).optional()) == "slice pause=0.05 every=3"
