"""One deadline for each operation of the blocking client: resolver, addresses and greeting too."""

from __future__ import annotations

import math
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal import ReplyError, TimedOutError, UnreachableError, blocking
from esps_portal.client.blocking_tcp import BlockingTCPClient
from esps_portal.clock import monotonic
from esps_portal.protocol.urls import PortalURL
from esps_portal.testing import PortalController, serve_in_thread
from tests.patience import PATIENCE


@pytest.fixture
def portal() -> Iterator[PortalController]:
    with serve_in_thread() as portal:
        yield portal


@pytest.fixture
def slow_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have names resolved only once the event is set; literal addresses at once."""
    may_answer, real = threading.Event(), socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        if options.get("flags") != socket.AI_NUMERICHOST:
            may_answer.wait(PATIENCE)
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield may_answer
    may_answer.set()


@pytest.mark.parametrize("timeout", [0.05, 0])
@pytest.mark.parametrize("scheme", ["esps", "esps+udp", "esps+tls"])
@pytest.mark.usefixtures("slow_resolver")
def test_a_slow_resolver(scheme: str, timeout: float) -> None:
    with (
        pytest.raises(TimedOutError, match="the name localhost was not resolved in time"),
        blocking.connect(f"{scheme}://localhost:1", timeout=timeout),
    ):
        pass


def test_a_literal_address_needs_no_resolver(
    portal: PortalController, slow_resolver: threading.Event
) -> None:
    for url in (portal.url, portal.udp_url):
        with blocking.connect(url, timeout=PATIENCE) as client:
            assert client.ping("x") == (b"x",)
    assert not slow_resolver.is_set()


def test_a_resolver_that_answers(portal: PortalController, slow_resolver: threading.Event) -> None:
    slow_resolver.set()
    with blocking.connect(f"localhost:{portal.port}", timeout=PATIENCE) as client:
        assert client.ping() == ()


def test_an_unknown_host() -> None:
    with (
        pytest.raises(UnreachableError, match="cannot connect to"),
        blocking.connect("no-such-host.invalid", timeout=PATIENCE),
    ):
        pass


def test_the_next_address_where_the_first_one_refuses(
    portal: PortalController, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens there
        addresses = [free.getsockname(), (portal.host, portal.port)]

        def resolve(_: str, __: int, **options: Any) -> Any:  # noqa: ANN401 - as the real one
            return [real(*address, **options)[0] for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with blocking.connect("portal.test", timeout=PATIENCE) as client:
            assert client.ping("x") == (b"x",)


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all(portal: PortalController, timeout: float) -> None:
    """A call that has no time does not harm the connection."""
    with blocking.connect(portal.url, timeout=PATIENCE) as client:
        with pytest.raises(TimedOutError, match="no reply in time"):
            client.call("echo", timeout=timeout)
        assert client.call("echo", "x") == (b"x",)
    with pytest.raises(TimedOutError), blocking.connect(portal.url, timeout=timeout):
        pass


def test_no_limit(portal: PortalController) -> None:
    for url in (portal.url, portal.udp_url):
        with blocking.connect(url, timeout=math.inf) as client:
            assert client.call("echo", "x") == (b"x",)
            with pytest.raises(ReplyError):
                client.call("fail", "x-no", timeout=math.inf)


# ---- each wait of the socket -------------------------------------------------------------------


@pytest.fixture
def peer() -> Iterator[tuple[BlockingTCPClient, socket.socket]]:
    """Return a client that was greeted, and what it is connected to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        theirs.sendall(b"* ESPS/1 test/1\n")
        client = BlockingTCPClient(ours, PATIENCE, PortalURL.parse("esps://127.0.0.1"))
        client.wait_for_greeting(monotonic() + PATIENCE)
        yield client, theirs


@pytest.mark.parametrize("enough", [PATIENCE, math.inf, 2**32 / 1000 + 0.02])
def test_each_call_waits_for_as_long_as_it_says(
    peer: tuple[BlockingTCPClient, socket.socket], enough: float
) -> None:
    client, portal = peer
    for number in (1, 4):  # after each call comes its CANCEL, which has a tag too
        with pytest.raises(TimedOutError, match="no reply in time"):
            client.ping(timeout=0.02)
        late = threading.Timer(0.1, portal.sendall, [b"c%d OK late\n" % (number + 2)])
        late.start()
        assert client.ping(timeout=enough) == (b"late",)
        late.join()


def test_a_request_that_finds_no_room(peer: tuple[BlockingTCPClient, socket.socket]) -> None:
    client, _ = peer
    for _ in range(100):
        with pytest.raises(TimedOutError) as caught:
            client.ping("x" * 8000, timeout=0.01)
        if "no reply" not in str(caught.value):
            break
    with pytest.raises(TimedOutError, match="send timed out: the portal is not reading"):
        client.ping()


def test_a_seeded_test_draws_what_it_expects(portal: PortalController) -> None:
    expected = random.Random(5).random()
    random.seed(5)
    with blocking.connect(portal.udp_url) as client:
        client.call("echo", "x")
    assert random.random() == expected
