"""A proxy over UDP: datagram for datagram, a source of its own for each client."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from esps_portal import Portal
from esps_portal.cli.access_log import access_line
from esps_portal.journal.journal_json import entry_to_values
from esps_portal.journal.records import RecordedExchange
from esps_portal.journal.transcript import transcript
from esps_portal.net import datagram_clients
from esps_portal.testing import datagrams, peer_in_thread, proxy_in_thread
from tests.patience import PATIENCE
from tests.portals import DatagramPeer, running
from tests.proxies import Proxied, a_free_port, proxied
from tests.threaded_proxies import ThreadedProxy


@pytest.fixture
def portal() -> Iterator[socket.socket]:
    """A UDP socket that answers as a test says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


async def heard(portal: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Return the next datagram that the portal gets, and where it is from."""
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(portal)
    return portal.recvfrom(65536)


async def until(done: object, front: Proxied) -> None:
    """Wait until the journal has what is looked for."""
    assert callable(done)
    while not done(front.calls()):
        await trio.lowlevel.checkpoint()


async def test_calls_of_a_portal_pass() -> None:
    async with running() as behind, proxied(behind.listeners.udp[0]) as front:
        client = front.udp()
        assert await client.ask(b"a CALL echo %FF\n") == b"a OK %FF\n"
        assert await client.ask(b"b CALL drip 2 0 ########\n") == b"b DATA 1\nb DATA 2\nb OK 2\n"
        assert await client.ask(b"c CALL fail x-no\n") == b"c ERR x-no\n"
        assert await client.ask(b"d  PING\n") == b"d ERR bad-line\n"
        await client.assert_silence()
        assert [(call.transport, call.state, call.code) for call in front.calls()] == [
            ("udp", "replied", ""),
            ("udp", "replied", ""),
            ("udp", "replied", "x-no"),
            ("udp", "replied", "bad-line"),
            ("udp", "replied", ""),
        ]


async def test_at_most_once_through_a_proxy() -> None:
    """To the portal a client is the same source for as long as it remembers it."""
    async with running() as behind, proxied(behind.listeners.udp[0]) as front:
        client, other = front.udp(), front.udp()
        assert await client.ask(b"a CALL count\n") == b"a OK 1\n"
        assert await client.ask(b"a CALL count\n") == b"a OK 1\n"
        assert await other.ask(b"a CALL count\n") == b"a OK 2\n"
        assert [call.state for call in front.calls()] == ["replied", "replayed", "replied"]


async def test_datagrams_pass_as_they_are(portal: socket.socket) -> None:
    async with proxied(portal.getsockname()) as front:
        client = front.udp()
        for datagram in (b"", b"\xff\x00", b"x" * 60000):
            client.send(datagram)
            there, source = await heard(portal)
            assert there == datagram
            portal.sendto(datagram[::-1] + b"!", source)
            assert await client.receive() == datagram[::-1] + b"!"


def test_an_empty_datagram_is_a_reply() -> None:
    with peer_in_thread(datagrams()) as peer, proxy_in_thread(f"udp://127.0.0.1:{peer.port}") as x:
        peer.stub("a").reply(b"")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((x.host, x.port))
            client.send(b"a")
            assert client.recv(100) == b""
            client.send(b"a")
            assert client.recv(100) == b""
        found, _ = x.exchanges()
        assert (found.state, found.complete, found.reply) == ("replied", True, b"")
        entry = next(e for e in x.journal() if e.event == "replied")
        assert '"a" -> 0 bytes' in access_line(entry, 80)
        assert "<-- (empty)" in x.transcript()


async def test_many_answers_to_one_and_none_to_another(portal: socket.socket) -> None:
    async with proxied(portal.getsockname()) as front:
        client = front.udp()
        client.send(b"a PING\n")
        _, source = await heard(portal)
        for _ in range(100):
            portal.sendto(b"a OK\n", source)
        for _ in range(100):
            assert await client.receive() == b"a OK\n"
        client.send(b"b PING\n")
        await heard(portal)
        assert [call.state for call in front.calls()] == ["replied", "received"]


async def test_a_client_that_is_silent_is_forgotten(
    portal: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    async with proxied(portal.getsockname(), window=5) as front:
        autojump_clock.autojump_threshold = float("inf")
        client = front.udp()
        client.send(b"a PING\n")
        _, first = await heard(portal)
        autojump_clock.jump(4)
        client.send(b"b PING\n")
        assert (await heard(portal))[1] == first
        autojump_clock.jump(4)
        client.send(b"c PING\n")
        assert (await heard(portal))[1] == first
        autojump_clock.jump(6)
        await until(lambda calls: all(call.state == "aborted" for call in calls), front)
        client.send(b"d PING\n")
        there, second = await heard(portal)
        assert there == b"d PING\n"
        portal.sendto(b"d OK\n", second)
        assert await client.receive() == b"d OK\n"


async def test_of_too_many_clients_the_one_longest_silent_is_forgotten(
    portal: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_clients, "MAX_CLIENTS", 2)

    async def asked(client: DatagramPeer) -> tuple[str, int]:
        client.send(b"a PING\n")
        _, source = await heard(portal)
        portal.sendto(b"a OK\n", source)
        assert await client.receive() == b"a OK\n"
        return source

    async with proxied(portal.getsockname()) as front:
        first, second, third = front.udp(), front.udp(), front.udp()
        sources = [await asked(first), await asked(second)]
        assert await asked(first) == sources[0]
        await asked(third)
        assert await asked(first) == sources[0]
        # It was forgotten: it comes as somebody new, and is answered all the same.
        await asked(second)


async def test_nobody_answers_while_the_portal_is_down(caplog: pytest.LogCaptureFixture) -> None:
    with a_free_port() as address:
        async with proxied(address) as front:
            client = front.udp()
            client.send(b"a PING\n")
            client.send(b"a PING\n")
            await until(lambda calls: len(calls) == 2 and caplog.messages, front)
        assert caplog.messages == [
            f"cannot reach esps://127.0.0.1:{address[1]}: Connection refused"
        ]
        assert [call.state for call in front.calls()] == ["aborted", "replayed"]


def test_each_datagram_that_nobody_takes_is_noted_with_the_reason(proxy: ThreadedProxy) -> None:
    proxy.datagrams.close()
    client = proxy.client_of_datagrams()
    for number in (1, 2, 3):
        client.send(b"?")
        proxy.until(lambda n=number: len(proxy.state.journal.exchanges) == n)  # type: ignore[misc]
        proxy.until(lambda: all(found.ended for found in proxy.state.journal.exchanges))
    found = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert [exchange.unreachable for exchange in found] == ["Connection refused"] * 3
    assert list(proxy.state.unreachable.values()) == [1]
    last = proxy.run(lambda: transcript(proxy.state.journal)).splitlines()[-1]
    assert last.endswith("no reply: the upstream could not be reached: Connection refused")
    (entry,) = [
        entry
        for entry in proxy.run(proxy.state.journal.entries)[-1:]
        if isinstance(entry.subject, RecordedExchange)
    ]
    assert entry_to_values(entry)["unreachable"] == "Connection refused"
    assert "no reply" in access_line(entry, 80)
    assert access_line(entry, 80).endswith(
        " ms: the upstream could not be reached: Connection refused"
    )


async def test_a_host_that_there_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async with proxied(("nowhere.invalid", 1)) as front:
        front.udp().send(b"a PING\n")
        await until(lambda calls: calls and calls[0].state == "aborted", front)
        assert caplog.messages[0].startswith("cannot resolve nowhere.invalid so far: ")
        assert caplog.messages[1].startswith("cannot reach esps://nowhere.invalid:1: ")


async def test_for_datagrams_alone() -> None:
    async with running() as behind, proxied(behind.listeners.udp[0], transport="udp") as front:
        assert front.listeners.tcp == ()
        assert await front.udp().ask(b"a PING\n") == b"a OK\n"


async def test_a_drain_lets_running_calls_end() -> None:
    portal = Portal()
    may_end, runs = trio.Event(), trio.Event()

    @portal.service
    async def slow() -> str:
        runs.set()
        await may_end.wait()
        return "done"

    async with running(portal) as behind, proxied(behind.listeners.udp[0]) as front:
        client = front.udp()
        client.send(b"a CALL slow\n")
        await runs.wait()
        front.listeners.shut_down()
        may_end.set()
        assert await client.receive() == b"a OK done\n"
        await front.ended.wait()
        assert front.calls()[0].state == "replied"


async def test_a_drain_is_bounded(
    portal: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    async with proxied(portal.getsockname(), drain=3) as front:
        client = front.udp()
        client.send(b"a PING\n")
        await heard(portal)
        front.listeners.shut_down()
        await front.ended.wait()
        assert front.calls()[0].state == "aborted"
