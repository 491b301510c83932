from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.fairness import Figures, Load, Programs
from tests.bench.machine import child, first_line, say


@pytest.fixture(scope="module")
def programs(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Programs:
    tool("gcc")
    return Programs.compile(tmp_path_factory.mktemp("attacks"))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


@pytest.mark.heavy
def test_the_command_prints_a_table_of_both_servers(tool: Callable[[str], str]) -> None:
    tool("gcc")
    tool("redis-server")
    command = [sys.executable, "-m", "tests.attacks", "fairness", "--seconds", "0.1"]
    ran = subprocess.run(
        [*command, "--timeout", "5", "--only", "1 x PING, never"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [line.split("never reads")[1].split() for line in ran.stdout.splitlines()[4:6]]
    assert [row[0] for row in rows] == ["portal", "redis"]
    for row in rows:
        median, p99, maximum, anew = (float(cell.strip("!")) for cell in row[1:5])
        assert 0 < median <= p99 <= maximum <= 5000
        assert 0 < anew <= 15000
    assert "portal: every aim met under" in ran.stdout


def test_a_flood_repeats_whole_lines_without_end(
    programs: Programs, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with child(programs.attack, "flood", port, 1, "reads", "a PING\n") as attack:
        peer = listener.accept()[0]
        with peer:
            assert first_line(attack) == "ready\n"
            say(attack)
            data = b""
            while len(data) < 1 << 20:
                data += peer.recv(1 << 16)
    assert data.startswith(b"a PING\n")
    assert data.replace(b"a PING\n", b"") in (b"", data[-(len(data) % 7) :])


def test_once_is_64_kib_for_each_byte_of_input(programs: Programs, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with child(programs.attack, "once", port, 1, "deaf", "@\n") as attack:
        peer = listener.accept()[0]
        peer.settimeout(30)
        with peer:
            first_line(attack)
            for _ in range(2):
                say(attack)
                assert _exactly(peer, 65536) == b"@\n" * 32768
            attack.kill()
            assert peer.recv(1) == b""


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += peer.recv(size - len(data))
    return data


def test_one_that_was_closed_connects_anew(programs: Programs, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with child(programs.attack, "flood", port, 1, "reads", "\n") as attack:
        for _ in range(3):
            listener.accept()[0].close()
        say(attack)
        with listener.accept()[0] as peer:
            assert peer.recv(1) == b"\n"


def test_datagrams_are_sent_again_and_again(programs: Programs) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        line = "x CALL random 2048\n"
        with child(programs.attack, "datagrams", sock.getsockname()[1], 300, "reads", line) as p:
            first_line(p)
            say(p)
            assert [sock.recv(100) for _ in range(3)] == [line.encode()] * 3


def test_the_polite_client_waits_for_each_answer(
    programs: Programs, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with child(programs.polite, port, 60, 1, "a PING\n", 1) as polite:
        peer = listener.accept()[0]
        with peer:
            peer.sendall(b"* a greeting\n")
            assert first_line(polite) == "ready\n"
            say(polite)
            for _ in range(2):
                assert peer.recv(100) == b"a PING\n"
                peer.sendall(b"a OK\n")
            # The third is never answered, and ends it. Then one over a new connection is.
            new = listener.accept()[0]
            with new:
                new.sendall(b"* a greeting\n")
                assert new.recv(100) == b"a PING\n"
                new.sendall(b"a OK\n")
                median, _, maximum, count, anew = map(float, first_line(polite).split())
    assert (count, maximum) == (3, 1)
    assert max(median, anew) < 1


@pytest.mark.parametrize(
    ("count", "median", "maximum", "sigterm", "missed"),
    [
        (1, 0.004, 9.0, 0.09, []),
        (1, 0.006, 9.0, 0.09, ["median"]),
        (10, 9.0, 9.0, 0.11, ["SIGTERM"]),
        (50, 9.0, 0.24, 0.09, []),
        (50, 9.0, 0.26, 0.11, ["maximum", "SIGTERM"]),
    ],
)
def test_what_misses_its_aim(
    count: int, median: float, maximum: float, sigterm: float, missed: list[str]
) -> None:
    figures = Figures(median, maximum, maximum, 9.0, sigterm, cpu=1.0, memory=1.0)
    assert figures.missed(Load("flood", count, "LF")) == missed
