"""Programs on the cores of this machine: servers on one, what loads them on another."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
_CORES = sorted(os.sched_getaffinity(0))
_TICKS = os.sysconf("SC_CLK_TCK")


class NoCompilerError(Exception):
    """There is no C compiler on this machine."""

    def __str__(self) -> str:
        return "what loads the servers is C: install a C compiler"


def pin(core: int) -> Callable[[], None]:
    """Return what pins the process that calls it to a core, if there are two."""
    chosen = {_CORES[core % len(_CORES)]}
    return lambda: os.sched_setaffinity(0, chosen)


def keep_bytecode(folder: Path) -> None:
    """Have the Pythons that are started compile a source once, as where a package is installed.

    A container may forbid that (PYTHONDONTWRITEBYTECODE): then half of a start is compiling.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


@contextlib.contextmanager
def child(*command: object, core: int = SERVER_CORE) -> Iterator[subprocess.Popen[str]]:
    """Start a program on a core; it has ended when the block is left.

    Its standard input and output are pipes.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=pin(core),  # noqa: PLW1509 - there are no threads here
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of its standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


def say(process: subprocess.Popen[str]) -> None:
    """Write a line to its standard input."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken."""
    try:
        # In ns, a line for each thread; the other file counts in ticks of 10 ms.
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:  # a thread has ended meanwhile
        return cpu_seconds(pid)
    if threads:
        return sum(int(line.split()[0]) for line in threads) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int, what: str = "VmRSS") -> float:
    """Return KB of memory of a process: resident, or ``VmHWM``, the most that ever was."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return float(status.partition(f"{what}:")[2].split()[0])


def free_port() -> int:
    """Return a number that was free for TCP on loopback just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Return when something on loopback accepts on this port."""
    for _ in range(1000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return


def compiled(source: Path, folder: Path) -> Path:
    """Compile a C program into a folder, and return it.

    Raises:
        NoCompilerError: there is no compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError
    program = folder / source.stem
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, source], check=True)
    return program
