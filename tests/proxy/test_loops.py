"""Proxies that point at each other, in one process or in several: what goes round has an end."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import signal
import socket
from collections.abc import Iterator

import pytest

from esps_portal.net import ttl
from esps_portal.net.bind import is_own_address
from esps_portal.proxy import connector
from esps_portal.proxy.loop_detection import Leg, Link, is_loop
from tests.patience import PATIENCE
from tests.processes import RunningServer, running_server
from tests.proxy.struck import REQUEST, UNIT
from tests.threaded_proxies import FIN, RST, Sending, ThreadedProxy, threaded_proxy

# What Linux gives a datagram by default, and RFC 1700 recommends.
TTL = 64


@contextlib.contextmanager
def two_processes(scheme: str, host: str) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Two proxies, each of which is the upstream of the other."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    literal = f"[{host}]" if ":" in host else host

    def upstream(port: int) -> tuple[str, str, str, str]:
        return "--upstream", f"{scheme}://{literal}:{port}", "--host", host

    with contextlib.ExitStack() as stack:
        with socket.socket(family, kind) as kept:
            kept.bind((host, 0))
            port = kept.getsockname()[1]
            one = stack.enter_context(running_server(*upstream(port), command="proxy"))
        options = (*upstream(one.port), "--port", str(port))
        yield one, stack.enter_context(running_server(*options, command="proxy"))


def is_said(proxy: RunningServer, text: str) -> bool:
    """Wait for the next line of its log; return whether the text is in it."""
    assert proxy.process.stderr is not None
    assert select.select([proxy.process.stderr], [], [], PATIENCE)[0], "nothing was logged"
    return text in proxy.process.stderr.readline()


def events(proxy: RunningServer) -> list[dict[str, object]]:
    """End it, and return what it has noted."""
    assert proxy.stop() == 0
    return [json.loads(line) for line in proxy.output]


def units(proxy: RunningServer, count: int) -> list[dict[str, object]]:
    """Return what it notes until it has noted so many units, and then until it has ended.

    No reply comes: at the first signal it waits for one, at the second it ends.
    """
    noted: list[dict[str, object]] = []
    while len([event for event in noted if event["event"] == "unit"]) < count:
        noted.append(json.loads(proxy.output.readline()))
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.stop(signal.SIGINT) > 128
    return noted + [json.loads(line) for line in proxy.output]


# ---- datagrams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_datagram_does_not_go_round_two_processes_for_ever(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not is_own_address(host):
        pytest.skip("this machine has no IPv6")
    with two_processes("udp", host) as both, socket.socket(family, socket.SOCK_DGRAM) as client:
        one, two = both
        client.connect((host, one.port))
        ttl.set_ttl(client, TTL)
        client.send(UNIT)
        # The first gets it with a TTL of 64, and the second with one of 1 at last.
        assert is_said(two, "its TTL used up: do proxies point at each other?")
        noted = units(two, TTL // 2) + units(one, TTL // 2)
    assert len([event for event in noted if event["event"] == "unit"]) == TTL
    assert "reply" not in {event.get("from") for event in noted}


def received_ttl(proxy: ThreadedProxy) -> int:
    """Return the TTL of the next datagram that the server gets."""
    ttl.ask_for_ttl(proxy.datagrams)
    _, ancillary, _, _ = proxy.datagrams.recvmsg(65536, 128)
    found = ttl.ttl_in(ancillary)
    assert found is not None
    return found


def test_the_upstream_sees_a_ttl_that_is_less_by_one(proxy: ThreadedProxy) -> None:
    client = proxy.client_of_datagrams()
    for sent in (TTL, 20, 20, 255, 2):
        ttl.set_ttl(client, sent)
        client.send(UNIT)
        assert received_ttl(proxy) == sent - 1


@pytest.mark.parametrize(
    ("kind", "options"), [("delay", {"seconds": 0.01}), ("wrong-source", {}), ("duplicate", {})]
)
def test_so_does_what_a_fault_makes_of_a_datagram(
    proxy: ThreadedProxy, kind: str, options: dict[str, float]
) -> None:
    fault = proxy.fault(kind, to="server", **options)
    client = proxy.client_of_datagrams()
    ttl.set_ttl(client, 20)
    client.send(UNIT)
    assert received_ttl(proxy) == 19
    assert fault.happened == 1


def test_a_datagram_whose_ttl_is_used_up_is_dropped_and_noted(
    proxy: ThreadedProxy, caplog: pytest.LogCaptureFixture
) -> None:
    client = proxy.client_of_datagrams()
    ttl.set_ttl(client, 1)
    for _ in range(3):
        client.send(UNIT)
    ttl.set_ttl(client, TTL)
    client.send(REQUEST)
    assert proxy.datagrams.recv(100) == REQUEST
    (reason,) = proxy.state.unreachable
    assert reason == "a datagram came with its TTL used up: do proxies point at each other?"
    assert [line for line in caplog.messages if reason in line] == [
        f"cannot reach {proxy.state.upstream}: {reason}"
    ]
    states = proxy.run(lambda: [found.state for found in proxy.state.journal.exchanges])
    assert states == ["aborted"] * 3 + ["received"]


def test_where_nobody_tells_the_ttl_datagrams_pass_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ttl, "_IP_RECVTTL", None)
    with threaded_proxy() as proxy:
        client = proxy.client_of_datagrams()
        ttl.set_ttl(client, 1)
        client.send(UNIT)
        assert proxy.datagrams.recv(100) == UNIT
        assert proxy.state.unreachable == {}


# ---- connections -------------------------------------------------------------------------------


def test_a_connection_that_goes_round_two_processes_ends() -> None:
    """Each round costs descriptors of both; once one of them has no more all of it ends."""
    with two_processes("tcp", "127.0.0.1") as (one, two):
        for proxy in (one, two):
            resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (60, 60))
        with (
            socket.create_connection(("127.0.0.1", one.port), PATIENCE) as client,
            contextlib.suppress(ConnectionResetError),
        ):
            assert client.recv(1) == b""
        noted = [events(one), events(two)]
    for found in noted:
        names = [event["event"] for event in found]
        assert names.count("opened") == names.count("closed") < 60


def test_a_connection_that_goes_round_is_bounded_by_max_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No proxy sees the circle, as if each were in a process of its own."""
    monkeypatch.setattr(connector, "is_loop", lambda *_: False)
    with (
        threaded_proxy(max_connections=5) as one,
        threaded_proxy(upstream=one.listeners.tcp[0], max_connections=5) as two,
    ):
        one.redirect(two.listeners.tcp[0])
        client = one.dial()
        with contextlib.suppress(ConnectionResetError):
            assert client.sock.recv(1) == b""
        client.close()
        for proxy in (one, two):
            proxy.until(lambda p=proxy: all(c.closed_by for c in p.state.journal.connections))  # type: ignore[misc]
            assert len(proxy.state.journal.connections) <= 5


# ---- of one process ------------------------------------------------------------------------------


def test_a_chain_of_proxies_passes(send: Sending) -> None:
    behind = send.proxy
    with threaded_proxy(upstream=behind.listeners.tcp[0]) as front:
        client, server = front.dial(), behind.accept()
        send(client, REQUEST)
        assert server.read(len(REQUEST)) == REQUEST
        send(server, UNIT)
        assert client.read(len(UNIT)) == UNIT
        for end in (client, server):
            end.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == (b"", FIN)


def test_two_proxies_that_point_at_each_other_refuse_it() -> None:
    with threaded_proxy() as one, threaded_proxy(upstream=one.listeners.tcp[0]) as two:
        one.listener.close()
        one.redirect(two.listeners.tcp[0])
        client = one.run(one.dial)  # the loop resets it after that
        assert client.rest() == (b"", RST)
        opened = 0
        for proxy in (one, two):
            proxy.until(lambda p=proxy: all(c.closed_by for c in p.state.journal.connections))  # type: ignore[misc]
            opened += len(proxy.state.journal.connections)
        assert opened < 20
        assert "itself" in str([one.state.unreachable, two.state.unreachable])


def test_two_proxies_that_point_at_each_other_send_no_datagram_round_and_round() -> None:
    with threaded_proxy() as one, threaded_proxy(upstream=one.listeners.tcp[0]) as two:
        one.datagrams.close()
        one.redirect(two.listeners.tcp[0])
        one.client_of_datagrams().send(UNIT)
        one.until(lambda: bool(one.state.unreachable or two.state.unreachable))
        for proxy in (one, two, one, two):
            proxy.quiet()
        assert one.state.clients + two.state.clients < 20
        assert "itself" in str([one.state.unreachable, two.state.unreachable])


def test_two_connections_to_different_servers_may_come_from_one_address(
    proxy: ThreadedProxy,
) -> None:
    with socket.create_connection(proxy.listener.getsockname()) as connected:
        inbound = Leg("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2))
        link = Link.note(proxy.state, inbound, connected)
        client = connected.getsockname()
        assert is_loop(proxy.state, Leg("tcp", client, proxy.listener.getsockname()))
        assert not is_loop(proxy.state, Leg("tcp", client, proxy.listeners.tcp[0]))
        link.remove()
        assert not is_loop(proxy.state, Leg("tcp", client, proxy.listener.getsockname()))
