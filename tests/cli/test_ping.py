"""``esps-portal ping``: its statistics, its losses, and when it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
from collections.abc import AsyncIterator, Iterator

import pytest

import esps_portal
from esps_portal import ClosedError
from esps_portal.cli.ping import Statistics
from esps_portal.protocol.urls import PortalURL
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.cli.peers import GREETING, tcp_server, unused_address
from tests.commands import run
from tests.forked import ForkedProcess


@contextlib.contextmanager
def pinging(*args: str) -> Iterator[ForkedProcess]:
    """Start it until it is sent a signal."""
    with ForkedProcess("ping", *args) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: ForkedProcess, start: str) -> None:
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith(start):
        assert line, f"it ended before {start!r}"


# ---- statistics --------------------------------------------------------------------------------


def test_statistics(portal: ThreadedPortal) -> None:
    code, out, err = run("ping", "-c", "3", "-i", "0", url=portal.url)
    *pongs, empty, head, counts, times = out.splitlines()
    assert (code, err, empty) == (0, "", "")
    assert [pong.rpartition(" time=")[0] for pong in pongs] == [
        f"pong from {portal.url}: seq={number}" for number in (1, 2, 3)
    ]
    assert head == f"--- {portal.url} ping statistics ---"
    assert counts == "3 sent, 3 answered, 0% lost"
    assert times.startswith("rtt min/avg/max/mdev = ")


def test_statistics_as_json(portal: ThreadedPortal) -> None:
    _, out, _ = run("ping", "-c", "2", "-i", "0", "--json", url=portal.url)
    *pongs, summary = map(json.loads, out.splitlines())
    assert [(pong["event"], pong["seq"]) for pong in pongs] == [("pong", 1), ("pong", 2)]
    assert (summary["event"], summary["sent"], summary["answered"]) == ("summary", 2, 2)
    assert summary["min_ms"] == min(pong["ms"] for pong in pongs)


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_is_the_statistics_alone(portal: ThreadedPortal, option: str) -> None:
    code, out, err = run("ping", option, "-c", "2", "-i", "0", url=portal.url)
    assert (code, err) == (0, "")
    assert out.startswith(f"\n--- {portal.url} ping statistics ---\n2 sent, 2 answered")
    _, out, _ = run("ping", option, "-c", "2", "-i", "0", "--json", url=portal.url)
    assert json.loads(out)["answered"] == 2
    with unused_address() as where:
        _, out, _ = run("ping", option, "-c", "1", where)
    assert out.startswith("\n---")


def test_figures_are_those_of_all_times() -> None:
    times = [3.0, 1.0, 4.0, 1.5, 9.25]
    pings = Statistics(PortalURL.parse("x"), sent=2000)
    for time_ms in times:
        pings.add(time_ms)
    figures = pings.as_json()
    assert figures["answered"] == 5
    assert [figures["min_ms"], figures["max_ms"]] == [1.0, 9.25]
    assert figures["avg_ms"] == pytest.approx(statistics.fmean(times))
    assert figures["mdev_ms"] == pytest.approx(statistics.pstdev(times))
    assert pings.lines()[1] == "2000 sent, 5 answered, 99.75% lost"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_its_statistics(portal: ThreadedPortal, number: int) -> None:
    with pinging("-i", "0.01", portal.url) as process:
        read_until(process, "pong from ")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert "ping statistics" in out
    assert (process.returncode, err) == (0, "")


# ---- losses ------------------------------------------------------------------------------------


def test_connection_refused() -> None:
    with unused_address() as where:
        code, out, err = run("ping", "-c", "2", "-i", "0", where)
        lost = f"no pong from esps://{where}: seq="
        refused = f"cannot connect to esps://{where}: Connection refused"
    assert code == 1
    assert out.splitlines()[:2] == [
        f"{lost}1 (Connection refused)",
        f"{lost}2 (Connection refused)",
    ]
    assert "2 sent, 0 answered, 100% lost\n" in out
    command = f"esps-portal serve --port {where.rpartition(':')[2]}"
    assert err == f"esps-portal: {refused}; start one with {command}, or use another TARGET\n"


def test_connection_refused_as_json() -> None:
    with unused_address() as where:
        code, out, _ = run("ping", "-c", "1", "--json", where)
    lost, summary = map(json.loads, out.splitlines())
    assert (lost["event"], lost["seq"], lost["ms"]) == ("lost", 1, None)
    assert lost["error"] == "unreachable"
    assert lost["message"].endswith("Connection refused")
    assert (summary["answered"], summary["avg_ms"], code) == (0, None, 1)


def test_it_waits_for_a_portal_and_goes_on_after_it_was_away(portal: ThreadedPortal) -> None:
    lost = f"no pong from {portal.url}: seq="
    outage = portal.down()
    with pinging("-i", "0.01", portal.url) as process:
        read_until(process, f"{lost}2 (Connection refused)")
        outage.up()
        read_until(process, "pong from ")
        with portal.down():
            read_until(process, lost)
        read_until(process, "pong from ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert "ping statistics" in out
    assert (process.returncode, err) == (0, "")  # some were answered


def test_a_lost_ping_is_followed_by_the_next() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(30)
        peer.bind(("127.0.0.1", 0))
        url = "esps+udp://{}:{}".format(*peer.getsockname())
        with pinging("-c", "3", "-i", "0", "-W", "1", "--json", url) as process:
            answered = b""
            sources = {}
            while answered != b"3":
                datagram, source = peer.recvfrom(2000)
                tag, _, answered = datagram.split()
                sources[answered] = source
                if answered != b"2":
                    peer.sendto(b"%b OK %b\n" % (tag, answered), source)
            out, _ = process.communicate(timeout=30)
    first, second, third, summary = map(json.loads, out.splitlines())
    assert [event["event"] for event in (first, second, third)] == ["pong", "lost", "pong"]
    assert sources[b"1"] == sources[b"2"] != sources[b"3"]  # a new connection follows
    assert (second["error"], second["message"]) == ("timed-out", "no reply in 1 s")
    assert (summary["sent"], summary["answered"], process.returncode) == (3, 2, 0)


def test_a_connection_that_ends_between_two_pings_has_lost_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ending:
        """A portal that answers one ping, then says that the connection was idle."""

        async def ping(self, *_: str) -> None:
            connections.append(self)

        async def wait_closed(self) -> None:
            raise ClosedError("idle")

    @contextlib.asynccontextmanager
    async def connect(_: str, **__: object) -> AsyncIterator[Ending]:
        yield Ending()

    connections: list[Ending] = []
    monkeypatch.setattr(esps_portal, "connect", connect, raising=False)
    code, out, _ = run("ping", "-c", "2", "-i", "0.01", "h")
    assert "2 sent, 2 answered, 0% lost" in out
    assert code == 0
    assert len(set(connections)) == 2


def test_an_error_reply_is_a_loss_with_its_code() -> None:
    with tcp_server(GREETING, "ERR busy") as url:
        code, out, err = run("ping", "-c", "1", "--json", url)
    assert json.loads(out.splitlines()[0])["error"] == "busy"
    assert (code, err) == (1, "busy\n")


def test_an_unknown_host_ends_it_at_once() -> None:
    code, out, err = run("ping", "nowhere.invalid")
    assert "1 sent, 0 answered, 100% lost\n" in out
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("; use another TARGET\n")
    assert run("ping", "--url", "nowhere.invalid")[2].endswith("; use another host with --url\n")


def test_what_never_was_a_portal_ends_it_at_once() -> None:
    with tcp_server("SSH-2.0-x\r\n") as url:
        code, out, err = run("ping", url)
    assert (code, err.count("\n")) == (1, 1)
    assert '(the peer does not speak ESPS/1; it sent "SSH-2.0-x\\r\\n")\n' in out
    assert "1 sent, 0 answered, 100% lost\n" in out


def test_garbage_from_what_was_a_portal_is_a_loss() -> None:
    with tcp_server(GREETING, "OK 1", "rubbish") as url:
        code, out, _ = run("ping", "-c", "3", "-i", "0", "-W", "1", url)
    assert "3 sent, 1 answered, 66.6667% lost" in out
    assert "seq=2 (the peer violates ESPS/1: " in out
    assert code == 0
