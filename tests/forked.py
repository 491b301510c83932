"""The command, or a script, in a process of its own that need not import the library again.

Most of the time of a process that serves one test is the start of Python and its imports. So one
process has imported the library, and forks the others for all workers: see `tests.fork_server`.
Tests of what is before `main` start their process themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self

from tests import fork_server
from tests.fork_server import NUMBER
from tests.patience import until


class ForkedProcess:
    """A process with the methods of `subprocess.Popen`, whose standard streams are text in pipes.

    Args:
        args: of the command ``esps-portal``, or of the script.
        script: what it runs instead of the command, in Python.
        new_session: whether it has a session of its own, without a terminal.
        environment: what is added to that of the tests.
        without: what is left out of that.
        stdout: a descriptor to write to, instead of a pipe.
        terminal: a descriptor of one, which is its standard streams instead of pipes, and the one
            whose Ctrl-C it gets.
        limits: its soft and its hard limit on descriptors.
        closed: numbers of standard streams that are closed, as by ``>&-`` in a shell.
    """

    def __init__(
        self,
        *args: str,
        script: str | None = None,
        new_session: bool = False,
        environment: Mapping[str, str] | None = None,
        without: Collection[str] = (),
        stdout: int | None = None,
        terminal: int | None = None,
        limits: tuple[int, int] | None = None,
        closed: Collection[int] = (),
    ) -> None:
        self.returncode: int | None = None
        request = {
            "args": args,
            "script": script,
            "new_session": new_session or terminal is not None,
            "has_terminal": terminal is not None,
            "limits": limits,
            "closed": list(closed),
            "folder": str(Path.cwd()),
            "environment": {
                **{name: value for name, value in os.environ.items() if name not in without},
                **(environment or {}),
            },
        }
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        report, report_end = os.pipe()
        ends = [report_end]
        if terminal is None:
            (in_end, into), (out, out_end), (err, err_end) = os.pipe(), os.pipe(), os.pipe()
            self.stdin = os.fdopen(into, "w")
            self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
            ends += [in_end, out_end, err_end]
            passed = [in_end, out_end if stdout is None else stdout, err_end]
        else:
            passed = [terminal] * 3
        socket.send_fds(_server(), [json.dumps(request).encode()], [*passed, report_end])
        for end in ends:
            os.close(end)
        self._report = os.fdopen(report, "rb", buffering=0)
        self.pid = self._read_number()

    def _read_number(self) -> int:
        data = self._report.read(NUMBER.size)
        assert data, "the server of forks has ended"
        number: int = NUMBER.unpack(data)[0]
        return number

    def poll(self) -> int | None:
        """Return the exit code, or None if it runs."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.returncode = self._read_number()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise `subprocess.TimeoutExpired` after ``timeout`` seconds."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = self._read_number()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended, and the report comes
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """End its input; return what it writes until it ends, and kill it after ``timeout`` s."""
        if self.stdin is not None:
            self.stdin.close()
        late = threading.Timer(timeout, self.kill)
        late.start()
        with ThreadPoolExecutor(1) as other:
            err = other.submit(_read, self.stderr)
            out = _read(self.stdout)
        late.cancel()
        self.wait(timeout)
        return out, err.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        self._report.close()


def _read(stream: IO[str] | None) -> str:
    return "" if stream is None else stream.read()


@functools.cache
def _server() -> socket.socket:
    """Connect to the server of forks, which ends when all who have connected are gone.

    The first worker of a run that needs it starts it: it is the one that gets the name. That is of
    the abstract namespace of Linux, and so is free again when the server has ended.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    name = f"\0esps-portal-tests-{run}"
    with contextlib.suppress(OSError), _socket() as listener:
        listener.bind(name)
        listener.listen()
        _start(listener)
    ours = _socket()
    atexit.register(ours.close)  # or Python warns that nobody has closed it
    until(lambda: ours.connect_ex(name) == 0)  # another worker may not listen yet
    return ours


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _start(listener: socket.socket) -> None:
    listener.set_inheritable(True)
    os.posix_spawn(
        sys.executable,
        # -P: the folder of the tests is not a place of modules.
        [sys.executable, "-P", fork_server.__file__, str(listener.fileno())],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsid=True,  # Ctrl-C is for the tests
    )
