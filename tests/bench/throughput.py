"""Requests per second: a portal compared with other servers under the load of ``load.c``.

The rounds of all servers are interleaved, so that a change of the machine's speed affects all.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench.aims import Aim, Report, ratio
from tests.bench.machine import LOAD_CORE, cpu_seconds, pin
from tests.bench.servers import Server, start_all

#: Connections, and requests outstanding on each.
SHAPES = ((1, 1), (16, 1), (64, 1), (1, 100), (16, 100))
UDP_SHAPE = (16, 1)

#: Row, what the portal is compared with, the least ratio. A server that has one kind of request
#: only is compared with its PING. One connection alone: nine tenths of 1.06, of a task for each.
RATIOS = (
    ("tcp CALL 1 x 1", "echo", 0.95),
    ("tcp CALL 16 x 1", "echo", 1.6),
    ("tcp CALL 64 x 1", "echo", 1.8),
    ("tcp CALL 64 x 1", "redis", 0.75),
    ("tcp CALL 16 x 100", "lines", 0.8),
    ("tcp PING 16 x 100", "lines", 1.0),
    ("tcp CALL 16 x 100", "memcached", 2.0),
    ("tcp PING 16 x 100", "memcached", 2.0),
    ("tcp CALL 16 x 100", "beanstalkd", 2.0),
    ("tcp PING 16 x 100", "beanstalkd", 2.0),
    ("udp CALL 16 x 1", "udp-drained", 0.75),
    ("udp PING 16 x 1", "udp-drained", 0.75),
)
JOURNAL_AIM = 0.8


@attrs.frozen
class Rate:
    """Requests per second, and per second of the server's processor time."""

    wall: float
    cpu: float


Rows = dict[str, dict[str, Rate]]


def generate(
    program: Path,
    server: Server,
    shape: tuple[int, int],
    seconds: float,
    verb: str,
    *,
    most: int = 0,
) -> list[float]:
    """Load a server for some seconds, or with so many requests; return what ``load.c`` prints.

    Raises:
        subprocess.CalledProcessError: the server closed a connection.
    """
    arguments = [server.transport, "127.0.0.1", server.port, *shape, seconds]
    arguments += [server.request or verb, server.greeting, most]
    ran = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=pin(LOAD_CORE),
    )
    return [float(word) for word in ran.stdout.split()]


def load(program: Path, server: Server, shape: tuple[int, int], seconds: float, verb: str) -> Rate:
    """Return how many requests a server answers; 0 if it closed a connection."""
    used = cpu_seconds(server.pid)
    began = time.perf_counter()
    try:
        figure = generate(program, server, shape, seconds, verb)[0]
    except subprocess.CalledProcessError:
        return Rate(0.0, 0.0)
    share = (cpu_seconds(server.pid) - used) / (time.perf_counter() - began)
    return Rate(figure, figure / share if share else 0.0)


def rounds(servers: list[Server]) -> Iterator[tuple[str, Server, tuple[int, int], str]]:
    """Yield one round of what is measured: row, server, shape and verb.

    What is compared is measured soon after each other.
    """
    for shape in SHAPES:
        for server in servers:
            is_udp = server.transport == "udp"
            for verb in server.verbs if not is_udp or shape == UDP_SHAPE else ():
                yield f"{server.transport} {verb} {shape[0]} x {shape[1]}", server, shape, verb


def measure(program: Path, seconds: float, repeat: int) -> Rows:
    """Return the medians of each row and server."""
    found: dict[tuple[str, str], list[Rate]] = {}
    with contextlib.ExitStack() as stack:
        servers = start_all(stack)
        for _ in range(repeat):
            for row, server, shape, verb in rounds(servers):
                rate = load(program, server, shape, seconds, verb)
                found.setdefault((row, server.name), []).append(rate)
    rows: Rows = {}
    for (row, name), rates in found.items():
        rows.setdefault(row, {})[name] = Rate(
            statistics.median(rate.wall for rate in rates),
            statistics.median(rate.cpu for rate in rates),
        )
    return rows


def aims(rows: Rows) -> list[Aim]:
    """Return how the portal compares with the others."""
    found = [
        _aim(f"{row}, beside {beside}", rows[row]["portal"], _beside(rows, row, beside), least)
        for row, beside, least in RATIOS
    ]
    return found + [
        _aim(f"{row} with the journal", columns["journal"], columns["portal"], JOURNAL_AIM)
        for row, columns in rows.items()
    ]


def _beside(rows: Rows, row: str, name: str) -> Rate | None:
    return rows[row].get(name) or rows[row.replace("CALL", "PING")].get(name)


def _aim(what: str, rate: Rate, beside: Rate | None, least: float) -> Aim:
    if beside is None:
        return Aim(what, None, least)
    of_cpu = ratio(rate.cpu, beside.cpu)
    note = "" if of_cpu is None else f"({of_cpu:.2f} for the same processor time)"
    return Aim(what, ratio(rate.wall, beside.wall), least, note=note)


def table(rows: Rows, verb: str) -> list[str]:
    """Return thousands of requests per second: a line for each server."""
    shown = sorted((row for row in rows if row.split()[1] == verb), key=lambda row: row[:3])
    names = dict.fromkeys(name for row in shown for name in rows[row])
    titles = [row.replace(verb, "").replace("tcp  ", "").replace("  ", " ") for row in shown]
    lines = [f"{verb:<14}" + "".join(f"{title:>14}" for title in titles)]
    for name in names:
        rates = [rows[row].get(name) for row in shown]
        cells = [f"{rate.wall / 1000:.1f} k" if rate else "" for rate in rates]
        lines.append(f"{name:<14}" + "".join(f"{cell:>14}" for cell in cells))
    return lines


def core_share(rows: Rows) -> float:
    """Return how much of its core a server had that was never idle."""
    busy = [rates["echo"] for row, rates in rows.items() if row.endswith("64 x 1")]
    return statistics.median(rate.wall / rate.cpu for rate in busy if rate.cpu)


def report(program: Path, seconds: float, repeat: int) -> Report:
    """Measure, and return requests per second: connections x requests outstanding on each."""
    rows = measure(program, seconds, repeat)
    share = (
        f"The busy servers had {core_share(rows):.0%} of their core. Where that is little, other"
        " load on this machine blurs the figures; what is for the same processor time suffers less."
    )
    return Report([*table(rows, "PING"), "", *table(rows, "CALL"), "", share], aims(rows))
