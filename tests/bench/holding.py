"""What an idle portal costs: memory for each connection, and the time to start.

The connections are really held, all at once; memory is the resident set of the server's process.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import subprocess
import sys
import time

from tests.bench.aims import Aim, Report
from tests.bench.machine import memory
from tests.bench.servers import Server, start_bare, start_portal

MEMORY_AIM = 4.0  # KB for each idle connection
READY_AIM = 0.1  # seconds over `import trio`
HELP_AIM = 0.1  # seconds


def raise_limit(connections: int) -> int:
    """Let this process and its children hold so many connections; return how many they may."""
    # Each side holds one descriptor for each connection, and a few of its own.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(connections, most - 300)


def open_connections(stack: contextlib.ExitStack, port: int, count: int, greeting: int) -> None:
    """Open so many connections, which the server has noticed; the stack closes them."""
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        if not greeting:
            sock.sendall(b"x")
        sock.recv(200)


def memory_for_each(server: Server, connections: int) -> float:
    """Return KB of resident memory for each of so many idle connections."""
    with contextlib.ExitStack() as held:
        # What is allocated once is not counted.
        open_connections(held, server.port, 100, server.greeting)
        before = memory(server.pid)
        open_connections(held, server.port, connections, server.greeting)
        return (memory(server.pid) - before) / connections


def seconds_until_ready() -> float:
    """Return how long ``serve`` takes from the start of its process until it listens."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        start_portal(stack)
        return time.perf_counter() - began


def seconds_of(*arguments: str) -> float:
    """Return how long a Python takes from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def report(connections: int, repeat: int) -> Report:
    """Measure, and return the figures."""
    with contextlib.ExitStack() as stack:
        mine = memory_for_each(start_portal(stack)[0], connections)
        bare = memory_for_each(start_bare(stack, "echo"), connections)
    # The first of each compiles, and is not counted.
    rounds = [
        (
            seconds_of("-c", "import trio"),
            seconds_until_ready(),
            seconds_of("-m", "esps_portal", "--help"),
        )
        for _ in range(1 + max(5, repeat))
    ][1:]
    trio, ready, help_ = (statistics.median(column) for column in zip(*rounds, strict=True))
    what = f"an idle connection of {connections:,}"
    return Report(
        aims=[
            Aim(what, mine, MEMORY_AIM, "KB", is_limit=True, note=f"(bare trio {bare:.1f})"),
            Aim(
                "serve listens, after `import trio`",
                ready - trio,
                READY_AIM,
                "s",
                is_limit=True,
                note=f"({ready:.2f} - {trio:.2f})",
            ),
            Aim("--help", help_, HELP_AIM, "s", is_limit=True),
        ]
    )
