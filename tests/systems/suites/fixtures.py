"""What a test does with the fixtures and both clients, on a system that lacks much."""

from __future__ import annotations

import importlib
import pkgutil
import socket
import time

import pytest
import trio

import esps_portal as package
from esps_portal import EspsError, PeerError, UnreachableError, blocking, connect
from esps_portal.net.systems import reset_at_close
from esps_portal.testing import (
    PeerFactory,
    PortalController,
    PortalFactory,
    ProxyFactory,
    lines,
)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_both_clients(esps_portal: PortalController, transport: str) -> None:
    url = esps_portal.url if transport == "tcp" else esps_portal.udp_url
    esps_portal.stub("price", "sku-1").reply("9.99")

    async def ask() -> tuple[bytes, ...]:
        async with connect(url) as client:
            return await client.call("price", "sku-1")

    assert trio.run(ask) == (b"9.99",)
    with blocking.connect(url) as client:
        assert client.call("price", "sku-1") == (b"9.99",)
    assert len(esps_portal.calls("price")) == 2


def test_a_wildcard_answers_over_udp(esps_portal_factory: PortalFactory) -> None:
    portal = esps_portal_factory(host="0.0.0.0")
    with blocking.connect(f"esps+udp://127.0.0.1:{portal.port}") as client:
        assert client.call("echo", "there") == (b"there",)


def test_a_reset_fault_sends_rst(esps_portal: PortalController) -> None:
    esps_portal.fault("reset", service="echo")
    with blocking.connect(esps_portal.url) as client, pytest.raises(PeerError, match="reset"):
        client.call("echo", "lost")


def test_down_and_up(esps_portal: PortalController, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with esps_portal.down():
            assert_refused(esps_portal.url)
        with blocking.connect(esps_portal.url) as client:
            assert client.call("echo", "up") == (b"up",)
        with blocking.connect(esps_portal.udp_url) as client:
            assert client.call("echo", "up") == (b"up",)
    warned = [each.getMessage() for each in caplog.records if "others may take it" in each.msg]
    assert len(warned) == 1
    assert str(esps_portal.port) in warned[0]


def test_silent_and_up(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.udp_url) as client:
        with esps_portal.down(how="silent"), pytest.raises(EspsError):
            client.call("echo", "lost", timeout=0.1)
        assert client.call("echo", "up") == (b"up",)


def test_a_reset_is_noticed_though_nothing_is_read(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines("\n"))
    peer.stub(b"time").reply(b"noon")
    peer.fault("deaf")
    with socket.create_connection((peer.host, peer.port), 10) as client:
        client.sendall(b"time\n")
        assert client.recv(100) == b"noon\n"
        client.sendall(b"never read")
        reset_at_close(client)
    deadline = time.monotonic() + 10
    while (ended := peer.connections()[0]).how != "rst":
        assert time.monotonic() < deadline
    assert ended.closed_by == "client"


def test_a_proxy(esps_portal: PortalController, esps_proxy: ProxyFactory) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{esps_portal.port}")
    url = f"esps://127.0.0.1:{proxy.port}"
    with proxy.down():
        assert_refused(url)
    with blocking.connect(url) as client:
        assert client.call("echo", "through") == (b"through",)
        proxy.fault("reset", to="client")
        with pytest.raises(PeerError, match="reset"):
            client.call("echo", "lost")


def test_a_peer(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines("\n"))
    peer.stub(b"time").reply(b"noon")
    with socket.create_connection((peer.host, peer.port), 10) as client:
        client.sendall(b"time\n")
        assert client.recv(100) == b"noon\n"


def assert_refused(url: str) -> None:
    with pytest.raises(UnreachableError), blocking.connect(url, timeout=5):
        pass


def test_every_module_is_imported() -> None:
    for module in pkgutil.walk_packages(package.__path__, "esps_portal."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
