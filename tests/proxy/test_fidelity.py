"""Without faults a proxy changes nothing: what plain sockets of both sides see."""

from __future__ import annotations

import hashlib
import random
import resource
import socket
import threading

import pytest

from esps_portal.journal.transcript import transcript
from tests.proxy.struck import REQUEST, UNIT
from tests.threaded_proxies import FIN, RST, Side, ThreadedProxy

_MIB = 1 << 20


@pytest.fixture(params=[False, True], ids=["no fault", "a fault that matches nothing"])
def relay(request: pytest.FixtureRequest, proxy: ThreadedProxy) -> ThreadedProxy:
    """Return a proxy; a fault in force that matches nothing makes no difference."""
    if request.param:
        proxy.fault("reset", match=b"nobody says this")
        proxy.fault("close", when="before", match=b"nor this")
    return proxy


# ---- bytes -------------------------------------------------------------------------------------


def test_every_byte_passes_and_none_is_added(relay: ThreadedProxy) -> None:
    client, server = relay.connect()
    relay.quiet()
    assert client.has_nothing()
    assert server.has_nothing()
    every = bytes(range(256)) * 20
    client.send(every)
    assert server.read(len(every)) == every
    server.send(every[::-1])
    assert client.read(len(every)) == every[::-1]
    relay.quiet()
    assert client.has_nothing()
    assert server.has_nothing()


def test_connections_reach_the_server_in_the_order_of_the_clients(relay: ThreadedProxy) -> None:
    """Also where the loop finds several at once: its tasks run in any order."""
    count = 8
    clients = relay.run(lambda: [relay.dial() for _ in range(count)])
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    assert [relay.accept().read(1) for _ in range(count)] == [b"%d" % n for n in range(count)]


def test_a_byte_that_is_sent_as_urgent_passes_among_the_others(relay: ThreadedProxy) -> None:
    client, server = relay.connect()
    for source, sink in ((client, server), (server, client)):
        source.send(b"abc")
        source.sock.send(b"!", socket.MSG_OOB)
        source.send(b"def")
        assert sink.read(7) == b"abc!def"


def test_64_mib_each_way_at_once(relay: ThreadedProxy) -> None:
    client, server = relay.connect()
    block = random.Random(5).randbytes(_MIB + 7)
    count = 64
    seen: dict[str, str] = {}

    def send(side: Side) -> None:
        for number in range(count):
            side.send(number.to_bytes(4, "big") + block)
        side.sock.shutdown(socket.SHUT_WR)

    def hash_all(name: str, side: Side) -> None:
        found = hashlib.sha256()
        while data := side.sock.recv(_MIB):
            found.update(data)
        seen[name] = found.hexdigest()

    expected = hashlib.sha256()
    for number in range(count):
        expected.update(number.to_bytes(4, "big") + block)
    tasks = [threading.Thread(target=send, args=(side,)) for side in (client, server)]
    tasks += [
        threading.Thread(target=hash_all, args=found)
        for found in (("client", client), ("server", server))
    ]
    for side in (client, server):
        side.sock.settimeout(60)
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    assert seen == dict.fromkeys(("client", "server"), expected.hexdigest())


def test_100_connections_at_once(relay: ThreadedProxy) -> None:
    clients = [relay.dial() for _ in range(100)]
    for number, client in enumerate(clients):
        client.send(b"client %04d" % number)
    servers = {}
    for _ in clients:
        server = relay.accept()
        servers[server.read(11)] = server
    for name, server in servers.items():
        server.send(name[::-1])
    for number, client in enumerate(clients):
        assert client.read(11) == (b"client %04d" % number)[::-1]


# ---- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_fin_of_one_side_passes_and_the_other_may_go_on(relay: ThreadedProxy, first: str) -> None:
    client, server = relay.connect()
    ended, other = (client, server) if first == "client" else (server, client)
    ended.send(b"last words")
    ended.sock.shutdown(socket.SHUT_WR)
    assert other.rest() == (b"last words", FIN)
    for piece in (b"one", b"two"):
        other.send(piece)
        assert ended.read(3) == piece
    other.sock.shutdown(socket.SHUT_WR)
    assert ended.rest() == (b"", FIN)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_of_one_side_passes_after_what_it_said(relay: ThreadedProxy, first: str) -> None:
    client, server = relay.connect()
    broken, other = (client, server) if first == "client" else (server, client)
    other.send(REQUEST)
    assert broken.read(len(REQUEST)) == REQUEST
    broken.send(UNIT)
    broken.reset()
    assert other.rest() == (UNIT, RST)


def test_an_upstream_that_refuses_resets_the_client_and_is_noted(proxy: ThreadedProxy) -> None:
    proxy.listener.close()
    client = proxy.run(proxy.dial)  # the loop resets it after that
    assert client.rest() == (b"", RST)
    assert "refused" in str(proxy.state.unreachable)
    (connection,) = proxy.run(lambda: list(proxy.state.journal.connections))
    assert (connection.closed_by, connection.how) == ("proxy", "rst")
    shown = proxy.run(lambda: transcript(proxy.state.journal))
    assert shown.endswith(
        "closed by the proxy (RST): the upstream could not be reached: Connection refused"
    )


# ---- backpressure ------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["client", "server"])
def test_who_does_not_read_slows_the_other_down(relay: ThreadedProxy, slow: str) -> None:
    client, server = relay.connect()
    fast, other = (server, client) if slow == "client" else (client, server)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = fast.fill()
    for _ in range(5):
        relay.quiet()
        sent += fast.fill()
    assert 0 < sent < 32 * _MIB
    # The kernel has it: the proxy itself keeps one read, and the first 64 KiB for the journal.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 4096
    # The other direction passes meanwhile.
    other.send(b"still")
    assert fast.read(5) == b"still"
    fast.sock.shutdown(socket.SHUT_WR)
    assert other.rest() == (b"x" * sent, FIN)


def test_the_journal_keeps_64_kib_of_each_side(proxy: ThreadedProxy) -> None:
    client, server = proxy.connect()
    data = bytes(range(256)) * 1024
    sender = threading.Thread(target=client.send, args=(data,))
    sender.start()
    assert server.read(len(data)) == data
    sender.join()
    (exchange,) = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert (exchange.request_size, len(exchange.request)) == (len(data), 65536)
