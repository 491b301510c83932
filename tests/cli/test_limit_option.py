"""``serve --limit``: what a portal is configured with, without a scenario file."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.commands import run_failing
from tests.patience import PATIENCE
from tests.processes import RunningServer, running_server


def announced(server: RunningServer) -> list[bytes]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as peer:
        peer.sendall(b"a HELLO ESPS/1\nb QUIT\n")
        with peer.makefile("rb") as answers:
            return answers.read().splitlines()[1].split()


@pytest.mark.parametrize(
    "other", [[], ["--fault", "latency seconds=0.001 service=echo"]], ids=["plain", "scripted"]
)
def test_limits(other: list[str]) -> None:
    limits = ["--limit", "max-line=600", "--limit", "idle=7.5"]
    with running_server(*limits, *other) as server:
        assert {b"max-line=600", b"idle=7.5", b"window=60"} <= set(announced(server))


def test_with_a_scenario_and_its_reload(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text("limits = {max-line = 600}")
    options = ["--limit", "idle=7", "--scenario", str(file)]
    with running_server(*options) as server:
        server.process.send_signal(signal.SIGHUP)
        assert {b"max-line=600", b"idle=7"} <= set(announced(server))
        log = server.stop_and_read_log()
    assert any("reloaded" in line for line in log)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "idle"], "expected NAME=VALUE"),
        (["--limit", "idl=3"], "there is no limit 'idl' (did you mean 'idle'?)"),
        (["--limit", "max-line=x"], "max-line must be an integer, got 'x'"),
        (["--limit", "max-line=1.5"], "max-line must be an integer, got '1.5'"),
        (["--limit", "idle=x"], "idle must be a number of seconds, got 'x'"),
        (["--limit", "idle=nan"], "idle must be a number of seconds, got 'nan'"),
        (["--limit", "idle=1e400"], "idle must be a number of seconds, 0 or more, got inf"),
        (["--limit", "idle=1_0"], "idle must be a number of seconds, got '1_0'"),
        (["--limit", "max-line=1_000"], "max-line must be an integer, got '1_000'"),
        (["--limit", "max-line=\u0661\u0660"], "max-line must be an integer, got"),
        (["--limit", "max-line=" + "9" * 30], "max-line must be at least 512, at most 9223372036"),
        (["--limit", "max-line=" + "9" * 5000], "max-line must be an integer, got '999"),
        (["--limit", "idle=" + "9" * 5000], "idle must be a number of seconds, got '999"),
        (["--limit", "max-line=5"], "max-line must be at least 512, got 5"),
        (["--limit", "max-unterminated=600"], "max-unterminated must be greater than max-line"),
    ],
)
def test_wrong_limits(options: list[str], message: str) -> None:
    code, line = run_failing("serve", "--port", "0", *options)
    assert code == 2
    assert message in line
    assert len(line) < 400


def test_a_limit_of_the_scenario(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text("limits = {idle = 3}")
    code, line = run_failing("serve", "--limit", "idle=5", "--scenario", str(file))
    assert code == 2
    assert "--limit idle: the scenario has that limit too" in line
