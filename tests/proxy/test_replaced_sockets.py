"""What a test has put in place of `socket.socket` fails its own client, and ends no server."""

from __future__ import annotations

import socket
from typing import Any, Literal
from unittest import mock

import pytest

from esps_portal import blocking
from esps_portal.testing import (
    datagrams,
    lines,
    peer_in_thread,
    proxy_in_thread,
    serve_in_thread,
)
from tests.patience import PATIENCE, until


def refuse(*_: object, **__: object) -> None:
    raise RuntimeError("a test tried to use a socket")


@pytest.mark.parametrize("replaced", ["socket.socket", "socket.getaddrinfo"])
@pytest.mark.parametrize("by", [mock.MagicMock(), refuse, lambda *_, **__: None])
def test_a_datagram_that_the_proxy_cannot_pass_on(replaced: str, by: object) -> None:
    with (
        peer_in_thread(datagrams()) as peer,
        proxy_in_thread(f"udp://127.0.0.1:{peer.port}", unreachable="ok") as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        peer.stub("a").reply("b")
        for client in (first, second):
            client.settimeout(PATIENCE)
            client.connect((proxy.host, proxy.port))
        with mock.patch(replaced, by):
            first.send(b"a")
            (exchange,) = proxy.wait_for(timeout=PATIENCE)
            until(lambda: exchange.ended is not None, proxy.transcript)
        assert exchange.unreachable
        second.send(b"a")
        assert second.recv(10) == b"b"


def test_a_connection_that_the_proxy_cannot_pass_on() -> None:
    with (
        peer_in_thread(lines()) as peer,
        proxy_in_thread(f"tcp://127.0.0.1:{peer.port}", unreachable="ok") as proxy,
        socket.socket() as first,
        socket.socket() as second,
    ):
        peer.stub("a").reply("b")
        with mock.patch("socket.getaddrinfo", refuse):
            first.connect((proxy.host, proxy.port))
            (connection,) = proxy.wait_for_connections(closed=True, timeout=PATIENCE)
        assert connection.unreachable == "RuntimeError: a test tried to use a socket"
        second.settimeout(PATIENCE)
        second.connect((proxy.host, proxy.port))
        second.sendall(b"a\n")
        assert second.recv(10) == b"b\n"


@pytest.mark.parametrize(("is_proxy", "to"), [(False, None), (True, None), (True, "server")])
def test_a_fault_that_needs_a_socket(*, is_proxy: bool, to: str | None) -> None:
    with (
        peer_in_thread(datagrams()) as peer,
        proxy_in_thread(f"udp://127.0.0.1:{peer.port}") as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        peer.stub("a").reply("b")
        client.settimeout(PATIENCE)
        client.connect((proxy.host, proxy.port))
        client.send(b"a")
        assert client.recv(10) == b"b"
        server: Any = proxy if is_proxy else peer
        fault = server.fault("wrong-source", times=1, **({"to": to} if to else {}))
        with mock.patch("socket.socket", refuse):
            client.send(b"a")
            fault.wait_for(timeout=PATIENCE)
        client.send(b"a")
        assert client.recv(10) == b"b"


def test_a_buffer_whose_usual_size_a_socket_tells() -> None:
    with peer_in_thread(lines()) as peer:
        peer.stub("a").reply("b")
        with mock.patch("socket.socket", refuse):
            peer.fault("deaf").remove()
        with socket.create_connection((peer.host, peer.port), PATIENCE) as client:
            client.sendall(b"a\n")
            assert client.recv(10) == b"b\n"


@pytest.mark.parametrize("how", ["refuse", "silent"])
@pytest.mark.parametrize("by", [mock.MagicMock(), refuse])
def test_an_outage_that_needs_a_socket(how: Literal["refuse", "silent"], by: object) -> None:
    with serve_in_thread() as portal:
        with mock.patch("socket.socket", by), portal.down(how=how):
            pass
        for url in (portal.url, portal.udp_url):
            with blocking.connect(url) as client:
                assert client.call("echo", "a") == (b"a",)
