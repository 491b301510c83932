"""What is attacked: commands of this project, each started as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

import attrs

from tests.attacks.polite import Question
from tests.bench.machine import LOAD_CORE, SERVER_CORE, pin

_END = 15.0  # seconds that a server may take to end: longer than a drain
_CORES = sorted(os.sched_getaffinity(0))  # before this process has one of them


class Process(Protocol):
    """A process whose output streams are text in pipes: `subprocess.Popen`, or a forked one."""

    pid: int
    stdout: Any
    stderr: Any
    returncode: Any

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


#: Starts ``esps-portal`` with some arguments.
Launch = Callable[..., Process]


def as_user(*arguments: str) -> Process:
    """Start the command in a Python of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "esps_portal", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@attrs.define
class Launcher:
    """How commands are started; the tests have a faster way."""

    launch: Launch = as_user


LAUNCHER = Launcher()


@attrs.define
class Log:
    """The end of what a process writes, read all the time.

    Attributes:
        is_late: whether the process had to be killed in the end.
    """

    lines: list[str] = attrs.field(factory=list)
    is_late: bool = False

    def read(self, stream: Any) -> None:  # noqa: ANN401 - text of either kind of process
        for line in stream:
            self.lines.append(line.rstrip("\n"))
            del self.lines[:-1000]

    @property
    def problems(self) -> list[str]:
        """What must not be there: a traceback, and a byte that controls a terminal."""
        text = "\n".join(self.lines)
        found = ["a traceback is in its log"] if "Traceback" in text else []
        if self.is_late:
            found.append("it did not end at SIGTERM")
        if any(not c.isprintable() for c in text.replace("\n", "")):
            found.append("an unescaped byte is in its log")
        return found


@attrs.define
class Target:
    """A server that is under attack.

    Attributes:
        ready: its event "ready".
        question: what a polite client asks it.
    """

    process: Process
    ready: dict[str, Any]
    log: Log
    question: Question

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return _port(self.ready)

    @property
    def control(self) -> int:
        return int((self.ready.get("control") or ":0").rpartition(":")[2])


@contextlib.contextmanager
def started(*arguments: str, port: int = 0, is_pinned: bool = False) -> Iterator[Target]:
    """Start a command that serves, by default on a free port; end it when the block is left."""
    options = "--port", str(port), "--json", "--no-access-log"
    log = Log()
    with LAUNCHER.launch(*arguments, *options) as process, ThreadPoolExecutor() as reader:
        reading = reader.submit(log.read, process.stderr)
        try:
            first = process.stdout.readline()
            if not first:
                reading.result()
                raise RuntimeError(f"{' '.join(arguments)}: {log.lines}")
            if is_pinned:
                pin_process(process.pid, SERVER_CORE)
                pin(LOAD_CORE)()
            ready = json.loads(first)
            yield Target(process, ready, log, Question(_port(ready)))
        finally:
            process.terminate()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                log.is_late = True
            process.kill()
            process.wait()


def _port(ready: dict[str, Any]) -> int:
    return int((ready.get("tcp") or ready["udp"])[0][1])


def pin_process(pid: int, core: int) -> None:
    """Give a process one core, if there are two."""
    os.sched_setaffinity(pid, {_CORES[core % len(_CORES)]})


def limit_descriptors(pid: int, count: int) -> None:
    """Leave a process so many descriptors."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, count))


def raise_own_limit() -> int:
    """Let this process have as many descriptors as it may; return how many that are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
