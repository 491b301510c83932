"""What an idle portal costs: memory for each connection, and the time to start.

The connections are really held, all at once; memory is the resident set of the server's process.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MEMORY_AIM = 12.0  # KB for each idle connection
READY_AIM = 0.15  # seconds over `import trio`
HELP_AIM = 0.15  # seconds


@contextlib.contextmanager
def portal() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a portal; it has ended when the block is left."""
    options = ("--port", "0", "--json", "--no-access-log")
    with _child([sys.executable, "-m", "esps_portal", "serve", *options]) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["tcp"][0][1]


@contextlib.contextmanager
def bare_trio() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the bare trio echo."""
    with _child([sys.executable, "-m", "tests.bench.baselines", "echo"]) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def memory_for_each(
    server: contextlib.AbstractContextManager[tuple[subprocess.Popen[str], int]],
    connections: int,
    greeting: bytes,
) -> float:
    """Return KB of resident memory for each of so many idle connections."""
    with server as (process, port), contextlib.ExitStack() as held:
        _open(held, port, 100, greeting)  # what is allocated once is not counted
        before = _resident(process.pid)
        _open(held, port, connections, greeting)
        return (_resident(process.pid) - before) / connections


def _open(held: contextlib.ExitStack, port: int, count: int, greeting: bytes) -> None:
    for _ in range(count):
        sock = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        if greeting:
            sock.recv(200)
        else:
            sock.sendall(b"x")
            sock.recv(1)


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return float(status.partition("VmRSS:")[2].split()[0])


def seconds_until_ready() -> float:
    """Return how long ``serve`` takes from the start of its process until it listens."""
    began = time.perf_counter()
    with portal():
        return time.perf_counter() - began


def seconds_of(*arguments: str) -> float:
    """Return how long a Python takes from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def report(connections: int, repeat: int) -> list[str]:
    """Measure, and return the figures as lines for a terminal."""
    # Each side holds one descriptor for each connection, and a few of its own.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = min(connections, most - 300)
    mine = memory_for_each(portal(), connections, b"* ")
    bare = memory_for_each(bare_trio(), connections, b"")
    rounds = range(max(3, repeat))
    trio = statistics.median([seconds_of("-c", "import trio") for _ in rounds])
    ready = statistics.median([seconds_until_ready() for _ in rounds])
    help_ = statistics.median([seconds_of("-m", "esps_portal", "--help") for _ in rounds])
    return [
        (
            f"idle connections   {connections} held: portal {mine:.1f} KB each, bare trio"
            f" {bare:.1f} KB each; the aim is {MEMORY_AIM:.0f}"
        ),
        (
            f"serve, ready       {ready:.2f} s, {ready - trio:.2f} s over `import trio`"
            f" ({trio:.2f} s); the aim is {READY_AIM:.2f}"
        ),
        f"--help             {help_:.2f} s; the aim is {HELP_AIM:.2f}",
    ]
