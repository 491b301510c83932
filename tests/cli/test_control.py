"""``--control``: where it listens, who may use it, and what is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from tests.cases import cases
from tests.cli.control_client import ask
from tests.commands import run, run_failing
from tests.processes import RunningServer, running_server

TOKEN = "abc.DEF_123"  # noqa: S105 - of a test


def control_of(running: RunningServer) -> str:
    url = running.ready["control"]
    assert isinstance(url, str)
    return url


def event(running: RunningServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.output.readline())
    return found


def usage_error(*args: str, command: str = "serve") -> str:
    code, message = run_failing(command, "--port", "0", *args)
    assert code == 2
    return message


def test_a_portal() -> None:
    with running_server("--control", "--no-access-log") as running:
        url = control_of(running)
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", url)
        assert ask(url, "POST", "/stubs", {"service": "price", "reply": "9.99"})[0] == 201
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"9.99",)
        status, calls = ask(url, "GET", "/calls")
        assert (status, [call["service"] for call in calls]) == (200, ["price"])
        ask(url, "POST", "/down")
        with pytest.raises(ConnectionRefusedError), socket.socket() as peer:
            peer.connect(("127.0.0.1", running.port))
        ask(url, "DELETE", "/down")
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"9.99",)
        _, fault = ask(url, "POST", "/faults", {"fault": "reset", "chance": 0.5})
        assert event(running) == {
            "event": "fault",
            "fault": fault["text"],
            "seed": fault["seed"],
        }
        assert running.stop() == 0


def test_a_proxy() -> None:
    with (
        running_server() as portal,
        running_server("--upstream", portal.url, "--control", command="proxy") as front,
    ):
        url = control_of(front)
        with blocking.connect(front.url) as client:
            client.call("echo", "hi")
        status, calls = ask(url, "GET", "/calls")
        assert (status, [call["args"] for call in calls]) == (200, [["hi"]])
        _, exchanges = ask(url, "GET", "/exchanges?match=echo")
        assert len(exchanges) == 1
        ask(url, "POST", "/down", {"how": "refuse"})
        with pytest.raises(ConnectionRefusedError), socket.socket() as peer:
            peer.connect(("127.0.0.1", front.port))
        assert ask(url, "POST", "/stubs", {"service": "x"})[0] == 404
        assert front.stop() == 0


def test_a_peer() -> None:
    with running_server("--framing", "lines:crlf", "--control", command="peer") as clock:
        url = control_of(clock)
        assert ask(url, "POST", "/stubs", {"match": "time?", "reply": "12:00"})[0] == 201
        with socket.create_connection(("127.0.0.1", clock.port), 30) as client:
            client.sendall(b"time?\r\n")
            assert client.recv(100) == b"12:00\r\n"
            client.sendall(b"time?\r\n")
            assert client.recv(100) == b"12:00\r\n"
        _, exchanges = ask(url, "GET", "/exchanges?match=time")
        assert [each["reply"] for each in exchanges] == ["12:00\r\n"] * 2
        assert ask(url, "POST", "/verify")[1]["ok"]
        ask(url, "POST", "/down", {"how": "refuse"})
        with pytest.raises(ConnectionRefusedError), socket.socket() as refused:
            refused.connect(("127.0.0.1", clock.port))
        _, fault = ask(url, "POST", "/faults", {"fault": "reset", "chance": 0.5})
        while (found := event(clock))["event"] != "fault":
            assert found["event"] in ("opened", "unit", "replied", "closed")
        assert found["seed"] == fault["seed"]
        assert clock.stop() == 0


def test_the_address_and_the_names_of_its_host() -> None:
    with running_server("--control", "[::1]:0", "--control-host", "portal.test") as running:
        url = control_of(running)
        port = url.rpartition(":")[2]
        assert url == f"http://[::1]:{port}"
        assert ask(url, "GET", "/version")[0] == 200
        assert ask(url, "GET", "/version", host=f"portal.test:{port}")[0] == 200
        assert ask(url, "GET", "/version", host=f"other.test:{port}")[0] == 421


@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_token(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = []
    if source == "file":
        path = tmp_path / "token"
        path.write_text(f"{TOKEN}\n")
        options = ["--control-token-file", str(path)]
    else:
        monkeypatch.setenv("ESPS_PORTAL_CONTROL_TOKEN", TOKEN)
    with running_server("--control", "0.0.0.0:0", *options) as running:
        url = control_of(running)
        port = url.rpartition(":")[2]
        assert url == f"http://0.0.0.0:{port}"
        local = f"http://127.0.0.1:{port}"
        assert ask(local, "GET", "/version")[0] == 401
        assert ask(local, "GET", "/version", token="wrong")[0] == 401  # noqa: S106 - of a test
        assert ask(local, "GET", "/version", token=TOKEN)[0] == 200


@pytest.mark.parametrize("command", ["serve", "proxy"])
@cases(
    ("args", "says"),
    [
        (["--control", "x"], "'x' is not an address: write PORT or HOST:PORT"),
        (["--control", "65536"], "'65536' is not an address"),
        (["--control", "::1"], "put an IPv6 address in brackets"),
        (["--control", "127.0.0.1"], "'127.0.0.1' is not an address"),
        (["--control", "0.0.0.0:0"], "--control on 0.0.0.0 is beyond loopback: it needs a token"),
        (["--control", "example.org:0"], "is beyond loopback"),
        (["--control-host", "a"], "--control-host and --control-token-file need --control"),
        (["--control-token-file", "a"], "need --control"),
        (["--control", "--control-host", "http://a"], "'http://a' is not NAME or NAME:PORT"),
        (["--control", "--control-token-file", os.devnull], "/dev/null has no token: letters"),
    ],
)
def test_bad_usage(command: str, args: list[str], says: str) -> None:
    upstream = ["--upstream", "tcp://127.0.0.1:1"] if command == "proxy" else []
    assert says in usage_error(*upstream, *args, command=command)


def test_a_token_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    code, message = run_failing("serve", "--control", "--control-token-file", str(missing))
    assert (code, message) == (1, f"esps-portal: {missing}: No such file or directory")
    endless = usage_error("--control", "--control-token-file", "/dev/zero")
    assert "/dev/zero has no token" in endless
    missing.write_text("a" * 20_000)
    assert "has no token" in usage_error("--control", "--control-token-file", str(missing))
    monkeypatch.setenv("ESPS_PORTAL_CONTROL_TOKEN", "two words")
    message = usage_error("--control")
    assert "ESPS_PORTAL_CONTROL_TOKEN has no token" in message
    assert "two words" not in message


def test_a_port_that_is_taken() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
        listener.listen()
        code, message = run_failing("serve", "--port", "0", "--control", str(number))
    assert code == 1
    assert message.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {number} (tcp)")
    assert message.endswith("try another --control, or --control 0")


def test_it_is_printed() -> None:
    with running_server("--control", "0", json_lines=False) as running:
        *_, line, _ = running.first_lines(4).splitlines()
        assert ask(line.removeprefix("control on "), "GET", "/version")[0] == 200


def test_the_server_ends_though_control_is_in_use() -> None:
    with running_server("--control") as running:
        host, _, port = control_of(running).removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as waiting:
            waiting.sendall(
                b"POST /wait HTTP/1.1\r\nHost: localhost:%b\r\nContent-Type: application/json\r\n"
                b'Content-Length: 15\r\n\r\n{"timeout":900}' % port.encode()
            )
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0


def test_run_gives_its_command_the_url() -> None:
    program = (
        "import os, urllib.request as r; url = os.environ['ESPS_PORTAL_CONTROL_URL'];"
        "print(r.urlopen(url + '/version').status, r.urlopen(url + '/proxies/a').status)"
    )
    command = [sys.executable, "-c", program]
    code, out, err = run("run", "--proxy", "a=tcp://127.0.0.1:1", "--", *command)
    assert (code, out, err) == (0, "200 200\n", "")


def test_strict_asks_the_proxies_that_were_started_by_control() -> None:
    program = (
        "import os, sys; sys.path.insert(0, os.getcwd());"
        "from tests.cli.control_client import ask; url = os.environ['ESPS_PORTAL_CONTROL_URL'];"
        "proxy = {'name': 'b', 'upstream': 'tcp://127.0.0.1:1', 'faults': [{'fault': 'reset'}]};"
        "print(ask(url, 'POST', '/proxies', proxy)[0])"
    )
    code, out, err = run("run", "--strict", "--", sys.executable, "-c", program)
    assert (code, out) == (1, "201\n")
    assert err.startswith("esps-portal: proxy b: fault never struck: reset\n")


def test_without_control_http_is_not_imported() -> None:
    program = (
        "import sys, os, signal, esps_portal.cli as cli, esps_portal.cli.ready as ready;"
        "ready.print_ready = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM);"
        "import esps_portal.cli.server_runner as r; r.print_ready = ready.print_ready\n"
        "try: cli.main(['serve', '--port', '0', '--fault', 'reset'])\n"
        "except SystemExit: print('h11' in sys.modules, 'trio' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "False True\n", ran.stderr


@pytest.mark.parametrize("command", ["serve", "proxy"])
def test_help_names_what_it_needs(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    for word in ("--control [[HOST:]PORT]", "--control-host", "ESPS_PORTAL_CONTROL_TOKEN"):
        assert word in out
