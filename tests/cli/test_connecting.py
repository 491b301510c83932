"""A portal that cannot be reached, or does not answer."""

from __future__ import annotations

import errno
import json
import socket
import threading
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from esps_portal.cli.calls import call_command
from esps_portal.protocol.errors import UnreachableError
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import run
from tests.patience import PATIENCE
from tests.terminal import Terminal

_AT_ONCE = """
from esps_portal.cli import main, slow_notice
slow_notice._LONG = 0.0
main()
"""


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_connection_refused(scheme: str) -> None:
    kind = socket.SOCK_STREAM if scheme == "esps" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        if scheme == "esps+udp":
            reserved.close()
        code, out, err = run("call", "echo", url=f"{scheme}://127.0.0.1:{port}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    hint = f"start one with esps-portal serve --port {port}, or use another with --url"
    assert err.endswith(f"Connection refused; {hint}\n")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("localhost", " with esps-portal serve"),
        ("127.0.0.1:9", " with esps-portal serve --port 9"),
        ("127.0.0.2", " with esps-portal serve --host 127.0.0.2"),
        ("192.0.2.7:9", " there with esps-portal serve --host 192.0.2.7 --port 9"),
    ],
)
def test_the_hint_serves_what_was_refused(
    target: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        try:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        except OSError as error:
            raise UnreachableError("Connection refused") from error

    monkeypatch.setattr(trio, "run", refuse)
    _, _, err = run("list", "--url", target)
    assert (
        err == f"esps-portal: Connection refused; start one{command}, or use another with --url\n"
    )


def test_an_unknown_host() -> None:
    code, _, err = run("call", "echo", url="esps://nowhere.invalid")
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("; use another host with --url\n")


@pytest.mark.parametrize("scheme", ["esps", "esps+udp", "esps+tls"])
@pytest.mark.parametrize("command", ["ping -c 1", "list", "call echo"])
def test_a_resolver_that_does_not_answer(
    command: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, real = threading.Event(), socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        flags = [*args, *options.values()]
        if any(isinstance(each, int) and each & socket.AI_NUMERICHOST for each in flags[4:]):
            return real(host, *args, **options)  # trio asks first whether it is a name
        answers.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"{scheme}://nowhere.invalid"
    try:
        code, _, err = run(*command.split(), "--timeout", "0.1", "--url", url)
    finally:
        answers.set()
    assert code == 1
    unresolved = "the name nowhere.invalid was not resolved in 0.1 s"
    assert err == f"esps-portal: {unresolved}; use another host with --url\n"


@pytest.mark.parametrize(
    "command", [("call", "echo"), ("list",), ("connect",), ("ping", "-c", "1")]
)
def test_on_a_terminal_it_says_what_it_waits_for(command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"esps://127.0.0.1:{silent.getsockname()[1]}"
        with Terminal(*command, "--url", url, script=_AT_ONCE) as terminal:
            terminal.until(f"esps-portal: waiting for {url}; Ctrl-C ends it\n")


def test_a_server_that_sends_no_greeting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"esps://127.0.0.1:{silent.getsockname()[1]}"
        for args in ("ping -c 1", "list", "call echo"):
            code, _, err = run(*args.split(), "--timeout", "0.1", "--url", url)
            assert (code, err.count("\n")) == (1, 1)
            hint = "it sent nothing: it may be out of reach, or expect TLS"
            assert err.startswith(f"esps-portal: no greeting from {url} in 0.1 s; {hint}; ")


def test_the_default_timeout_covers_connecting_only(
    portal: ThreadedPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"esps://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("esps_portal.cli.calls.CONNECT_TIMEOUT", 0.1)
        ran = runner.invoke(call_command, ["--url", url, "echo"])
    assert ran.exit_code == 1
    assert ran.stderr.startswith(f"esps-portal: no greeting from {url} in 0.1 s; ")
    monkeypatch.setattr("esps_portal.cli.calls.CONNECT_TIMEOUT", 1.0)
    ran = runner.invoke(call_command, ["--url", portal.url, "delay", "1100", "late"])
    assert (ran.exit_code, ran.stdout) == (0, "late\n")


@pytest.mark.parametrize("command", [["list"], ["call", "echo"]])
def test_connection_refused_as_json(command: list[str]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        code, out, _ = run(*command, "--json", url=f"esps://127.0.0.1:{reserved.getsockname()[1]}")
    problem = json.loads(out)
    assert (problem["error"], code) == ("unreachable", 1)
    assert "Connection refused" in problem["message"]
