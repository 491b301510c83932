from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from esps_portal.cli import main
from tests.cases import cases
from tests.inspection.servers import bound, free_port, pong, portal, tcp_server, udp_server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *arguments])


def test_a_port_in_use_exits_0() -> None:
    with tcp_server(portal) as port:
        result = run("--port", str(port))
    assert result.exit_code == 0
    assert f"TCP 127.0.0.1:{port} listens" in result.output
    assert f"pid {os.getpid()}," in result.output
    assert "answers ESPS/1: fake/1.0" in result.output
    assert "ss -lntup" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


FORMS = ["{}", "127.0.0.1:{}", "localhost:{}", "esps://127.0.0.1:{}", "esps+udp://127.0.0.1:{}"]


@pytest.mark.parametrize("option", [[], ["--url"]], ids=["argument", "option"])
@pytest.mark.parametrize("form", FORMS)
def test_a_target_is_what_port_and_host_name(form: str, option: list[str]) -> None:
    with tcp_server(portal) as port:
        result = run(*option, form.format(port), "--json", "-W", "5")
    report = json.loads(result.output)
    assert (result.exit_code, report["port"], report["held"]) == (0, port, True)
    named = form.rpartition("/")[2].rpartition(":")[0]
    assert report["host"] == (named or None)


def test_a_host_alone_has_the_default_port() -> None:
    report = json.loads(run("127.0.0.1", "--json", "-W", "0.1").output)
    assert (report["host"], report["port"]) == ("127.0.0.1", 2867)


def test_the_error_names_the_parameter() -> None:
    for arguments, name in (
        (["nowhere.invalid"], "TARGET"),
        (["--url", "nowhere.invalid"], "--url"),
        (["--host", "nowhere.invalid"], "--host"),
    ):
        assert f"Invalid value for '{name}': cannot resolve " in run(*arguments).stderr


def test_a_udp_port() -> None:
    with udp_server(pong) as port:
        result = run("--port", str(port))
    assert result.exit_code == 0
    assert f"UDP 127.0.0.1:{port} is open" in result.output
    assert "It speaks ESPS/1." in result.output


def test_another_protocol_uses_the_port_too() -> None:
    with bound(socket.SOCK_STREAM) as (_, port):
        result = run("--port", str(port), "--timeout", "0.1")
    assert result.exit_code == 0
    assert "Nothing there speaks ESPS/1." in result.output


def test_a_free_port_exits_1() -> None:
    port = str(free_port())
    result = run("--port", port)
    assert result.exit_code == 1
    assert result.output.startswith(f"Nothing uses port {port} on this machine.\n")


def test_json_is_one_object() -> None:
    with tcp_server(portal) as port:
        result = run("--port", str(port), "--json", "--timeout", "30")
    assert result.exit_code == 0
    assert result.output.count("\n") == 1
    report = json.loads(result.output)
    assert report["held"]
    assert [h["pid"] for h in report["holders"] if h["host"] == "127.0.0.1"] == [os.getpid()]
    assert report["answers"][0]["verdict"] == "esps-1"


def test_json_of_a_free_port_exits_1() -> None:
    result = run("--port", str(free_port()), "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["held"] is False


def test_the_default_port_is_2867() -> None:
    result = run("--json", "--timeout", "0.1")
    assert json.loads(result.output)["facts"]["iana"]["name"] == "esps-portal"


@cases(
    "arguments",
    [
        ["--port", "0"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--port", "esps"],
        ["--port"],
        ["--timeout", "0"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["--timeout", "inf"],
        ["--timeout", "soon"],
        ["--host", "256.1.1.1.1"],
        ["--host", "a" * 70],
        ["--nothing"],
        ["0"],
        ["65536"],
        ["localhost:0"],
        ["http://localhost"],
        ["256.1.1.1.1"],
        ["--url", "256.1.1.1.1"],
        ["2867", "2868"],
        ["2867", "--port", "2867"],
        ["localhost", "--host", "localhost"],
        ["2867", "--url", "2867"],
        ["--url", "2867", "--port", "2867"],
    ],
)
def test_bad_usage_exits_2_with_one_line(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("esps-portal inspect: ")
    assert result.stderr.endswith("; see esps-portal inspect --help\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("columns", [40, 60])
def test_it_is_as_wide_as_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esps_portal.cli.output.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    with udp_server(pong) as port:
        lines = run(str(port)).output.splitlines()
    widest = max(len(line) for line in lines if len(line.split()) > 1)
    assert 0.75 * columns < widest <= columns


def test_help_explains_the_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "Exit codes: 0 the port is in use, 1 it is not, 2 bad usage" in result.output


def test_it_starts_without_trio_and_its_help_without_psutil() -> None:
    program = (
        "import sys, esps_portal.cli.inspect as cli; assert 'psutil' not in sys.modules;"
        "import esps_portal.inspection.text_report; assert 'psutil' not in sys.modules;"
        "assert 'trio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
