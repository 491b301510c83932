"""Standard output that is closed, full, slow, or without a reader."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from esps_portal import blocking
from esps_portal.deployment.kinds import KINDS
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import COMMAND, run, run_redirected, run_writing_to, start
from tests.patience import PATIENCE, until
from tests.processes import running_server

FULL = "cannot write: No space left on device"


def count_call(portal: ThreadedPortal) -> int:
    """Call count, and return how often it was called."""
    with blocking.connect(portal.url) as client:
        return int(client.call("count", "robustness")[0])


def test_standard_output_is_closed_and_nothing_was_called(portal: ThreadedPortal) -> None:
    before = count_call(portal)
    message = "esps-portal: cannot write: standard output is closed\n"
    ended = run_redirected(">&-", "call", "count", "robustness", url=portal.url)
    assert ended == (1, "", message)
    assert count_call(portal) == before + 1


@pytest.mark.parametrize(
    "args",
    [
        "--help",
        "--version",
        "serve --help",
        "spec --help",
        "spec",
        "signature nmap",
        "list",
        "ping -c 1",
        "ping --json -c 1",
        "inspect",
        "serve --port 0 --json",
    ],
)
def test_standard_output_is_closed(portal: ThreadedPortal, args: str) -> None:
    with start(*args.split(), url=portal.url, closed=[1]) as process:
        out, err = process.communicate(PATIENCE)
    message = "esps-portal: cannot write: standard output is closed\n"
    assert (process.returncode, out, err) == (1, "", message)


def test_what_does_more_than_print_needs_none(tmp_path: Path) -> None:
    with start("deploy", "systemd", "--write", str(tmp_path), closed=[1]) as process:
        assert process.communicate(PATIENCE) == ("", "")
    assert process.returncode == 0
    assert {file.name for file in tmp_path.iterdir()} == set(KINDS["systemd"].files)
    with start("serve", "--port", "0", closed=[1]) as process:
        until(lambda: psutil.Process(process.pid).net_connections())
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "args",
    [
        "spec abnf",
        "call echo hi",
        "serve --port 0",
        "serve --port 0 --json",
        "serve --port 0 --json --control",
    ],
)
def test_a_full_disk_is_one_line(portal: ThreadedPortal, args: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with start(*args.split(), url=portal.url, stdout=full) as process:
        os.close(full)
        assert process.communicate(timeout=60) == ("", f"esps-portal: {FULL}\n")
    assert process.returncode == 1


@pytest.mark.parametrize(
    "args",
    [
        "call --json echo hi",
        "call --json fail busy",
        "list",
        "ping -c 1",
        "inspect",
        "--help",
        "--version",
        "call --help",
    ],
)
def test_a_full_disk_is_one_line_of_every_command(portal: ThreadedPortal, args: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    assert run_writing_to(full, *args.split(), url=portal.url) == (1, f"esps-portal: {FULL}\n")


@pytest.mark.parametrize(
    "args",
    [
        "spec",
        "call echo hi",
        "ping -i 0",
        "serve --port 0",
        "serve --port 0 --json",
        "serve --port 0 --json --control",
    ],
)
def test_without_a_reader_nothing_is_printed(portal: ThreadedPortal, args: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start(*args.split(), url=portal.url, stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")  # 128 plus SIGPIPE


@pytest.mark.parametrize(
    "args",
    [
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
        "ping -q -c 1",
        "--help",
    ],
)
def test_without_a_reader_no_command_prints(portal: ThreadedPortal, args: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert run_writing_to(writing, *args.split(), url=portal.url) == (141, "")


def test_a_reader_that_goes_later(portal: ThreadedPortal) -> None:
    with start("ping", "-i", "0", url=portal.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("pong from ")
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


def test_a_portal_ends_gracefully_without_a_reader() -> None:
    with running_server() as running:
        running.output.close()
        assert running.stop() == 0


def test_an_output_that_does_not_block() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    with (
        os.fdopen(reading, "rb") as lines,
        start("spec", stdout=writing) as process,
    ):
        os.close(writing)
        output = lines.read()
        assert process.stderr is not None
        assert (process.wait(30), process.stderr.read()) == (0, "")
    assert output.decode() == run("spec")[1]


def test_letters_that_the_encoding_lacks_are_escaped(portal: ThreadedPortal) -> None:
    process = subprocess.run(
        [COMMAND, "call", "--url", portal.url, "echo", "é\u20ac"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, b"\xe9\\u20ac\n")


def test_without_standard_error_the_exit_code_stays(portal: ThreadedPortal) -> None:
    for redirect in ("2>/dev/full", "2>&-"):
        assert run_redirected(redirect, "nonsense") == (2, "", "")
    failed = run_redirected("2>/dev/full", "call", "fail", "busy", url=portal.url)
    assert failed == (1, "", "")
    with start("call", "fail", "busy", url=portal.url, closed=[2]) as process:
        assert (process.communicate(PATIENCE), process.returncode) == (("", ""), 1)
