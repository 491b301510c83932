"""Ctrl-C ends a client command at once, with no output and exit code 130."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import start
from tests.patience import until


def wait_until_read(pipe: IO[str]) -> None:
    """Wait until nothing is left in a pipe."""
    until(lambda: not any(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))))


def test_ctrl_c_while_standard_input_is_read(portal: ThreadedPortal) -> None:
    with start("call", "echo", "-", url=portal.url) as process:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
        wait_until_read(process.stdin)  # and it reads on: there is no end yet
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_ctrl_c_while_a_call_runs(portal: ThreadedPortal) -> None:
    with start("call", "drip", "1000", "100", url=portal.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


@pytest.mark.parametrize("during", ["click", "trio", "esps_portal.cli.serve"])
def test_ctrl_c_while_it_is_imported(during: str, tmp_path: Path) -> None:
    """Before the command has done anything, however early: the start of a script is most of it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {during!r}:\n"
        "            print('now', flush=True)\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "esps_portal", "serve", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"now\n", b"")


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a listener whose queue is full: connecting to it does not end."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as queue:
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        yield f"esps://127.0.0.1:{full.getsockname()[1]}"


@pytest.mark.parametrize(
    ("args", "status"), [("call echo", 130), ("list", 130), ("connect", 130), ("ping", 1)]
)
def test_ctrl_c_while_it_connects(args: str, status: int) -> None:
    with unreachable() as url, start(*args.split(), url=url) as process:
        asking = psutil.Process(process.pid)
        until(lambda: "SYN_SENT" in [c.status for c in asking.net_connections()])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (status, "")
    assert ("1 sent, 0 answered, 100% lost\n" in out) == (args == "ping")
