"""What goes wrong with the command itself is one line that says what to do, and an exit code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import IO

import psutil
import pytest
from click.testing import CliRunner

from esps_portal import blocking
from esps_portal.cli.calls import call_command
from tests import commands
from tests.commands import COMMAND
from tests.processes import Served, served

FULL = "cannot write: No space left on device"


@pytest.fixture(scope="module")
def portal() -> Iterator[Served]:
    with served() as running:
        yield running


def start(
    *args: str | bytes, url: str = "", stdin: int = subprocess.DEVNULL, redirected: str = ""
) -> subprocess.Popen[bytes]:
    """Start the command; ``redirected`` is what a shell puts behind it, such as ``>&-``."""
    line: list[str | bytes] = [COMMAND, *args]
    if redirected:
        line = ["sh", "-c", f'exec "$@" {redirected}', "sh", *line]
    return subprocess.Popen(
        line,
        env={**os.environ, **({"ESPS_PORTAL_URL": url} if url else {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(
    *args: str | bytes, url: str = "", stdin: bytes = b"", redirected: str = ""
) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error."""
    if not redirected:
        return commands.run(*args, url=url, stdin=stdin)
    with start(*args, url=url, stdin=subprocess.PIPE, redirected=redirected) as process:
        out, err = process.communicate(stdin, timeout=60)
    return process.returncode, out.decode(), err.decode()


def wait_until_read(pipe: IO[bytes]) -> None:
    """Wait until nothing is left in a pipe."""
    deadline = time.monotonic() + 30
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def calls(portal: Served) -> int:
    """Count one up at the portal."""
    with blocking.connect(portal.url) as asking:
        return int(asking.call("count", "robustness")[0])


# ---- octets in -------------------------------------------------------------------------------


def test_arguments_are_octets(portal: Served) -> None:
    assert run("call", "echo", b"\xff", url=portal.url) == (0, "\\xff\n", "")
    code, out, _ = run("call", "--json", "echo", b"a\xff", "é", url=portal.url)
    assert (code, json.loads(out)) == (0, {"type": "ok", "args": [{"b64": "Yf8="}, "é"]})


@pytest.mark.parametrize("command", ["call", "list"])
def test_a_service_is_text(portal: Served, command: str) -> None:
    code, out, err = run(command, b"\xff", url=portal.url)
    assert (code, out) == (2, "")
    assert err.startswith(f"esps-portal {command}: Invalid value for ")
    assert err.endswith(f" '\\udcff' is not UTF-8 text; see esps-portal {command} --help\n")


def test_standard_input_is_closed(portal: Served) -> None:
    told = "esps-portal: cannot read the argument -: standard input is closed\n"
    assert run("call", "echo", "-", url=portal.url, redirected="<&-") == (1, "", told)
    assert run("call", "echo", "x", url=portal.url, redirected="<&-") == (0, "x\n", "")


def test_standard_input_cannot_be_read(portal: Served) -> None:
    told = "esps-portal: cannot read the argument -: Bad file descriptor\n"
    assert run("call", "echo", "-", url=portal.url, redirected="0>/dev/null") == (1, "", told)


# ---- output ----------------------------------------------------------------------------------


def test_standard_output_is_closed_and_nothing_was_called(portal: Served) -> None:
    before = calls(portal)
    told = "esps-portal: cannot write: standard output is closed\n"
    assert run("call", "count", "robustness", url=portal.url, redirected=">&-") == (1, "", told)
    assert calls(portal) == before + 1


@pytest.mark.parametrize(
    "args",
    ["spec", "list", "ping -c 1", "ping --json -c 1", "inspect", "serve --port 0 --json"],
)
def test_standard_output_is_closed(portal: Served, args: str) -> None:
    told = "esps-portal: cannot write: standard output is closed\n"
    assert run(*args.split(), url=portal.url, redirected=">&-") == (1, "", told)


@pytest.mark.parametrize(
    "args",
    [
        "spec abnf",
        "call echo hi",
        "call --json echo hi",
        "call --json fail busy",
        "list",
        "ping -c 1",
        "serve --port 0",
        "serve --port 0 --json",
        "serve --port 0 --json --control",
        "inspect",
        "--help",
        "--version",
        "call --help",
    ],
)
def test_a_full_disk_is_one_line(portal: Served, args: str) -> None:
    assert run(*args.split(), url=portal.url, redirected=">/dev/full") == (
        1,
        "",
        f"esps-portal: {FULL}\n",
    )


@pytest.mark.parametrize(
    "args",
    [
        "spec",
        "call echo hi",
        "call --raw echo hi",
        "call --json echo hi",
        "call drip 3 0",
        "list",
        "list --json",
        "list count",
        "inspect",
        "inspect --json",
        "ping -c 1",
        "ping -c 1 --json",
        "ping -i 0",
        "ping -q -c 1",
        "serve --port 0",
        "serve --port 0 --json",
        "serve --port 0 --json --control",
        "--help",
    ],
)
def test_a_reader_that_has_gone_is_silence(portal: Served, args: str) -> None:
    with start(*args.split(), url=portal.url) as process:
        assert process.stdout is not None
        process.stdout.close()  # long before anything is written
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")  # as of cat: 128 and SIGPIPE


def test_a_reader_that_goes_later(portal: Served) -> None:
    with start("ping", "-i", "0", url=portal.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"pong from ")
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_a_portal_ends_in_good_order_though_nobody_reads_it() -> None:
    with served() as running:
        running.output.close()
        assert running.stop() == 0


def test_an_output_that_does_not_block() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    with (
        os.fdopen(reading, "rb") as lines,
        subprocess.Popen([COMMAND, "spec"], stdout=writing, stderr=subprocess.PIPE) as process,
    ):
        os.close(writing)
        said = lines.read()
        assert process.stderr is not None
        assert (process.wait(30), process.stderr.read()) == (0, b"")
    assert said.decode() == run("spec")[1]


def test_letters_that_the_terminal_has_not(portal: Served) -> None:
    process = subprocess.run(
        [COMMAND, "call", "--url", portal.url, "echo", "é\u20ac"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, b"\xe9\\u20ac\n")


def test_errors_that_nobody_can_be_told_still_have_their_code(portal: Served) -> None:
    for redirected in ("2>/dev/full", "2>&-"):
        assert run("nonsense", redirected=redirected) == (2, "", "")
        assert run("call", "fail", "busy", url=portal.url, redirected=redirected) == (1, "", "")


# ---- usage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("call", "esps-portal call: Missing argument 'SERVICE'"),
        ("nonsense", "esps-portal: No such command 'nonsense'"),
        ("--nonsense", "esps-portal: No such option"),
        ("ping --nonsense", "esps-portal ping: No such option"),
        ("ping --url", "esps-portal ping: Option '--url' requires an argument"),
        ("run", "esps-portal run: Missing argument 'CMD"),
        ("spec x", "esps-portal spec: Invalid value for "),
        ("serve --no-tcp --no-udp", "esps-portal serve: --no-tcp and --no-udp leave nothing"),
    ],
)
def test_bad_usage_is_one_line(args: str, told: str) -> None:
    code, out, err = run(*args.split())
    path = told.partition(":")[0]
    assert (code, out) == (2, "")
    assert err.startswith(told)
    assert err.endswith(f"; see {path} --help\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("args", ["\x1b[2J", "spec \x1b[2J\n", "serve --scenario \x1b[2J\n"])
def test_bad_usage_moves_no_terminal(args: str) -> None:
    code, _, err = run(*args.split(" "))
    assert code == 2
    assert [c for c in err[:-1] if not c.isprintable()] == []


def test_no_command_is_help() -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: esps-portal ")


@pytest.mark.parametrize(
    ("args", "option"),
    [
        ("ping --timeout nan", "'--timeout'"),
        ("ping --timeout inf", "'--timeout'"),
        ("ping -i nan", "'--interval'"),
        ("ping -i inf", "'--interval'"),
        ("ping -i -1", "'--interval'"),
        ("list --timeout nan", "'--timeout'"),
        ("call --timeout nan echo", "'--timeout'"),
        ("call --timeout inf echo", "'--timeout'"),
        ("inspect --timeout nan", "'--timeout'"),
        ("inspect --timeout inf", "'--timeout'"),
    ],
)
def test_seconds_are_a_number(args: str, option: str) -> None:
    code, out, err = run(*args.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert option in err
    assert args.split()[2] in err


@pytest.mark.parametrize("host", ["", " ", "a b", "a\nb", b"\xff", "a..b", "a" * 70])
@pytest.mark.parametrize("command", ["serve", "inspect"])
def test_what_is_no_host(command: str, host: str | bytes) -> None:
    code, out, err = run(command, "--host", host)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"esps-portal {command}: Invalid value for '--host': ")
    assert " is not the name " in err


# ---- Ctrl-C ----------------------------------------------------------------------------------


def test_ctrl_c_while_standard_input_is_read(portal: Served) -> None:
    with start("call", "echo", "-", url=portal.url, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        wait_until_read(process.stdin)  # and it reads on: there is no end yet
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_ctrl_c_while_a_call_runs(portal: Served) -> None:
    with start("call", "drip", "1000", "100", url=portal.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a listener whose queue is full: connecting to it does not end."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as queue:
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        yield f"esps://127.0.0.1:{full.getsockname()[1]}"


@pytest.mark.parametrize(("args", "status"), [("call echo", 130), ("list", 130), ("ping", 1)])
def test_ctrl_c_while_it_connects(args: str, status: int) -> None:
    with unreachable() as url, start(*args.split(), url=url) as process:
        asking = psutil.Process(process.pid)
        deadline = time.monotonic() + 30
        while "SYN_SENT" not in [c.status for c in asking.net_connections()]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (status, b"")
    assert (b"1 sent, 0 answered, 100% lost\n" in out) == (args == "ping")


# ---- nobody there ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_nobody_there(scheme: str) -> None:
    kind = socket.SOCK_STREAM if scheme == "esps" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        if scheme == "esps+udp":
            held.close()
        code, out, err = run("call", "echo", url=f"{scheme}://127.0.0.1:{port}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.endswith(
        "Connection refused; start one with esps-portal serve, or name another with --url\n"
    )


def test_no_such_host() -> None:
    code, _, err = run("call", "echo", url="esps://nowhere.invalid")
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("; name another host with --url\n")


def test_somebody_who_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"esps://127.0.0.1:{silent.getsockname()[1]}"
        for args in ("ping -c 1", "list", "call echo"):
            code, _, err = run(*args.split(), "--timeout", "0.1", "--url", url)
            assert (code, err.count("\n")) == (1, 1)
            assert err.startswith(f"esps-portal: no greeting from {url} in 0.1 s; see what it is: ")


def test_connecting_is_bounded_where_the_call_is_not(
    portal: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"esps://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("esps_portal.cli.calls.CONNECTING", 0.1)
        told = runner.invoke(call_command, ["--url", url, "echo"])
    assert told.exit_code == 1
    assert told.stderr.startswith(f"esps-portal: no greeting from {url} in 0.1 s; ")
    monkeypatch.setattr("esps_portal.cli.calls.CONNECTING", 2.0)
    told = runner.invoke(call_command, ["--url", portal.url, "delay", "2100", "late"])
    assert (told.exit_code, told.stdout) == (0, "late\n")


# ---- refusals --------------------------------------------------------------------------------


def test_a_refusal_as_json(portal: Served) -> None:
    code, out, err = run("call", "--json", "fail", "busy", "come", "again", url=portal.url)
    assert (code, err) == (1, "busy come again\n")
    assert out == '{"error": "busy", "message": "come again"}\n'
    code, out, err = run("list", "--json", "nope", url=portal.url)
    assert (code, json.loads(out)["error"]) == (1, "unknown-service")


def test_a_refusal_is_escaped(portal: Served) -> None:
    code, out, err = run("call", "--json", "fail", "x-mine", "\x1b[2J\r\n", b"\xff", url=portal.url)
    assert (code, err) == (1, "x-mine \\x1b[2J\\r\\n \\xff\n")
    assert json.loads(out) == {"error": "x-mine", "message": "\x1b[2J\r\n \\xff"}


def test_the_empty_name_is_asked_for(portal: Served) -> None:
    code, out, err = run("list", "", url=portal.url)
    assert (code, out) == (1, "")
    assert err.startswith("unknown-service")


def test_a_request_that_is_too_long(portal: Served) -> None:
    code, out, err = run("call", "echo", "x" * 9000, url=portal.url)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the request would be 9014 bytes long, and a portal takes 8192" in err
    code, out, err = run("call", "echo", "-", url=portal.url, stdin=b"x" * 1_000_000)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "bytes long or more, and a portal takes 8192" in err
    whole = "x" * (8192 - len("c1 CALL echo \n"))
    assert run("call", "echo", "-", url=portal.url, stdin=whole.encode()) == (0, f"{whole}\n", "")


def test_a_reply_that_is_too_long_for_udp(portal: Served) -> None:
    code, out, err = run("call", "drip", "300", "0", url=f"esps+udp://127.0.0.1:{portal.port}")
    assert (code, out) == (1, "")
    assert err == f"too-large 0 use-tcp; ask over TCP: --url esps://127.0.0.1:{portal.port}\n"


def test_what_a_test_imports_is_what_a_user_runs() -> None:
    """In another's main the group only raises and returns, as click documents it."""
    from click import UsageError  # noqa: PLC0415 - tested where it is used

    from esps_portal.cli import main  # noqa: PLC0415 - the same

    with pytest.raises(UsageError):
        main(["nonsense"], standalone_mode=False)
