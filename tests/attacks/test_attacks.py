"""Each attack in a short form, beside the other tests: so time is not judged here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.attacks.attack import Attack, Bounds, Latency, Outcome, Scale, Usage
from tests.attacks.behaviour import Behaviour
from tests.attacks.catalogue import ATTACKS
from tests.attacks.gauge import Gauge, datagrams_lost
from tests.attacks.measure import leaks, polite_problems
from tests.attacks.polite import Question, polite_client
from tests.attacks.swarm import Swarm
from tests.attacks.table import as_json, rows
from tests.attacks.targets import LAUNCHER, Log
from tests.forked import ForkedProcess

SHORT = Scale(seconds=0.3, share=0.01, judges_time=False, is_pinned=False)


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAUNCHER, "launch", ForkedProcess)


# One of each kind; .ci/run runs all.
SAMPLE = {"slow", "bad-lines", "datagrams", "proxy-slow", "server-call"}


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(one, id=one.name, marks=[] if one.name in SAMPLE else pytest.mark.heavy)
        for one in ATTACKS
    ],
)
def test_an_attack_does_no_harm(attack: Attack) -> None:
    assert attack.measure(SHORT).problems == ()


def test_names_and_descriptions_differ() -> None:
    assert {a.name for a in ATTACKS} > SAMPLE
    assert len({a.name for a in ATTACKS}) == len({a.what for a in ATTACKS}) == len(ATTACKS)


SEEN = Latency(0.001, 0.002, 0.5, 0.6, 100, 0)
BOUNDS = Bounds(10, "a reason")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"answers": 0}, "a polite client had no answer"),
        ({"refused": 3}, "3 polite newcomers were refused"),
        ({"failures": ("client: gone",)}, "polite client: gone"),
        ({"p99": 1.5}, "p99 of a polite client: 1.50 s, more than 0.5 s"),
        ({"maximum": 9.0}, "maximum of a polite client: 9.00 s, more than 1.0 s"),
        ({"newcomer": 5.1}, "newcomer of a polite client: 5.10 s, more than 2.0 s"),
        ({"work": 0.3}, "work before an answer of a polite client: 0.30 s, more than 0.25 s"),
    ],
)
def test_what_a_polite_client_complains_about(changed: dict[str, Any], problem: str | None) -> None:
    seen = attrs.evolve(SEEN, **changed)
    assert polite_problems(seen, BOUNDS, Scale()) == [problem] * bool(problem)


def test_time_is_not_judged_beside_other_tests() -> None:
    assert polite_problems(attrs.evolve(SEEN, p99=9.0), BOUNDS, SHORT) == []


@pytest.mark.parametrize(
    ("peak", "after", "problem"),
    [
        (Usage(39, 900), Usage(39, 10), None),
        (Usage(41, 11), Usage(30, 10), "grew by 11 MB, more than 10 (a reason)"),
        (Usage(30, 12), Usage(30, 12), "2 descriptors are left open"),
    ],
)
def test_what_a_server_has_not_given_back(peak: Usage, after: Usage, problem: str | None) -> None:
    assert leaks(Usage(30, 10), peak, after, BOUNDS) == [problem] * bool(problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a warning", []),
        ("Traceback (most recent call last):", ["a traceback is in its log"]),
        ("forged \x1b[31m", ["an unescaped byte is in its log"]),
    ],
)
def test_what_a_log_may_not_have(line: str, problem: list[str]) -> None:
    log = Log()
    log.read([f"{line}\n"])
    assert log.problems == problem


def test_datagrams_that_the_kernel_has_lost() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert datagrams_lost(port) == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):  # 13 MB
                sender.sendto(bytes(65_000), ("127.0.0.1", port))
        assert 0 < datagrams_lost(port) < 200


def test_a_gauge_keeps_the_most_and_waits_until_all_is_back() -> None:
    gauge = Gauge(os.getpid())
    with gauge.watching():
        held = [os.open(os.devnull, os.O_RDONLY) for _ in range(9)]
        until = time.monotonic() + 10
        while gauge.peak.descriptors < gauge.before.descriptors + 9:
            assert time.monotonic() < until
            time.sleep(0.01)
        for descriptor in held:
            os.close(descriptor)
    assert gauge.settled(10).descriptors <= gauge.before.descriptors
    assert gauge.peak.memory >= gauge.before.memory > 1


# -- hostile connections


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def test_a_swarm_sends_whole_lines_over_and_over(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with Swarm(port, [Behaviour(b"first\n", again=b"again\n")], 1) as swarm:
        swarm.run(30, until=lambda: swarm.tally.sent >= 100_000)
        with listener.accept()[0] as peer:
            data = peer.recv(100_000, socket.MSG_WAITALL)
    assert data.startswith(b"first\nagain\n")
    assert data[6:].replace(b"again\n", b"") in (b"", *(b"again\n"[:n] for n in range(6)))


@pytest.mark.parametrize(("end", "error"), [("close", None), ("reset", ConnectionResetError)])
def test_a_swarm_ends_once_something_has_come(
    listener: socket.socket, end: str, error: type[Exception] | None
) -> None:
    behaviour = Behaviour(until=b"\n", end=end)  # type: ignore[arg-type]
    with Swarm(listener.getsockname()[1], [behaviour], 1) as swarm:
        swarm.run(0.01)
        with listener.accept()[0] as peer:
            peer.sendall(b"hello\n")
            swarm.run(30)  # until none is left
            with pytest.raises(error) if error else contextlib.nullcontext():
                assert peer.recv(1) == b""
    assert (swarm.tally.opened, swarm.tally.ended) == (1, 0)


def test_a_swarm_returns_as_often_as_it_may(listener: socket.socket) -> None:
    with Swarm(listener.getsockname()[1], [Behaviour(until=b"", returns=True)], 2, most=7) as swarm:
        swarm.run(30)
        assert (swarm.tally.opened, swarm.tally.most) == (7, 2)


def test_a_swarm_notes_the_last_words_of_the_server(listener: socket.socket) -> None:
    with Swarm(listener.getsockname()[1], [Behaviour()], 1) as swarm:
        swarm.run(0.01)
        with listener.accept()[0] as peer:
            peer.sendall(b"* a greeting\n* BYE busy\n")
        swarm.run(30)
    assert swarm.tally.last == {"* BYE busy": 1}


def test_a_swarm_that_nobody_let_in_has_attacked_nothing(listener: socket.socket) -> None:
    swarm = Swarm(listener.getsockname()[1], [Behaviour()], 1)
    with pytest.raises(RuntimeError, match="no hostile client has connected"), swarm:
        pass


# -- the polite client


def test_the_polite_client_tells_what_it_saw(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    question = Question(port, greeting="", limit=0.5, pause=0, pid=os.getpid())
    with polite_client(question) as polite, listener.accept()[0] as peer:
        polite.begin()
        assert peer.recv(100) == b"a PING\n"
        peer.sendall(b"a OK\n")
        with listener.accept()[0] as newcomer:
            newcomer.sendall(b"* BYE busy\n")
            assert peer.recv(100) == b"a PING\n"
            # The second is never answered, which ends it.
            seen = polite.end()
    assert (seen.answers, seen.refused) == (1, 1)
    assert seen.failures == ("client: TimeoutError timed out",)
    assert 0 < seen.median == seen.maximum < 30
    assert 0 < seen.work < 30


# -- what is printed

OUTCOME = Outcome("did much", (), SEEN, Usage(30, 10), Usage(50.6, 1010), Usage(40, 10), 7.2)


def test_a_row_has_80_columns() -> None:
    attack = Attack("an-attack", "what it is", lambda _: OUTCOME)
    first, *below = rows(attack, attrs.evolve(OUTCOME, problems=("bad " * 40,))).split("\n")
    assert first.split() == "an-attack 1.0 2.0 500 600 30 51 40 10 1010 10".split()
    assert all(len(line) <= 80 for line in (first, *below))
    assert below[0].startswith("  did much (7 s): BAD: bad bad")


def test_json_has_the_verdict_and_all_figures() -> None:
    attack = Attack("an-attack", "what it is", lambda _: OUTCOME)
    shown = json.loads(as_json(attack, OUTCOME))
    assert (shown["attack"], shown["verdict"], shown["problems"]) == ("an-attack", "good", [])
    assert shown["peak"] == {"memory": 50.6, "descriptors": 1010}
    assert shown["polite"]["p99"] == 0.002


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.attacks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.heavy
def test_the_command_lists_and_runs_by_name() -> None:
    listed = _command("--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [a.name for a in ATTACKS]
    ran = _command("slow", "--seconds", "0.1", "--share", "0.001", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["attack"] == "slow"
    assert _command("nosuch").returncode == 2
