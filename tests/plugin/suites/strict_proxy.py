"""A suite whose tests use proxies; most fail, each for a reason of its own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from esps_portal.testing import PortalController, ProxyController, ProxyFactory, lines


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(line)


@pytest.fixture
def upstream() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Client:
    proxy: ProxyController


@pytest.fixture
def lasting_client(esps_proxy: ProxyFactory) -> Iterator[Client]:
    client = Client()
    yield client
    with contextlib.suppress(OSError):
        ask(client.proxy, b"GET n\n")
    (first, *_) = client.proxy.exchanges()
    assert first.request.rstrip().isdigit()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"tcp://127.0.0.1:{closed.getsockname()[1]}"


def ask(proxy: ProxyController, request: bytes) -> bytes:
    with socket.create_connection((proxy.host, proxy.port), 30) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(9999), b""))


def test_never_struck(esps_proxy: ProxyFactory, upstream: str) -> None:
    proxy = esps_proxy(upstream)
    proxy.fault("reset", request=2)
    assert ask(proxy, b"GET n\n") == b"GET n\n"


def test_removed(esps_proxy: ProxyFactory, upstream: str) -> None:
    with esps_proxy(upstream).fault("close"):
        pass


def test_optional(esps_proxy: ProxyFactory, upstream: str) -> None:
    proxy = esps_proxy(upstream)
    proxy.fault("reset").optional()
    proxy.fault("reset", request=2, chance=0.5, seed=1)
    proxy.fault("close")
    proxy.reset()


def test_not_reached(esps_proxy: ProxyFactory) -> None:
    with contextlib.suppress(OSError):
        ask(esps_proxy(nobody()), b"GET n\n")


def test_not_reached_is_ok(esps_proxy: ProxyFactory) -> None:
    with contextlib.suppress(OSError):
        ask(esps_proxy(nobody(), unreachable="ok"), b"GET n\n")


def test_no_frame(esps_proxy: ProxyFactory, upstream: str) -> None:
    proxy = esps_proxy(upstream, framing=lines("\r\n"))
    ask(proxy, b"GET n\n")


def test_one_of_two(esps_proxy: ProxyFactory, upstream: str) -> None:
    for strict in (True, False):
        esps_proxy(upstream, strict=strict).fault("reset")


@pytest.mark.esps_portal(strict=False)
def test_by_the_marker(esps_proxy: ProxyFactory, upstream: str) -> None:
    esps_proxy(upstream).fault("reset")


def test_in_front_of_the_portal(esps_portal: PortalController, esps_proxy: ProxyFactory) -> None:
    proxy = esps_proxy(esps_portal.url)
    ask(proxy, b"a CALL nobody\n")
    assert [call.service for call in proxy.calls()] == ["nobody"]


def test_just_before_the_end(esps_proxy: ProxyFactory, upstream: str) -> None:
    proxy = esps_proxy(upstream)
    proxy.fault("reset", request=2, when="before")
    with socket.create_connection((proxy.host, proxy.port)) as client:
        client.sendall(b"LATE\n")


@pytest.mark.parametrize("number", range(50))
def test_client_that_goes_on(
    esps_proxy: ProxyFactory, lasting_client: Client, upstream: str, number: int
) -> None:
    """Its server ends first, and then the client connects once more."""
    proxy = esps_proxy(upstream)
    lasting_client.proxy = proxy
    with socket.create_connection((proxy.host, proxy.port)) as client:
        client.sendall(b"%d\n" % number)


def test_that_fails_itself(esps_proxy: ProxyFactory, upstream: str) -> None:
    proxy = esps_proxy(upstream)
    proxy.fault("reset", request=2)
    assert ask(proxy, b"GET n\n") == b"GET m\n"


def test_wrong_upstream(esps_proxy: ProxyFactory) -> None:
    esps_proxy("redis://127.0.0.1")


def test_wrong_option(esps_proxy: ProxyFactory, upstream: str) -> None:
    esps_proxy(upstream, hots="::1")  # type: ignore[call-arg]


def test_taken_port(esps_proxy: ProxyFactory, upstream: str) -> None:
    esps_proxy(upstream, port=esps_proxy(upstream).port)
