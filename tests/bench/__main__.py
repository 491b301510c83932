"""``python -m tests.bench``: a portal compared with other servers, in one run.

Every server is a process of its own on one core, the load generator is on the other, and the
rounds of all servers are interleaved, so that a change of the machine's speed affects all. Figures
are medians in requests per second; no figure makes this fail. It takes some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from tests.bench import holding, relays
from tests.bench.machine import (
    LOAD_CORE,
    NoCompilerError,
    child,
    compiled,
    first_line,
    free_port,
    pin,
    wait_for,
)

HERE = Path(__file__).resolve().parent
SHAPES = ((16, 1), (64, 1), (1, 100), (16, 100))
#: (shape or transport, baseline, least ratio), as the project aims.
AIMS = {(64, 1): ("echo", 1.0), (16, 100): ("lines", 0.35)}
UDP_AIM = ("udp-drained", 0.6)
JOURNAL_AIM = 0.75


@attrs.frozen
class Server:
    """A server under load."""

    name: str
    port: int
    transport: str = "tcp"
    greeting: int = 0
    verbs: tuple[str, ...] = ("PING", "CALL")


def start_all(stack: contextlib.ExitStack) -> list[Server]:
    """Start every server that is installed."""
    python = sys.executable
    servers = []
    for name in ("echo", "lines", "udp-bare", "udp-drained"):
        process = stack.enter_context(child(python, "-m", "tests.bench.baselines", name))
        transport = "udp" if name.startswith("udp") else "tcp"
        servers.append(Server(name, int(first_line(process)), transport))
    portal = stack.enter_context(
        child(python, "-m", "esps_portal", "serve", "--port", "0", "--json", "--no-access-log")
    )
    port = json.loads(first_line(portal))["tcp"][0][1]
    servers += [Server("portal", port, greeting=1), Server("portal-udp", port, "udp")]
    process = stack.enter_context(child(python, "-m", "tests.bench.baselines", "scripted"))
    port = int(first_line(process))
    servers += [Server("journal", port, greeting=1), Server("journal-udp", port, "udp")]
    return servers + others(stack)


def others(stack: contextlib.ExitStack) -> list[Server]:
    """Start what is installed; it answers a line of its own kind to each line of ours."""
    found = []
    if shutil.which("redis-server"):
        port = free_port()
        options = ("--port", str(port), "--save", "", "--bind", "127.0.0.1")
        process = stack.enter_context(child("redis-server", *options))
        while "Ready to accept" not in first_line(process):
            pass
        found.append(Server("redis", port, verbs=("PING",)))
    if shutil.which("memcached"):
        port = free_port()
        one_thread = ("-t", "1", "-U", "0", "-u", "nobody")
        stack.enter_context(child("memcached", "-p", str(port), "-l", "127.0.0.1", *one_thread))
        wait_for(port)
        found.append(Server("memcached", port, verbs=("PING",)))
    return found


def load(program: Path, server: Server, shape: tuple[int, int], seconds: float, verb: str) -> float:
    """Return requests per second; 0 if the load generator failed."""
    arguments = [server.transport, "127.0.0.1", server.port, *shape, seconds]
    # redis and memcached get a command of their own; they too answer each line with one line.
    verb = {"redis": "=PING", "memcached": "=mn"}.get(server.name, verb)
    command = [str(program), *map(str, arguments), verb, str(server.greeting)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=pin(LOAD_CORE),
    )
    return float(ran.stdout.split()[0]) if ran.returncode == 0 else 0.0


def measure(program: Path, seconds: float, repeat: int) -> dict[str, dict[str, float]]:
    """Return the medians: row, server, requests per second."""
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        servers = start_all(stack)
        for _ in range(repeat):
            for verb in ("PING", "CALL"):
                for server in servers:
                    shapes = SHAPES if server.transport == "tcp" else SHAPES[:1]
                    for shape in shapes if verb in server.verbs else ():
                        row = f"{server.transport} {verb} {shape[0]} x {shape[1]}"
                        figure = load(program, server, shape, seconds, verb)
                        found.setdefault(row, {}).setdefault(server.name, []).append(figure)
    return {
        row: {name: statistics.median(figures) for name, figures in columns.items()}
        for row, columns in found.items()
    }


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """Return the figures, and how they compare with the aims, for a terminal."""
    out = []
    for row, columns in sorted(found.items(), reverse=True):
        figures = "  ".join(f"{name} {figure / 1000:.0f} k" for name, figure in columns.items())
        out.append(f"{row:<18} {figures}")
        portal = columns.get("portal") or columns.get("portal-udp") or 0.0
        connections, depth = row.split()[2::2]
        shape = int(connections), int(depth)
        aim = UDP_AIM if row.startswith("udp") else AIMS.get(shape)
        journal = columns.get("journal") or columns.get("journal-udp")
        if journal and portal:
            ratio = journal / portal
            out.append(f"{'':<18} {ratio:.2f} of it with the journal on; the aim is {JOURNAL_AIM}")
        if aim is not None and columns.get(aim[0]):
            ratio = portal / columns[aim[0]]
            out.append(f"{'':<18} {ratio:.2f} of {aim[0]}; the aim is {aim[1]:.2f}")
    return out


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which the median")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones to hold")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = compiled(HERE / "load.c", Path(folder))
        except NoCompilerError as error:
            parser.error(str(error))
        found = measure(program, options.seconds, options.repeat)
        relayed = relays.report(program, options.seconds, options.repeat)
    if options.json:
        print(json.dumps(found))
    else:
        print(
            *table(found), *relayed, *holding.report(options.connections, options.repeat), sep="\n"
        )


if __name__ == "__main__":
    main()
