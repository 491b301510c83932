"""The files of ``esps-portal proxy``: every byte, in order, and as other tools read them."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.cli.echo_servers import echo_server, free_port
from tests.journal.recorded_units import Key, joined
from tests.patience import until
from tests.processes import RunningServer, running_server

CONNECTIONS, EXCHANGES = 3, 8


class Session(threading.Thread):
    """A client that sends lines of any length and reads what comes back."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self.peer = socket.create_connection(("127.0.0.1", port), 30)
        self.said = {"client": b"", "server": b""}
        self._random = random.Random(seed)

    def run(self) -> None:
        with self.peer.makefile("rb") as replies:
            for _ in range(EXCHANGES):
                size = self._random.choice((0, 1, 500, 70_000, 300_000))
                line = self._random.randbytes(size).replace(b"\n", b"") + b"\n"
                self.peer.sendall(line)
                self.said["client"] += line
                self.said["server"] += replies.readline()

    def add_to(self, expected: dict[Key, bytes]) -> None:
        """Add what was said; an earlier connection may have had the same port."""
        host, port = self.peer.getsockname()
        for side, data in self.said.items():
            key = host, port, side
            expected[key] = expected.get(key, b"") + data


def run_sessions(front: RunningServer, seed: int) -> list[Session]:
    """Run some at once; they stay open."""
    sessions = [Session(front.port, seed + number) for number in range(CONNECTIONS)]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join()
        assert session.said["server"].count(b"\n") == EXCHANGES
    return sessions


def test_a_recording_has_every_byte_also_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    expected: dict[Key, bytes] = {}
    with echo_server() as upstream:
        options = ("--upstream", upstream, "--record", str(path))
        for seed, number in ((1, signal.SIGKILL), (100, signal.SIGTERM)):
            with running_server(*options, "--no-access-log", command="proxy") as front:
                sessions = run_sessions(front, seed)
                for session in sessions:
                    session.add_to(expected)
                if number == signal.SIGKILL:
                    # The replies to the last requests are written soon.
                    until(lambda: joined(path.read_text().splitlines()) == expected)
                for session in sessions:
                    if number != signal.SIGKILL:
                        session.peer.close()
                front.stop(number)
                for session in sessions:
                    session.peer.close()
            if number == signal.SIGKILL:
                with path.open("ab") as file:
                    file.write(b'{"event":"unit","at":1,"transport":"tcp","da')
    lines = path.read_text().splitlines()
    assert joined(lines) == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- Wireshark -----------------------------------------------------------------------------------

FIELDS = ("frame.protocols", "resp.string", "resp.integer", "resp.bulk_string.value", "tcp.stream")


MISSING = [name for name in ("redis-server", "redis-cli", "tshark") if shutil.which(name) is None]


@pytest.mark.heavy
@pytest.mark.skipif(MISSING != [], reason=f"not installed: {', '.join(MISSING)}")
def test_tshark_dissects_a_redis_session(tmp_path: Path) -> None:
    path, port = tmp_path / "redis.pcap", free_port()
    server = ("redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path))
    with subprocess.Popen(server, stdout=subprocess.DEVNULL) as redis:
        try:
            options = ("--upstream", f"tcp://127.0.0.1:{port}", "--pcap", str(path))
            with running_server(*options, command="proxy") as front:
                until(lambda: redis_cli(front.port, "PING") == "PONG")
                assert redis_cli(front.port, "SET", "greeting", "hello") == "OK"
                assert redis_cli(front.port, "GET", "greeting") == "hello"
                assert redis_cli(front.port, "INCR", "visits") == "1"
                assert front.stop() == 0
        finally:
            redis.terminate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = dissect(path, port, tmp_path)
    assert column(rows, "resp.string")[-2:] == ["PONG", "OK"]
    assert column(rows, "resp.integer") == ["1"]
    found = ",".join(column(rows, "resp.bulk_string.value"))
    for word in ("SET", "GET", "INCR", "greeting", "visits"):
        assert word.encode().hex() in found
    assert found.count(b"hello".hex()) == 2


def redis_cli(port: int, *command: str) -> str:
    line = ["redis-cli", "-p", str(port), *command]
    return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip()


def dissect(path: Path, port: int, folder: Path) -> list[dict[str, str]]:
    """Return the packets as tshark sees them, with the ports of this test."""
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={port},resp", "-T", "fields"]
    command += ["-E", "header=y", *(part for field in FIELDS for part in ("-e", field))]
    # Without the preferences of whoever runs the tests.
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    ran = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=100)
    return list(csv.DictReader(ran.stdout.decode().splitlines(), delimiter="\t"))


def column(rows: list[dict[str, str]], name: str) -> list[str]:
    """Return what a column has, without empty fields."""
    return [row[name] for row in rows if row[name]]
