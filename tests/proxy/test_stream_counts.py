"""What must hold each time: bytes before a RST, and exchanges that do not overlap."""

from __future__ import annotations

import os

import pytest

from tests.proxy.struck import REQUEST, UNIT
from tests.threaded_proxies import RST, ThreadedProxy

# ``ESPS_PORTAL_RUNS=1000`` runs each of these so often.
RUNS = int(os.environ.get("ESPS_PORTAL_RUNS", "20"))
LONG = bytes(range(256)) * 256


@pytest.mark.parametrize("offset", [1, 7, len(UNIT)])
def test_so_many_bytes_arrive_before_a_rst(proxy: ThreadedProxy, offset: int) -> None:
    proxy.fault("reset", offset=offset)
    for run in range(RUNS):
        client, server = proxy.connect()
        client.send(REQUEST)
        assert server.read(len(REQUEST)) == REQUEST
        server.send(UNIT)
        assert client.rest() == (UNIT[:offset], RST), f"run {run}"
        client.close()
        server.close()


@pytest.mark.parametrize("offset", [30_000, len(LONG)])
def test_so_many_bytes_of_a_long_reply_arrive_before_a_rst(
    proxy: ThreadedProxy, offset: int
) -> None:
    proxy.fault("reset", offset=offset)
    for run in range(RUNS):
        client, server = proxy.connect()
        client.send(REQUEST)
        assert server.read(len(REQUEST)) == REQUEST
        server.send(LONG)
        seen, end = client.rest()
        assert (len(seen), end) == (offset, RST), f"run {run}"
        assert seen == LONG[:offset]
        client.close()
        server.close()


def test_so_many_bytes_of_a_request_reach_the_server_before_a_rst(proxy: ThreadedProxy) -> None:
    proxy.fault("reset", to="server", offset=5)
    for run in range(RUNS):
        client, server = proxy.connect()
        client.send(REQUEST)
        assert server.rest() == (REQUEST[:5], RST), f"run {run}"
        client.close()
        server.close()


def test_who_waits_for_each_reply_never_overlaps(proxy: ThreadedProxy) -> None:
    proxy.fault("patch", at=1 << 20, hex="00")  # in force, and changes nothing
    client, server = proxy.connect()
    for number in range(1000):
        request, reply = b"GET %d" % number, b"VALUE %d" % number
        client.send(request)
        assert server.read(len(request)) == request
        server.send(reply)
        assert client.read(len(reply)) == reply
    exchanges = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert [found.number for found in exchanges] == list(range(1, 1001))
    assert not any(found.overlapped for found in exchanges)
    assert not proxy.state.journal.connections[0].overlapped


def test_who_speaks_while_a_reply_is_under_way_overlaps(proxy: ThreadedProxy) -> None:
    proxy.fault("latency", seconds=0.05, times=1)
    client, server = proxy.connect()
    client.send(b"one")
    assert server.read(3) == b"one"
    server.send(b"1")
    proxy.quiet()
    client.send(b"two")
    assert server.read(3) == b"two"
    assert client.read(1) == b"1"
    (connection,) = proxy.run(lambda: list(proxy.state.journal.connections))
    assert connection.overlapped


def test_what_a_server_pushes_while_the_client_speaks_overlaps(proxy: ThreadedProxy) -> None:
    client, server = proxy.connect()
    client.send(b"SUBSCRIBE")
    assert server.read(9) == b"SUBSCRIBE"

    def both() -> None:
        client.send(b"two")
        server.send(b"push")

    # Both are there when the proxy looks; the server is read first.
    proxy.run(both)
    assert server.read(3) == b"two"
    assert client.read(4) == b"push"
    first, second = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert (first.request, first.reply, first.overlapped) == (b"SUBSCRIBE", b"push", False)
    assert (second.request, second.overlapped) == (b"two", True)
