"""``esps-portal connect`` with lines from a pipe."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path

import pytest

from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.certificates import Certificates
from tests.cli.peers import GREETING, HELLO, tcp_server, unused_address
from tests.commands import run, run_redirected, start
from tests.patience import PATIENCE
from tests.processes import running_server


def connect(url: str, lines: str | bytes, *options: str) -> tuple[int, str, str]:
    stdin = lines if isinstance(lines, bytes) else lines.encode()
    return run("connect", *options, url, stdin=stdin)


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_each_line_is_a_request(portal: ThreadedPortal, scheme: str) -> None:
    lines = """echo hello "two words"
    # nothing

    PING x\r
    PING
    drip 2 1
    LIST echo
    HELLO ESPS/1
    help"""
    code, out, err = connect(f"{scheme}://127.0.0.1:{portal.port}", lines)
    assert (code, err) == (0, "")
    first, ping, one, two, last, listed, hello, *_ = out.splitlines()
    assert (first, ping, one, two, last) == ("hello two words", "x", "1", "2", "2")
    assert listed.startswith("echo i [arg...] ")
    assert hello.startswith("ESPS/1 esps-portal/")
    assert 'echo hello "two words"   call a service' in out


def test_the_target_may_come_from_the_environment(portal: ThreadedPortal) -> None:
    assert run("connect", url=portal.url, stdin=b"echo hi\n") == (0, "hi\n", "")
    assert run("connect", "--url", portal.url, stdin=b"echo hi\n") == (0, "hi\n", "")
    code, _, err = run("connect", "--url", portal.url, portal.url)
    assert (code, err.count("\n")) == (2, 1)


def test_json_has_one_object_for_each_line_of_a_reply(portal: ThreadedPortal) -> None:
    lines = b"echo \xff a\ndrip 1 1\nPING\nfail x-no 'not now'\n"
    code, out, err = connect(portal.url, lines, "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"type": "ok", "args": [{"b64": "/w=="}, "a"]},
        {"type": "data", "args": ["1"]},
        {"type": "ok", "args": ["1"]},
        {"type": "ok", "args": []},
        {"error": "x-no", "message": "not now"},
    ]
    assert (code, err) == (1, "x-no not now\n")


def test_a_refusal_is_one_line_and_the_next_line_is_carried_out(portal: ThreadedPortal) -> None:
    code, out, err = connect(portal.url, "fail busy later\nping\necho on\nCANCEL x\n")
    assert (code, out) == (1, "on\n")
    assert err.splitlines() == [
        "busy later",
        "unknown-service LIST names them; esps-portal list shows the services",
        "esps-portal: the verb is PING, in capitals",
        "not-in-flight no call runs under that tag",
    ]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('echo "b', "no closing quotation"),
        ("FOO", "'FOO' is neither a service nor a verb (HELLO PING LIST CALL CANCEL QUIT)"),
        ("x" * 70_000, "a line must be at most 65536 bytes"),
    ],
)
def test_a_line_that_is_no_request_ends_it(portal: ThreadedPortal, bad: str, says: str) -> None:
    code, out, err = connect(portal.url, f"echo a\nfail x-a\n\n{bad}\necho c\n")
    assert (code, out) == (2, "a\n")
    message = f"esps-portal: line 4: {says}; the lines after it were not read"
    assert err.splitlines() == ["x-a", message]


@pytest.mark.parametrize("last", ["quit", "exit", "QUIT"])
def test_quit_ends_it(portal: ThreadedPortal, last: str) -> None:
    assert connect(portal.url, f"echo a\n{last}\necho b\n") == (0, "a\n", "")


def test_quit_over_udp_is_refused_by_the_portal(portal: ThreadedPortal) -> None:
    code, out, err = connect(f"esps+udp://127.0.0.1:{portal.port}", "QUIT\necho b\n")
    assert (code, out, err.split()[0]) == (1, "b\n", "use-tcp")


def test_over_tls(certificates: Certificates) -> None:
    files = certificates.portal
    with running_server("--tls-cert", files.cert, "--tls-key", files.key) as server:
        url = f"esps+tls://127.0.0.1:{server.port}"
        assert connect(url, "echo hi\n", "--cafile", certificates.ca) == (0, "hi\n", "")
        code, _, err = connect(url, "echo hi\n")
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("; trust it with --cafile FILE\n")


def test_a_portal_that_requires_hello() -> None:
    with running_server("--require-hello") as server:
        assert connect(server.url, "echo hi\nping\necho on\n")[:2] == (1, "hi\non\n")


def test_a_request_has_a_time_limit(portal: ThreadedPortal) -> None:
    code, out, err = connect(portal.url, "stall\necho on\n", "-W", "0.2")
    assert (code, out, err) == (1, "on\n", "esps-portal: no reply in 0.2 s\n")
    code, out, err = connect(f"esps+udp://127.0.0.1:{portal.port}", "stall\n", "-W", "0.2")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_a_portal_that_is_not_there() -> None:
    with unused_address() as address:
        code, out, err = connect(address, "echo a\n")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"esps-portal: cannot connect to esps://{address}: ")
        assert err.endswith(", or use another TARGET\n")
        code, out, err = connect(f"esps+udp://{address}", "echo a\n")
        assert (code, out, err.count("\n")) == (1, "", 1)


def test_nothing_of_the_portal_is_shown_unescaped() -> None:
    greeting = GREETING + "* ERR x-odd %1B[2J\n"
    with tcp_server(greeting, HELLO, "DATA %1B[2J%0A\nOK %9B", "ERR x-a %1B[2J") as url:
        code, out, err = connect(url, "a\nb\n")
    assert (code, out) == (1, "* ERR x-odd \\x1b[2J\n\\x1b[2J\\n\n\\x9b\n")
    assert err == "x-a \\x1b[2J\n"


def test_a_notice_as_json() -> None:
    with tcp_server(f"{GREETING}* ERR x-odd %1B\n", HELLO) as url:
        code, out, _ = connect(url, "", "--json")
    assert (code, json.loads(out)) == (0, {"type": "notice", "line": "* ERR x-odd \\x1b"})


def test_a_portal_that_refuses_hello() -> None:
    with tcp_server(GREETING, "ERR unsupported-version ESPS/9") as url:
        assert connect(url, "echo a\n") == (1, "", "unsupported-version ESPS/9\n")


def test_a_portal_that_ends_the_connection_between_lines() -> None:
    with tcp_server(GREETING, HELLO, "OK a") as url:
        code, out, err = connect(url, "a\nb\nc\n")
    assert (code, out, err) == (1, "a\n", "esps-portal: the portal ended the connection\n")


def test_a_portal_that_ends_the_connection_while_a_line_is_awaited() -> None:
    with running_server() as server, start("connect", server.url) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("echo a\nech")
        process.stdin.flush()
        assert process.stdout.readline() == "a\n"
        server.stop()
        out, err = process.stdout.read(), process.stderr.read() if process.stderr else ""
        assert process.wait(30) == 1
    ended = "esps-portal: the portal ended the connection (reason: closing)\n"
    assert (out, err) == ("* BYE closing\n", ended)


def test_the_end_of_the_lines_comes_before_the_end_of_the_connection(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\n")
    for _ in range(3):
        with tcp_server(GREETING, HELLO, "OK a") as url:
            ran = run_redirected(f"< {tmp_path / 'lines'}", "connect", url)
        assert ran == (0, "a\n", "")


def test_ctrl_c_cancels_the_call_and_ends() -> None:
    """A pipe has no prompt to return to."""
    lines: list[bytes] = []

    def serve() -> None:
        with server.accept()[0] as stream, stream.makefile("rb") as requests:
            stream.settimeout(PATIENCE)
            stream.sendall(GREETING.encode())
            tag = next(requests).split()[0]
            stream.sendall(tag + b" OK ESPS/1 test/1\n")
            tag = next(requests).split()[0]
            stream.sendall(tag + b" DATA 1\n")
            lines.extend(requests)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        with start("connect", "{}:{}".format(*server.getsockname())) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("slow\necho never\n")
            process.stdin.flush()
            assert process.stdout.readline() == "1\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        thread.join(30)
    assert lines == [b"c3 CANCEL c2\n", b"q QUIT\n"]
