"""The command, as its users see it: in a process of its own where that makes a difference."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import esps_portal
from esps_portal.product import PRODUCT
from tests import commands
from tests.commands import COMMAND
from tests.processes import Served, served


@pytest.fixture(scope="module")
def portal() -> Iterator[Served]:
    with served() as running:
        yield running


def run(*args: str, url: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
    code, out, err = commands.run(*args, url=url, stdin=stdin.encode())
    return subprocess.CompletedProcess(args, code, out, err)


def test_version_is_one_and_the_same() -> None:
    installed = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert installed.stdout == f"esps-portal, version {esps_portal.__version__}\n"
    assert run("--version").stdout == installed.stdout
    assert f"esps-portal/{esps_portal.__version__}" == PRODUCT


@pytest.mark.parametrize(
    "command", ["", "serve", "run", "proxy", "ping", "list", "call", "inspect", "spec"]
)
def test_help_fits_the_terminal(command: str) -> None:
    ran = run(*command.split(), "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: ")
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "esps+tls" not in ran.stdout, "it does not work yet"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["serve", "--port", "65536"], "65536"),
        (["serve", "--port", "x"], "not a valid integer"),
        (["serve", "--no-tcp", "--no-udp"], "nothing to serve"),
        (["serve", "--nonsense"], "--nonsense"),
        (["ping", "-c", "0"], "0"),
        (["call"], "SERVICE"),
        (["call", "--timeout", "0", "echo"], "0"),
        (["nonsense"], "nonsense"),
        (["spec", "nonsense"], "nonsense"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    ran = run(*args)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_call(portal: Served, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{portal.port}"
    assert run("call", "echo", "a b", "", "c", url=url).stdout == "a b  c\n"
    assert run("call", "echo", "-", url=url, stdin="from stdin").stdout == "from stdin\n"
    assert run("call", "drip", "2", "1", url=url).stdout == "1\n2\n2\n"
    assert run("call", "discard", "x", url=url).stdout == ""


def test_call_as_json(portal: Served) -> None:
    ran = run("call", "--json", "random", "4", "seed", url=portal.url)
    (line,) = ran.stdout.splitlines()
    assert json.loads(line)["type"] == "ok"


def test_a_refusal_is_one_line_and_exit_1(portal: Served) -> None:
    ran = run("call", "fail", "x-shop", "sold out", url=portal.url)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "x-shop sold out\n")


def test_nothing_moves_the_terminal(portal: Served) -> None:
    assert run("call", "echo", "\x1b[2J", url=portal.url).stdout == "\\x1b[2J\n"


def test_a_call_that_takes_too_long(portal: Served) -> None:
    ran = run("call", "--timeout", "0.2", "delay", "60000", url=portal.url)
    assert (ran.returncode, ran.stderr) == (1, "esps-portal: no answer in 0.2 s\n")


@pytest.mark.parametrize("command", [["list"], ["call", "echo"]])
def test_nobody_there_as_json(command: list[str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ran = run(*command, "--json", url=f"esps://127.0.0.1:{held.getsockname()[1]}")
    said = json.loads(ran.stdout)
    assert (said["error"], ran.returncode) == ("unreachable", 1)
    assert "Connection refused" in said["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_drains_and_exits_0(number: int) -> None:
    with served() as running:
        peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with peer, peer.makefile("rb") as lines:
            assert lines.readline().startswith(b"* ESPS/1 ")
            peer.sendall(b"a CALL delay 300 done\nb PING\n")
            assert lines.readline() == b"b OK\n"
            running.process.send_signal(number)
            # In this order, unless it takes 300 ms for the signal to arrive.
            assert sorted(lines) == [b"* BYE closing\n", b"a OK done\n"]
        assert running.process.wait(30) == 0
        assert json.loads(running.output.readlines()[-1]) == {"event": "stopped"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: int) -> None:
    with served("--log-level", "info") as running:
        peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with peer, peer.makefile("rb") as lines:
            lines.readline()
            peer.sendall(b"a CALL stall\nb PING\n")
            lines.readline()
            running.process.send_signal(number)
            assert lines.readline() == b"* BYE closing\n"
            running.process.send_signal(number)
            assert running.process.wait(30) == 128 + number


def test_serve_says_where_it_listens() -> None:
    with served("--host", "127.0.0.1", "--host", "::1") as running:
        assert running.ready["event"] == "ready"
        assert running.ready["tcp"] == running.ready["udp"]
        assert running.ready["tcp"] == [["127.0.0.1", running.port], ["::1", running.port]]
        assert running.ready["control"] is None
        assert running.ready["pid"] == running.process.pid


@pytest.mark.parametrize(("option", "left"), [("--no-udp", "tcp"), ("--no-tcp", "udp")])
def test_serve_one_transport(option: str, left: str) -> None:
    with served(option) as running:
        assert [key for key in ("tcp", "udp") if running.ready[key]] == [left]


def test_a_taken_port_names_who_has_it(portal: Served) -> None:
    ran = run("serve", "--port", str(portal.port))
    assert ran.returncode == 1
    assert ran.stderr.startswith("esps-portal: cannot listen on 127.0.0.1 port ")
    assert f"(pid {portal.process.pid})" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_an_address_that_is_not_ours() -> None:
    ran = run("serve", "--host", "192.0.2.1", "--port", "0")
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1


def test_spec() -> None:
    folder = Path(run("spec", "--path").stdout.strip())
    for args, file in (
        (["spec"], "esps-1.md"),
        (["spec", "abnf"], "esps-1.abnf"),
        (["spec", "registry"], "registry.toml"),
    ):
        assert run(*args).stdout == (folder / file).read_text(encoding="utf-8")


def test_serve_ends_with_its_terminal_line() -> None:
    """A person sees where it listens at once, though the output is a pipe or a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen([COMMAND, "serve", "--port", "0"], stdout=follower) as serving:
        os.close(follower)
        with os.fdopen(leader, "rb") as screen:
            assert screen.readline().startswith(b"listening on 127.0.0.1 port ")
            serving.send_signal(signal.SIGINT)
            assert serving.wait(30) == 0
