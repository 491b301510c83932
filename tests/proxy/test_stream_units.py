"""Several faults on one connection, the numbers of units, and framings, at plain sockets."""

from __future__ import annotations

import time
from typing import Any

import pytest

from esps_portal.faults.target import MissReason
from esps_portal.framings.delimiters import lines
from esps_portal.framings.sizes import fixed
from tests.clocks import PortalClock
from tests.proxy.struck import REQUEST, UNIT
from tests.threaded_proxies import FIN, RST, Sending, Side, ThreadedProxy, threaded_proxy

LONG = bytes(range(256)) * 4096


def ask(client: Side, server: Side, request: bytes, reply: bytes) -> None:
    """Let a client ask and a server reply; the client has not yet read."""
    client.send(request)
    assert server.read(len(request)) == request
    server.send(reply)


# ---- several -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "end"), [("close", FIN), ("reset", RST), ("half-close", FIN)])
def test_what_is_held_back_comes_before_an_end(
    proxy: ThreadedProxy, send: Sending, kind: str, end: str
) -> None:
    proxy.fault("coalesce", seconds=30)
    proxy.fault(kind, offset=7)
    client, server = proxy.connect()
    send(client, REQUEST)
    send(server, UNIT)
    assert client.rest() == (UNIT[:7], end)


def test_what_is_late_comes_before_an_end(proxy: ThreadedProxy, send: Sending) -> None:
    proxy.fault("latency", seconds=0.1)
    proxy.fault("reset", offset=7)
    client, server = proxy.connect()
    send(client, REQUEST)
    begun = time.monotonic()
    send(server, UNIT)
    assert client.rest() == (UNIT[:7], RST)
    assert server.rest() == (REQUEST, RST)
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_what_is_late_comes_before_an_end_of_the_server(proxy: ThreadedProxy, how: str) -> None:
    proxy.fault("latency", seconds=0.1)
    client, server = proxy.connect()
    ask(client, server, REQUEST, UNIT)
    proxy.quiet()
    if how == "FIN":
        server.close()
    else:
        server.reset()
    assert client.rest() == (UNIT, how)


def test_what_was_held_back_is_not_overtaken(proxy: ThreadedProxy) -> None:
    """A client that reads late gets what was held, and then what came after it."""
    fault = proxy.fault("coalesce", seconds=0.05, times=1)
    client, server = proxy.connect()
    client.send(REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    server.send(UNIT)
    proxy.quiet()
    proxy.run(lambda: proxy.state.faults.remove(fault))
    server.sock.settimeout(30)
    seen = b""
    server.send(b"x" * 1000)
    while len(seen) < len(UNIT) + 1000:
        seen += client.sock.recv(65536)
    assert seen == UNIT + b"x" * 1000


@pytest.mark.parametrize("kind", ["latency", "coalesce"])
def test_what_is_late_is_bounded(proxy: ThreadedProxy, kind: str) -> None:
    """The server is not read on while 64 KiB wait: it fills its own socket, not our memory."""
    proxy.fault(kind, seconds=0.02)
    client, server = proxy.connect()
    client.send(REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    sent = server.fill()
    proxy.quiet()
    sent += server.fill()
    assert sent < 16 << 20
    assert len(client.read(sent)) == sent


# ---- numbers -----------------------------------------------------------------------------------


def test_connection_request_and_reply_count_across_connections(proxy: ThreadedProxy) -> None:
    second = proxy.fault("close", connection=2, request=3)
    third = proxy.fault("reset", reply=6)
    a, b = proxy.connect(), proxy.connect()
    for client, server in (a, a, b, b):
        ask(client, server, REQUEST, UNIT)
        assert client.read(len(UNIT)) == UNIT
    # The third request of the second connection's: requests of others do not count.
    ask(*a, REQUEST, UNIT)
    assert a[0].read(len(UNIT)) == UNIT
    assert second.happened == 0
    ask(*b, REQUEST, UNIT)
    assert b[0].rest() in [(b"", FIN), (b"", RST)]
    assert (second.happened, third.happened) in [(1, 0), (0, 1)]


def test_times_is_the_most(proxy: ThreadedProxy) -> None:
    fault = proxy.fault("reset", match=b"GET", times=2)
    ends = []
    for _ in range(3):
        client, server = proxy.connect()
        ask(client, server, REQUEST, UNIT)
        server.close()
        ends.append(client.rest())
    assert ends == [(b"", RST), (b"", RST), (UNIT, FIN)]
    assert fault.happened == 2


def test_the_greeting_is_struck_by_reply_0_only(proxy: ThreadedProxy, send: Sending) -> None:
    proxy.fault("reset", reply=0, offset=4)
    client, server = proxy.connect()
    send(server, b"220 ready\r\n")
    assert client.rest() == (b"220 ", RST)


def test_a_fault_without_selectors_leaves_the_greeting_alone(
    proxy: ThreadedProxy, send: Sending
) -> None:
    proxy.fault("reset", offset=4)
    client, server = proxy.connect()
    send(server, b"220 ready\r\n")
    assert client.read(11) == b"220 ready\r\n"
    send(client, REQUEST)
    assert server.read(len(REQUEST)) == REQUEST
    send(server, UNIT)
    assert client.rest() == (UNIT[:4], RST)


def test_a_match_is_found_across_pieces(proxy: ThreadedProxy, send: Sending) -> None:
    proxy.fault("reset", when="before", match=b"GET key")
    client, server = proxy.connect()
    send(client, b"say GET key\r\n")
    assert client.rest() == (b"", RST)
    assert server.rest() == (b"say GET ke", RST)


@pytest.mark.parametrize("to", ["client", "server"])
def test_a_connection_is_one_unit(proxy: ThreadedProxy, send: Sending, to: str) -> None:
    fault = proxy.fault("reset", unit="connection", to=to, offset=20)
    client, server = proxy.connect()
    for unit in (b"0123456789", b"abcdefghijkl"):
        send(client, unit)
        if to == "server" and unit.startswith(b"a"):
            break
        assert server.read(len(unit)) == unit
        send(server, unit[::-1])
    named = client if to == "client" else server
    expected = b"9876543210lkjihgfedc" if to == "client" else b"abcdefghij"
    assert named.rest() == (expected, RST)
    assert fault.happened == 1


def test_a_reply_that_is_too_short_says_so(proxy: ThreadedProxy, send: Sending) -> None:
    fault = proxy.fault("reset", offset=len(UNIT) + 1)
    client, server = proxy.connect()
    send(client, REQUEST)
    send(server, UNIT)
    server.close()
    client.close()
    proxy.until(lambda: proxy.state.journal.connections[0].closed is not None)
    assert fault.happened == 0
    assert fault.nearest is not None
    assert fault.nearest.reason is MissReason.NO_CHANGE
    assert fault.nearest.reply_size == len(UNIT)


# ---- an age ------------------------------------------------------------------------------------


def test_an_age_with_a_unit_strikes_the_first_unit_after_it(proxy: ThreadedProxy) -> None:
    fault = proxy.fault("reset", age=0.2, match=b"GET")
    begun = time.monotonic()
    client, server = proxy.connect()
    while True:
        ask(client, server, REQUEST, UNIT)
        try:
            assert client.read(len(UNIT)) == UNIT
        except ConnectionResetError:
            break
    assert time.monotonic() - begun >= 0.2
    assert fault.happened == 1


# ---- framings ----------------------------------------------------------------------------------


def test_pipelined_units_are_late_by_the_same_time(clock: PortalClock) -> None:
    with threaded_proxy(lines()) as proxy:
        proxy.fault("latency", seconds=2)
        client, server = proxy.connect()
        client.send(b"a\nb\nc\nd\n")
        assert server.read(8) == b"a\nb\nc\nd\n"
        server.send(b"1\n2\n3\n4\n")
        proxy.quiet()
        assert client.has_nothing()
        clock.jump(2)
        assert client.read(8) == b"1\n2\n3\n4\n"


def test_replies_are_held_until_there_are_as_many() -> None:
    with threaded_proxy(lines()) as proxy:
        proxy.fault("coalesce", replies=3, seconds=30)
        client, server = proxy.connect()
        client.send(b"a\nb\nc\nd\n")
        assert server.read(8) == b"a\nb\nc\nd\n"
        for reply in (b"1\n", b"2\n"):
            server.send(reply)
            proxy.quiet()
            assert client.has_nothing()
        server.send(b"3\n")
        assert client.sock.recv(100) == b"1\n2\n3\n"


@pytest.mark.parametrize("options", [{"seconds": 0.1}, {"replies": 2, "seconds": 0.1}])
def test_what_comes_after_a_held_reply_waits_with_it(options: dict[str, Any]) -> None:
    """No tag tells these replies apart: in another order they would be other bytes."""
    with threaded_proxy(lines()) as proxy:
        fault = proxy.fault("coalesce", reply_match=b"one", **options)
        client, server = proxy.connect()
        client.send(b"a\n")
        assert server.read(2) == b"a\n"
        server.send(b"one\n")
        proxy.quiet()
        server.send(b"two\nthree\n")
        assert client.read(14) == b"one\ntwo\nthree\n"
        assert fault.happened == 1


@pytest.mark.parametrize("pieces", [[b"a\nb\nc\nd"], [b"a\nb\n", b"c\nd"]])
def test_what_was_read_with_the_request_that_makes_it_deaf_counts_as_not_read(
    pieces: list[bytes],
) -> None:
    with threaded_proxy(lines()) as proxy:
        fault = proxy.fault("deaf", match=b"b", when="before")
        client, server = proxy.connect()
        for piece in pieces:
            client.send(piece)
            proxy.quiet()
        assert server.read(2) == b"a\n"
        server.send(b"1\n")
        assert client.read(2) == b"1\n"
        assert server.has_nothing()
        assert fault.happened == 1


def test_a_reply_framing_of_its_own_and_requests_out_of_lockstep() -> None:
    with threaded_proxy(lines("\r\n"), fixed(4)) as proxy:
        fault = proxy.fault("reset", match=b"third", offset=2)
        client, server = proxy.connect()
        client.send(b"first\r\nsecond\r\nth")
        assert server.read(15) == b"first\r\nsecond\r\n"
        server.send(b"11")
        client.send(b"ird\r\n")
        assert server.read(7) == b"third\r\n"
        server.send(b"112222")
        server.send(b"3333")
        assert client.rest() == (b"1111222233", RST)
        assert fault.happened == 1


def test_only_replies_that_match_are_struck() -> None:
    with threaded_proxy(lines()) as proxy:
        proxy.fault("patch", at=0, hex="21", reply_match=b"error")
        client, server = proxy.connect()
        client.send(b"a\nb\n")
        assert server.read(4) == b"a\nb\n"
        server.send(b"ok\n-error\nok\n")
        assert client.read(13) == b"ok\n!error\nok\n"


@pytest.mark.parametrize(("kind", "end"), [("close", FIN), ("reset", RST), ("half-close", FIN)])
def test_frames_that_are_read_with_a_struck_one_do_not_pass(kind: str, end: str) -> None:
    with threaded_proxy(lines()) as proxy:
        fault = proxy.fault(kind, reply=1, offset=2)
        client, server = proxy.connect()
        client.send(b"a\nb\n")
        assert server.read(4) == b"a\nb\n"
        server.send(b"one\ntwo\n")
        assert client.rest() == (b"on", end)
        assert fault.happened == 1
