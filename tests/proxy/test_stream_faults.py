"""Each fault of a stream that ends it: what the plain sockets of client and server see.

Every test runs with units that come whole, byte by byte and in random pieces: a fault strikes at
the same byte. A fault is placed on the way to the client (a reply) and to the server (a request).
"""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

from esps_portal.net import watched_stream
from tests.patience import until
from tests.proxy.struck import REQUEST, UNIT, both_ways, place
from tests.sockets import open_connections
from tests.threaded_proxies import FIN, RST, Sending, ThreadedProxy

anywhere = pytest.mark.parametrize("offset", [0, 7, len(UNIT)])


@both_ways
@anywhere
def test_close(proxy: ThreadedProxy, send: Sending, to: str, offset: int) -> None:
    on = place(proxy, send, to, "close", offset=offset)
    on.send_unit()
    assert on.named.rest() == (UNIT[:offset], FIN)
    assert on.other.rest() == (b"", FIN)
    # What comes after that is discarded for a while: no RST takes back what has come.
    on.named.send(b"too late")
    proxy.quiet()
    assert on.named.rest() == (b"", FIN)
    assert on.fault.happened == 1


@both_ways
@anywhere
def test_reset(proxy: ThreadedProxy, send: Sending, to: str, offset: int) -> None:
    on = place(proxy, send, to, "reset", offset=offset)
    on.send_unit()
    assert on.named.rest() == (UNIT[:offset], RST)
    assert on.other.rest() == (b"", RST)
    assert on.fault.happened == 1


@both_ways
@anywhere
def test_half_close(proxy: ThreadedProxy, send: Sending, to: str, offset: int) -> None:
    on = place(proxy, send, to, "half-close", offset=offset)
    on.send_unit()
    assert on.named.rest() == (UNIT[:offset], FIN)
    on.passes_from_named()
    on.other.send(b"discarded")
    proxy.quiet()
    assert on.named.rest() == (b"", FIN)
    # It ends as any connection does that one side has ended.
    on.named.sock.shutdown(socket.SHUT_WR)
    assert on.other.rest() == (b"", FIN)


@both_ways
@anywhere
def test_stall(proxy: ThreadedProxy, send: Sending, to: str, offset: int) -> None:
    on = place(proxy, send, to, "stall", offset=offset)
    on.send_unit()
    on.other.send(b"discarded")
    proxy.quiet()
    assert on.named.read(offset) == UNIT[:offset]
    assert on.named.has_nothing()
    on.passes_from_named()


@both_ways
@pytest.mark.parametrize("how", ["FIN", "close", "RST"])
def test_a_stalled_side_learns_nothing(proxy: ThreadedProxy, to: str, how: str) -> None:
    on = place(proxy, Sending(proxy, "whole"), to, "stall")
    on.send_unit()
    if how == "FIN":
        on.other.sock.shutdown(socket.SHUT_WR)
        proxy.quiet()
        on.passes_from_named()
    elif how == "close":
        on.other.close()
    else:
        on.other.reset()
    for _ in range(3):
        proxy.quiet()
        assert on.named.has_nothing()
        on.named.send(b"is anybody there?")
    proxy.quiet()
    assert on.named.has_nothing()
    on.named.reset()
    proxy.until(lambda: all(c.closed is not None for c in proxy.state.journal.connections))


def test_the_end_of_a_stalled_side_is_passed_on(proxy: ThreadedProxy) -> None:
    on = place(proxy, Sending(proxy, "whole"), "client", "stall")
    on.send_unit()
    on.named.sock.shutdown(socket.SHUT_WR)
    assert on.other.rest() == (b"", FIN)
    on.other.close()
    proxy.quiet()
    assert on.named.has_nothing()
    on.named.reset()
    proxy.until(lambda: all(c.closed is not None for c in proxy.state.journal.connections))


def test_a_reset_of_a_stalled_side_is_passed_on(proxy: ThreadedProxy) -> None:
    on = place(proxy, Sending(proxy, "whole"), "client", "stall")
    on.send_unit()
    on.named.reset()
    assert on.other.rest() == (b"", RST)


@pytest.mark.parametrize("when", ["before", "after"])
def test_deaf(proxy: ThreadedProxy, send: Sending, when: str) -> None:
    proxy.fault("deaf", when=when)
    client, server = proxy.connect()
    send(client, REQUEST)
    if when == "after":
        assert server.read(len(REQUEST)) == REQUEST
    send(server, UNIT)
    assert client.read(len(UNIT)) == UNIT
    send(client, b"never read")
    assert server.has_nothing()
    server.send(b"replies still pass")
    assert client.read(18) == b"replies still pass"
    assert client.fill() < 16 << 20
    # Its RST ends the connection all the same.
    client.reset()
    assert server.rest() == (b"", RST)


@pytest.mark.parametrize("first", ["client", "server"])
def test_deafness_ends_once_both_sides_have_sent_fin(proxy: ThreadedProxy, first: str) -> None:
    fault = proxy.fault("deaf")
    client, server = proxy.connect()
    client.send(REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    server.send(UNIT)
    assert client.read(len(UNIT)) == UNIT
    client.send(b"never read")
    for side in (client, server) if first == "client" else (server, client):
        assert server.has_nothing()
        side.sock.shutdown(socket.SHUT_WR)
        proxy.quiet()
    assert client.rest() == (b"", FIN)
    assert server.rest() == (b"", FIN)
    proxy.until(lambda: proxy.state.journal.connections[0].closed is not None)
    assert fault.happened == 1


def test_a_stalled_client_that_has_closed_its_socket_is_noticed(
    proxy: ThreadedProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel forgets it a minute after its FIN, here a second, and then says so if asked."""
    monkeypatch.setattr(watched_stream, "KEEPALIVE", 1)
    on = place(proxy, Sending(proxy, "whole"), "client", "stall")
    on.named.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    on.send_unit()
    on.named.close()
    assert on.other.rest() == (b"", FIN)
    on.other.close()
    until(lambda: not open_connections(proxy.listeners.tcp[0][1]))


@both_ways
@pytest.mark.parametrize("other", ["before", "after", "reset"])
def test_the_end_of_a_stalled_side_is_recorded(proxy: ThreadedProxy, to: str, other: str) -> None:
    """A test waits for it: that its client gives up and closes the connection."""
    on = place(proxy, Sending(proxy, "whole"), to, "stall")
    on.send_unit()
    if other == "before":
        on.other.sock.shutdown(socket.SHUT_WR)
        proxy.quiet()
    on.named.sock.shutdown(socket.SHUT_WR)
    if other != "reset":
        assert on.other.rest() == (b"", FIN)
    if other == "after":
        on.other.close()
    elif other == "reset":
        proxy.quiet()
        on.other.reset()
    (connection,) = proxy.state.journal.connections
    proxy.until(lambda: connection.closed is not None)
    first = to if other != "before" else {"client": "server", "server": "client"}[to]
    assert (connection.closed_by, connection.how) == (first, "fin")
    at = connection.closed
    assert on.named.has_nothing()
    on.named.reset()
    until(lambda: not open_connections(proxy.listeners.tcp[0][1]))
    assert connection.closed == at


@both_ways
@anywhere
def test_garbage(proxy: ThreadedProxy, send: Sending, to: str, offset: int) -> None:
    on = place(proxy, send, to, "garbage", bytes=9, seed=4, offset=offset)
    on.send_unit()
    garbage = random.Random(4).randbytes(9)
    assert on.named.rest() == (UNIT[:offset] + garbage, FIN)
    assert on.other.rest() == (b"", FIN)


@both_ways
@pytest.mark.parametrize("size", [1, 7, len(UNIT)])
def test_truncate(proxy: ThreadedProxy, send: Sending, to: str, size: int) -> None:
    on = place(proxy, send, to, "truncate", bytes=size)
    on.send_unit()
    assert on.named.rest() == (UNIT[:size], FIN)
    assert on.other.rest() == (b"", FIN)


def test_accept_close(proxy: ThreadedProxy) -> None:
    fault = proxy.fault("accept-close", connection=1)
    struck = proxy.dial()
    assert struck.rest() == (b"", FIN)
    assert not proxy.is_dialled()
    client, server = proxy.connect()
    client.send(REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    assert fault.happened == 1


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("close", {}, (b"", FIN)),
        ("reset", {}, (b"", RST)),
        ("garbage", {"bytes": 3, "seed": 1}, (random.Random(1).randbytes(3), FIN)),
    ],
)
def test_an_end_before_the_request_reaches_the_server(
    proxy: ThreadedProxy, send: Sending, kind: str, options: dict[str, Any], seen: tuple[bytes, str]
) -> None:
    fault = proxy.fault(kind, when="before", **options)
    client, server = proxy.connect()
    send(client, REQUEST)
    assert client.rest() == seen
    assert server.rest() == (b"", seen[1])
    assert fault.happened == 1


def test_silence_before_the_request_reaches_the_server(proxy: ThreadedProxy, send: Sending) -> None:
    """The request is lost; what the client sends next passes, and nothing comes back."""
    proxy.fault("stall", when="before", times=1)
    client, server = proxy.connect()
    send(client, REQUEST)
    assert server.has_nothing()
    server.send(b"discarded")
    send(client, b"again")
    assert client.has_nothing()


def test_half_close_before_the_request_reaches_the_server(
    proxy: ThreadedProxy, send: Sending
) -> None:
    proxy.fault("half-close", when="before", times=1)
    client, server = proxy.connect()
    send(client, REQUEST)
    assert client.rest() == (b"", FIN)
    assert server.has_nothing()
