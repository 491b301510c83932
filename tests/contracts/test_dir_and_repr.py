"""What a REPL shows of the objects that a user has: public names, and what they are."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from esps_portal import Portal, blocking, connect
from esps_portal.testing import (
    PeerConnection,
    PeerFactory,
    PortalAddress,
    PortalController,
    PortalFactory,
    ProxyFactory,
    lines,
)


def check_names(value: object, *expected: str) -> None:
    assert not [name for name in dir(value) if name.startswith("_")]
    assert set(expected) <= set(dir(value))


def test_fixtures(esps_portal: PortalController, esps_portal_address: PortalAddress) -> None:
    check_names(esps_portal, "stub", "fault", "url")
    check_names(esps_portal_address, "host", "port", "url", "udp_url", "stub")
    with esps_portal.fault("latency", seconds=1).optional() as fault:
        check_names(fault, "happened", "optional", "remove", "wait_for")
    with esps_portal.down() as outage:
        check_names(outage, "up")


def test_factories(
    esps_portal_factory: PortalFactory, esps_proxy: ProxyFactory, esps_peer: PeerFactory
) -> None:
    """Used as what they start: `esps_portal` is a portal, but `esps_peer` is no peer."""
    cases: list[tuple[Any, str, str]] = [
        (esps_portal_factory, "portal = esps_portal_factory()", "portal"),
        (esps_proxy, 'proxy = esps_proxy("tcp://HOST:PORT")', "proxy"),
        (esps_peer, "peer = esps_peer(lines())", "peer"),
    ]
    for factory, example, server in cases:
        assert repr(factory) == f"<call it: {example}>"
        wanted = f" has no 'fault': it starts a {server}; write {example}, then {server}.fault"
        with pytest.raises(AttributeError, match=re.escape(wanted)):
            factory.fault("reset")
        assert copy.copy(factory) is not factory


def test_a_proxy(esps_portal: PortalController, esps_proxy: ProxyFactory) -> None:
    proxy = esps_proxy(esps_portal.url)
    shared = {"host", "port", "fault", "down", "connections", "journal", "wait_for", "transcript"}
    shared |= {"wait_for_async", "verify", "problems", "review", "reset", "record", "calls"}
    shared |= {"faults", "heal", "load", "dump"}
    shared |= {"wait_for_connections", "wait_for_connections_async"}
    check_names(proxy, *shared, "upstream", "tls_ca", "exchanges", "pcap")
    assert set(dir(proxy)) == {*shared, "upstream", "tls_ca", "exchanges", "pcap"}
    assert shared < set(dir(esps_portal))
    where = f"proxy at 127.0.0.1 port {proxy.port} (TCP and UDP); upstream {esps_portal.url}"
    assert repr(proxy) == f"<{where}>"
    with proxy.fault("latency", seconds=1).optional(), proxy.down():
        assert repr(proxy) == f"<{where}; 1 fault: latency seconds=1 jitter=0.0; down>"


def test_a_peer(esps_peer: PeerFactory) -> None:
    peer = esps_peer(lines("\r\n"))
    shared = {"host", "port", "fault", "down", "connections", "journal", "wait_for", "transcript"}
    shared |= {"wait_for_async", "verify", "problems", "review", "reset", "record", "pcap"}
    shared |= {"faults", "heal", "wait_for_connections", "wait_for_connections_async"}
    assert set(dir(peer)) == {
        *shared,
        *("exchanges", "stub", "conversation", "handler", "push", "load", "dump", "tls_ca"),
    }
    where = f"peer at 127.0.0.1 port {peer.port} (TCP); framing lines:crlf"
    assert repr(peer) == f"<{where}>"
    stub = peer.stub("PING").reply("PONG").optional()
    assert repr(stub) == "<stub 'PING', used 0 of 1>"
    with peer.down():
        assert repr(peer) == f"<{where}; 1 stub: 'PING'; down>"


def test_the_connection_of_a_handler() -> None:
    connection = PeerConnection(1, ("127.0.0.1", 5), "tcp")
    check_names(connection, "number", "remote", "transport", "state", "close", "reset")
    assert not re.search(r"\W_", repr(connection))


def test_blocking_clients(esps_portal: PortalController) -> None:
    for url in (esps_portal.url, esps_portal.udp_url):
        with blocking.connect(url) as client:
            check_names(client, "call", "ping", "stream", "services")
            assert repr(client) == f"<blocking client of {url}>"
            with client.stream("drip", "1", "0") as rows:
                check_names(rows, "result")
                list(rows)


async def test_trio_clients(esps_portal: PortalController) -> None:
    for url in (esps_portal.url, esps_portal.udp_url):
        async with connect(url) as client:
            check_names(client, "call", "ping", "stream", "services")
            assert repr(client) == f"<client of {url}>"
            async with client.stream("drip", "1", "0") as rows:
                check_names(rows, "result")
                assert [row async for row in rows]


def test_a_portal() -> None:
    portal = Portal(product="shop/1")
    check_names(portal, "service", "services", "limits")
    assert repr(portal) == "<portal shop/1; services: none>"
    function: Any = len
    portal.service(name="size")(function)
    portal.service(name="price")(function)
    assert repr(portal) == "<portal shop/1; services: size, price>"
