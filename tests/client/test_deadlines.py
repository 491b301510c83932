"""One deadline for each operation of the blocking client: resolver, addresses and greeting too."""

from __future__ import annotations

import math
import random
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal import ReplyError, TimedOutError, UnreachableError, blocking
from esps_portal.client.deadline_socket import DeadlineSocket
from esps_portal.clock import monotonic
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


@pytest.mark.parametrize("scheme", ["esps", "esps+udp", "esps+tls"])
@pytest.mark.usefixtures("slow_resolver")
def test_a_slow_resolver(scheme: str) -> None:
    with (
        pytest.raises(TimedOutError, match="the name localhost was not resolved in time"),
        blocking.connect(f"{scheme}://localhost:1", timeout=0.05),
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


# ---- the socket itself -------------------------------------------------------------------------


@pytest.fixture(params=["poll", "select"])
def pair(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[DeadlineSocket, socket.socket]]:
    """Return a connected socket and its peer, with poll(2) and without, as on Windows."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield DeadlineSocket(ours), theirs


def test_nothing_comes(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        pair[0].receive(10, monotonic() + 0.02)


def test_something_comes_late(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    late = threading.Timer(0.02, pair[1].send, [b"x"])
    late.start()
    assert pair[0].receive(10, math.inf) == b"x"
    late.join()


def test_more_than_there_is_room_for(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    ours, theirs = pair
    data = bytes(10_000_000)
    with pytest.raises(TimeoutError):
        ours.send_all(data, monotonic() + 0.02)
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(theirs.recv(1_000_000))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    ours.send_all(data, monotonic() + PATIENCE)
    reader.join(PATIENCE)
    assert len(received) >= len(data)


def test_a_seeded_test_draws_what_it_expects(portal: PortalController) -> None:
    expected = random.Random(5).random()
    random.seed(5)
    with blocking.connect(portal.udp_url) as client:
        client.call("echo", "x")
    assert random.random() == expected
