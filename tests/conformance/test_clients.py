"""``esps-portal conformance --client``: our clients pass, broken ones do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import run

CLIENTS = Path(__file__).with_name("clients")
# CI serves every case to each of our clients.
SAMPLE = ("call-tcp-byte-by-byte", "call-tcp-wrong-tag", "call-udp-first-lost")

# Of linux/udp.h, which Python does not name: send what follows in datagrams of this size.
UDP_SEGMENT = 103


def judge(*arguments: str) -> tuple[int, dict[str, str]]:
    code, out, _ = run("conformance", "--json", *arguments)
    outcomes = [json.loads(line) for line in out.splitlines()][:-1]
    return code, {outcome["vector"]: outcome["verdict"] for outcome in outcomes}


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--only", name)]


@pytest.mark.parametrize("client", ["trio_client.py", "blocking_client.py", "node.mjs"])
def test_our_clients_pass(client: str, tool: Callable[[str], str]) -> None:
    interpreter = tool("node") if client.endswith(".mjs") else sys.executable
    code, verdicts = judge(*only(*SAMPLE), "--client", "--", interpreter, str(CLIENTS / client))
    assert verdicts == dict.fromkeys(SAMPLE, "pass")
    assert code == 0


@pytest.mark.parametrize("command", ["true", "false"])
def test_what_calls_nothing_passes_nothing(command: str) -> None:
    code, verdicts = judge("--client", "--", command)
    assert len(verdicts) >= 80
    assert set(verdicts.values()) <= {"fail", "warn"}  # a warning where it is a SHOULD
    assert code == 1


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("any-tag", "call-tcp-wrong-tag"),
        ("any-spaces", "call-tcp-doubled-space"),
        ("no-greeting", "call-tcp-no-greeting"),
        ("fragments", "call-tcp-unterminated"),
        ("silent-end", "call-tcp-fin"),
        ("errors-are-replies", "call-tcp-error"),
        ("cr-lf", "call-tcp-plain"),
        ("short-tag", "call-udp-plain"),
        ("first-of-several-lines", "call-udp-two-final-lines"),
        ("any-source", "call-udp-other-port"),
        ("new-tags", "call-udp-first-lost"),
        ("no-backoff", "call-udp-three-lost"),
        ("never-gives-up", "call-udp-no-answer"),
    ],
)
def test_a_fault_of_a_client_is_found(fault: str, case: str) -> None:
    broken = [sys.executable, str(CLIENTS / "broken.py"), fault]
    code, verdicts = judge(*only(case), "--client", "--", *broken)
    assert (code, verdicts) == (1, {case: "fail"})


def program(*lines: str) -> list[str]:
    """Return a client over UDP, whose socket is ``s``."""
    begin = """
import os, pathlib, socket, sys, time
from urllib.parse import urlsplit
url = urlsplit(os.environ["ESPS_PORTAL_URL"])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((url.hostname, url.port))
call = b"0123456789abcdef CALL echo hi"
"""
    return [sys.executable, "-c", begin + "\n".join(lines)]


@pytest.mark.parametrize(("times", "verdict"), [(2, "pass"), (3, "fail")])
def test_a_time_of_udp_is_broken_only_by_who_breaks_it_each_time(
    times: int, verdict: str, tmp_path: Path
) -> None:
    """A machine that is busy may let a repeat come as soon as what it repeats."""
    client = program(
        f"runs = pathlib.Path({str(tmp_path)!r})",
        "(runs / str(os.getpid())).touch()",
        "call += b'\\n'",
        f"if len(list(runs.iterdir())) > {times}:",
        "    s.send(call)",
        "    time.sleep(0.1)",
        "    s.send(call)",
        "else:  # both in one system call, that a busy machine does not keep apart",
        f"    s.setsockopt(socket.IPPROTO_UDP, {UDP_SEGMENT}, len(call))",
        "    s.send(call * 2)",
        "print(s.recv(1000).split()[2].decode())",
    )
    _, verdicts = judge(*only("call-udp-first-lost"), "--client", "--", *client)
    assert verdicts == {"call-udp-first-lost": verdict}


def test_a_repeat_may_cross_with_a_reply() -> None:
    """Then the client has a NEEDED less than the server has sent."""
    client = program(
        "s.send(call + b'\\n')",
        "time.sleep(0.1)",
        "s.send(call + b'\\n')",  # though the first NEEDED has come
        "for size in range(100, 501, 100):",
        "    assert s.recv(1000).split()[3] == b'%d' % size",
        "    if size < 500: s.send(call + b' ' + (size - len(call) - 2) * b'#' + b'\\n')",
        "sys.exit(1)",
    )
    name = "call-udp-too-large-without-end"
    _, verdicts = judge(*only(name), "--client", "--", *client)
    assert verdicts == {name: "pass"}


def test_the_broken_client_is_good_without_a_fault() -> None:
    cases = only("call-tcp-plain", "call-tcp-wrong-tag", "call-udp-three-lost")
    code, verdicts = judge(*cases, "--client", "--", sys.executable, str(CLIENTS / "broken.py"), "")
    assert code == 0, verdicts


def test_a_client_that_never_ends() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    code, out, _ = run(
        "conformance", "-W", "0.1", *only("call-tcp-plain"), "--client", "--", *command
    )
    assert code == 1
    assert "it still runs" in out


@pytest.mark.parametrize(
    ("case", "kind"), [("call-tcp-plain", "STREAM"), ("call-udp-plain", "DGRAM")]
)
def test_what_is_wrong_ends_the_case_of_a_client_that_never_ends(case: str, kind: str) -> None:
    program = (
        "import os, socket, time, urllib.parse as u;"
        "url = u.urlsplit(os.environ['ESPS_PORTAL_URL']);"
        f"s = socket.socket(socket.AF_INET, socket.SOCK_{kind});"
        "s.connect((url.hostname, url.port));"
        "s.send(b'a  CALL echo hi\\n');"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", program]
    code, out, _ = run("conformance", "-W", "100", *only(case), "--client", "--", *command)
    assert code == 1
    assert "a  CALL echo hi" in out
    assert "it still runs" not in out


def test_a_client_that_cannot_be_started() -> None:
    code, out, err = run("conformance", "--client", "--", "no-such-command")
    assert (code, out, err) == (1, "", "esps-portal: no-such-command: not found\n")


def test_a_client_that_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "client"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    code, out, _ = run("conformance", *only("call-tcp-plain"), "--client", "--", str(program))
    assert code == 1
    assert "the client cannot be started" in out


@pytest.mark.parametrize("arguments", [["--client"], ["--client", "--server", "--", "true"]])
def test_bad_usage(arguments: list[str]) -> None:
    code, _, err = run("conformance", *arguments)
    assert code == 2
    assert "--client" in err
