"""``python -m tests.attacks fairness``: how a polite client fares while others are hostile.

The server is on one core; the hostile and the polite are on the other. For each load the server is
a new one. The polite client sends PING over one connection, again as soon as it has been answered,
and at last over a new one. Then SIGTERM is sent. It takes some minutes; no figure makes it fail.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from tests.attacks.victims import CONTROL_LINES, LINES, Victim, installed, portal
from tests.bench.machine import (
    LOAD_CORE,
    NoCompilerError,
    child,
    compiled,
    cpu_seconds,
    first_line,
    keep_bytecode,
    memory,
    pin,
    say,
)

#: Seconds, as the project aims: the median with one hostile client, the maximum with 50, and how
#: soon a server hears SIGTERM under each load.
MEDIAN_AIM, MAXIMUM_AIM, SIGTERM_AIM = 0.005, 0.25, 0.1

_UNTIL_LOADED = 0.1  # seconds, at least

Process = subprocess.Popen[str]

HERE = Path(__file__).resolve().parent


@attrs.frozen
class Programs:
    """What is compiled."""

    attack: Path
    polite: Path

    @classmethod
    def compile(cls, folder: Path) -> Programs:
        """Compile them into a folder."""
        return cls(compiled(HERE / "attack.c", folder), compiled(HERE / "polite.c", folder))


@attrs.frozen
class Load:
    """What hostile clients do: the arguments of ``attack.c``.

    Attributes:
        to_control: they attack the control port of a portal.
    """

    kind: str
    count: int
    line: str
    reads: bool = True
    to_control: bool = False

    @property
    def name(self) -> str:
        ends = " to control" if self.to_control else "" if self.reads else ", never reads"
        if self.kind == "datagrams":
            return f"{self.count} datagrams/s {self.line}"
        if self.kind == "once":
            return f"{self.count} x 64 KiB {self.line} once{ends}"
        return f"{self.count} x {self.line}{ends}"


LOADS = (
    *(
        Load("flood", count, line, reads)
        for line in LINES
        for count in (1, 10)
        for reads in (True, False)
    ),
    *(Load("flood", count, line, to_control=True) for line in CONTROL_LINES for count in (1, 10)),
    *(Load("once", 50, line, reads) for line in ("LF", "@") for reads in (True, False)),
    Load("datagrams", 300, "CALL random 2048"),
)


@attrs.frozen
class Figures:
    """What was seen.

    Attributes:
        median, p99, maximum: seconds that an answer to the polite client took.
        anew: seconds that the answer to a new connection took.
        sigterm: seconds until an idle connection got BYE, or was closed.
        cpu: share of its core that the server took, before the polite client had begun; of what is
            sent once, with it.
        memory: MB that the server grew by, at most.
    """

    median: float
    p99: float
    maximum: float
    anew: float
    sigterm: float
    cpu: float
    memory: float

    def missed(self, load: Load) -> list[str]:
        """Return which aims of a load it misses."""
        return [
            name
            for name, figure, aim in (
                ("median", self.median, MEDIAN_AIM if load.count == 1 else None),
                ("maximum", self.maximum, MAXIMUM_AIM if load.count == 50 else None),
                ("SIGTERM", self.sigterm, SIGTERM_AIM),
            )
            if aim is not None and figure > aim
        ]


def measure(
    programs: Programs, victim: Victim, load: Load, seconds: float, timeout: float
) -> Figures:
    """Attack a server, which is of no use any more after this.

    Raises:
        ConnectionError: it closed the connection of the polite client.
    """
    port, line = victim.port, victim.line(load.line)
    # What begins with a good line goes on.
    first = "" if load.line == "@ first" else victim.line("PING")
    if load.to_control:
        port, line, first = victim.control, CONTROL_LINES[load.line], ""
    how = "reads" if load.reads else "deaf"
    attack = programs.attack, load.kind, port, load.count, how, line, first
    polite = programs.polite, victim.port, seconds, timeout, victim.line("PING"), victim.greeting
    before = memory(victim.pid)
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", victim.port)))
        if victim.greeting:
            idle.recv(4096)
        client = stack.enter_context(child(*polite, core=LOAD_CORE))
        first_line(client)
        hostile = stack.enter_context(child(*attack, core=LOAD_CORE))
        first_line(hostile)
        answer, cpu = _run(victim.pid, load, client, hostile, seconds)
        grown = memory(victim.pid, "VmHWM") - before
        sigterm = _sigterm(victim, idle, lambda: say(hostile), timeout)
        if not answer:
            raise ConnectionError(victim.name)
    median, p99, maximum, _, anew = (float(figure) for figure in answer)
    return Figures(median, p99, maximum, anew, sigterm, cpu, grown / 1000)


def _run(
    pid: int, load: Load, client: Process, hostile: Process, seconds: float
) -> tuple[list[str], float]:
    """Have both begin; return what the polite client prints, and the server's share of its core."""
    began, used = time.perf_counter(), cpu_seconds(pid)

    def share() -> float:
        return (cpu_seconds(pid) - used) / (time.perf_counter() - began)

    if load.kind == "once":
        say(client)  # the beginning of the load counts as well
        say(hostile)
        answer = first_line(client).split()
        return answer, share()
    # What is answered before the load is there would hide that nothing is under it.
    say(hostile)
    time.sleep(max(_UNTIL_LOADED, seconds / 3))
    cpu = share()
    say(client)
    return first_line(client).split(), cpu


def _sigterm(victim: Victim, idle: socket.socket, again: Callable[[], None], limit: float) -> float:
    """Return the seconds until the server lets an idle connection know that it ends."""
    again()  # of what is sent once, the server shall be in the middle
    time.sleep(0.02)
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    began = time.perf_counter()
    os.kill(victim.pid, signal.SIGTERM)
    poll.poll(limit * 1000)
    return time.perf_counter() - began


def report(programs: Programs, seconds: float, timeout: float, only: str) -> None:
    """Measure every load that has a text in its name, and print a table."""
    pin(LOAD_CORE)()
    print("Latency of a polite client, and until SIGTERM is heard, in ms; ! misses its aim.")
    print(
        f"Aims: median {MEDIAN_AIM * 1000:.0f} with one hostile client, maximum"
        f" {MAXIMUM_AIM * 1000:.0f} with 50, SIGTERM {SIGTERM_AIM * 1000:.0f} under each load.\n"
    )
    titles = (
        f"{'median':>10}{'p99':>9}{'maximum':>10}{'anew':>9}{'SIGTERM':>10}{'CPU':>7}{'memory':>9}"
    )
    print(f"{'load':<36}{'server':<7}{titles}")
    missed = measured = 0
    for load in LOADS:
        for name, start in installed().items() if only in load.name else ():
            if (load.kind == "datagrams" or load.to_control) and name != "portal":
                continue
            with portal("--control", "0") if load.to_control else start() as victim:
                try:
                    figures = measure(programs, victim, load, seconds, timeout)
                except ConnectionError:
                    print(f"{load.name:<36}{name:<7} closed the polite client's connection")
                    continue
            print(f"{load.name:<36}{name:<7}{_row(load, figures)}", flush=True)
            if name == "portal":
                measured += 1
                missed += bool(figures.missed(load))
    print(f"\nportal: every aim met under {measured - missed} of {measured} loads")
    if "redis" not in installed():
        print("redis-server is not installed: nothing to compare with")


def _row(load: Load, figures: Figures) -> str:
    missed = figures.missed(load)

    def cell(name: str, seconds: float, width: int) -> str:
        return f"{seconds * 1000:{width}.2f}{'!' if name in missed else ' '}"

    return (
        cell("median", figures.median, 9)
        + f"{figures.p99 * 1000:9.2f}"
        + cell("maximum", figures.maximum, 9)
        + f"{figures.anew * 1000:9.2f}"
        + cell("SIGTERM", figures.sigterm, 9)
        + f"{figures.cpu:6.0%} {figures.memory:5.1f} MB"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks fairness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each load")
    parser.add_argument(
        "--timeout", type=float, default=20.0, help="seconds to wait for an answer, or an end"
    )
    parser.add_argument("--only", default="", help="loads whose name has this text")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_bytecode(folder / "bytecode")
        try:
            programs = Programs.compile(folder)
        except NoCompilerError as error:
            parser.error(str(error))
        report(programs, options.seconds, options.timeout, options.only)
