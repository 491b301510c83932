"""``esps-portal run``: a portal while a command runs."""

from __future__ import annotations

import errno
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from esps_portal.cli.interrupts import pass_on
from tests import commands
from tests.commands import COMMAND, run_failing, start
from tests.forked import ForkedProcess
from tests.patience import PATIENCE, until

SCENARIO = """
[limits]
max-line = 1024
[[stubs]]
service = "price"
reply = "9.99"
"""

# Calls the portal as a test suite would, with the variables that it was given.
ASK = """
import os, sys
from esps_portal import blocking
with blocking.connect(os.environ[sys.argv[1]]) as portal:
    print(*(data.decode() for data in portal.call(*sys.argv[2:])))
"""


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(args, *commands.run("run", *args))


def asking(*args: str) -> list[str]:
    return ["--", sys.executable, "-c", ASK, *args]


def test_the_command_finds_the_portal() -> None:
    ran = run("--", "sh", "-c", "env; exit 7")
    found = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "ESPS_" in line)
    host, port = found["ESPS_PORTAL_HOST"], found["ESPS_PORTAL_PORT"]
    assert host == "127.0.0.1"
    assert found["ESPS_PORTAL_URL"] == f"esps://{host}:{port}"
    assert found["ESPS_PORTAL_UDP_URL"] == f"esps+udp://{host}:{port}"
    assert found["ESPS_PORTAL_CONTROL_URL"].startswith(f"http://{host}:")
    assert (ran.returncode, ran.stderr) == (7, "")


@pytest.mark.parametrize("variable", ["ESPS_PORTAL_URL", "ESPS_PORTAL_UDP_URL"])
def test_the_portal_answers(variable: str) -> None:
    ran = run(*asking(variable, "echo", "hi"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "hi\n", "")


def test_options_after_the_command_belong_to_it() -> None:
    ran = run("echo", "--strict", "-h")
    assert (ran.returncode, ran.stdout) == (0, "--strict -h\n")


def test_standard_input_is_the_commands() -> None:
    with start("run", "cat") as running:
        assert running.stdin is not None
        running.stdin.write("typed")
        assert running.communicate(PATIENCE) == ("typed", "")


def test_it_exits_as_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    ran = run("no-such-command")
    assert (ran.returncode, ran.stdout) == (127, "")
    assert ran.stderr == "esps-portal: no-such-command: not found\n"
    (tmp_path / "data").write_text("x")
    monkeypatch.chdir(tmp_path)
    for path in ("./data", "."):
        ran = run(path)
        assert (ran.returncode, ran.stdout) == (126, "")
        assert ran.stderr == f"esps-portal: {path}: Permission denied\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(number: int) -> None:
    # One that came just before `signal.pause` would be missed.
    waits = (
        f"import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [{number:d}]);"
        f"print('up', flush=True); signal.sigwait([{number:d}]); sys.exit(9)"
    )
    # On a terminal SIGINT would be taken for its Ctrl-C.
    with ForkedProcess("run", sys.executable, "-c", waits, new_session=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            running.send_signal(number)
            _, err = running.communicate(PATIENCE)
        finally:
            running.kill()
    assert (running.returncode, err) == (9, "")


def test_a_command_that_a_signal_ends() -> None:
    with start("run", "sh", "-c", "echo up; exec sleep 60") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.terminate()
        assert running.wait(30) == 128 + signal.SIGTERM


# Counts each SIGINT, says at SIGTERM how many came, and ends at SIGHUP. Of those that are pending
# `sigwait` takes SIGINT before SIGTERM. What came just before `signal.pause` would be missed.
COUNTS = """
import signal, sys
taken = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, taken)
print("up", flush=True)
count = 0
while (number := signal.sigwait(taken)) != signal.SIGHUP:
    if number == signal.SIGINT:
        count += 1
        print("interrupt", count, flush=True)
    else:
        print("counted", count, flush=True)
sys.exit(9)
"""


def until_taken(process: int) -> None:
    """Wait until no SIGINT is pending in a process, where another one would be merged with it."""
    status = Path(f"/proc/{process}/status")

    def pending() -> int:
        return int(re.findall(r"ShdPnd:\s+(\w+)", status.read_text())[0], 16)

    until(lambda: not pending() & 1 << signal.SIGINT - 1)


def test_ctrl_c_in_a_terminal_comes_once_and_another_process_is_passed_on() -> None:
    """The kernel sends Ctrl-C to the command as well, but not the SIGINT of a process."""
    child, leader = pty.fork()
    if child == 0:  # pragma: no cover - it becomes another program
        os.execv(COMMAND, [COMMAND, "run", sys.executable, "-c", COUNTS])  # noqa: S606
    with os.fdopen(leader, "r+b", buffering=0) as terminal:
        assert _until(terminal.fileno(), b"up")
        for count in (1, 3):
            terminal.write(b"\x03")
            assert _until(terminal.fileno(), b"interrupt %d" % count)
            until_taken(child)
            # Passed on after all earlier signals: by then the command has counted them.
            os.kill(child, signal.SIGTERM)
            assert _until(terminal.fileno(), b"counted %d" % count)
            os.kill(child, signal.SIGINT)
            assert _until(terminal.fileno(), b"interrupt %d" % (count + 1))
        os.kill(child, signal.SIGHUP)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9


def test_the_command_starts_with_sigint_as_it_was() -> None:
    """Neither blocked nor ignored, or Ctrl-C would not end it."""
    asks = (
        "import signal; print(signal.SIGINT in signal.pthread_sigmask(0, []),"
        " signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    assert run(sys.executable, "-c", asks).stdout == "False True\n"


def test_a_signal_that_must_not_be_sent_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(subprocess.Popen, "send_signal", forbidden)
    with subprocess.Popen(["true"]) as process:
        pass_on(process, signal.SIGINT)
    assert capfd.readouterr().err == (
        "esps-portal: cannot pass SIGINT on: Operation not permitted\n"
    )


def _until(terminal: int, word: bytes) -> bool:
    seen = b""
    while word not in seen:
        readable, _, _ = select.select([terminal], [], [], 30)
        assert readable, seen
        seen += os.read(terminal, 1000)
    return True


def test_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(SCENARIO)
    ran = run("--scenario", str(path), *asking("ESPS_PORTAL_URL", "price"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "9.99\n", "")


def test_the_seed_of_a_random_fault_is_printed() -> None:
    ran = run("--fault", "reset chance=1 seed=5 when=before", *asking("ESPS_PORTAL_URL", "echo"))
    assert ran.returncode == 1
    first, *_, last = ran.stderr.splitlines()
    assert first == "esps-portal: random fault: reset when=before chance=1 seed=5"
    assert "the portal reset" in last


def test_strict(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(SCENARIO)
    options = ["--strict", "--scenario", str(path)]
    assert run(*options, *asking("ESPS_PORTAL_URL", "price")).returncode == 0
    ran = run(*options, *asking("ESPS_PORTAL_URL", "echo", "hi"))
    assert (ran.returncode, ran.stdout) == (1, "hi\n")
    lines = ran.stderr.splitlines()
    assert lines[0] == "esps-portal: unused stub: price: never used"
    assert any(line.endswith("--> c1 CALL echo hi") for line in lines)
    ran = run(*options, "--", "sh", "-c", "exit 3")
    assert ran.returncode == 3, "the code of a failed command stays"
    assert ran.stderr.startswith("esps-portal: unused stub: price: never used\n")


def test_strict_verifies_faults() -> None:
    fault = "reset service=price"
    ran = run("--strict", "--fault", fault, *asking("ESPS_PORTAL_URL", "echo", "hi"))
    assert (ran.returncode, ran.stdout) == (1, "hi\n")
    assert ran.stderr.splitlines()[:2] == [
        "esps-portal: fault never struck: reset service=price",
        "    selected 0 times; nearest: echo 'hi' (tcp #1): service is 'echo', not 'price'",
    ]
    assert run("--strict", "--fault", f"{fault} optional=true", "true").returncode == 0
    assert run("--fault", fault, "true").returncode == 0, "only with --strict"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "CMD"),
        (["--nonsense", "true"], "--nonsense"),
        (["--scenario", "nowhere.toml", "true"], "nowhere.toml: No such file or directory"),
        (["--fault", "rest", "true"], "unknown fault 'rest'"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    code, message = run_failing("run", *args)
    assert code == 2
    assert says in message


def test_help_fits_the_terminal() -> None:
    code, out, _ = commands.run("run", "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    assert "\b" not in out
    for word in ("ESPS_PORTAL_CONTROL_URL", "[[stubs]]", "--strict", "128+N"):
        assert word in out
