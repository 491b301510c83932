"""The cost of one request: flat however many connections are open or requests were answered."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.aims import Aim, Report, ratio
from tests.bench.holding import open_connections
from tests.bench.servers import Server, start_bare, start_portal, start_scripted
from tests.bench.svg import Panel
from tests.bench.throughput import generate, load

#: How many times the cheapest the last may cost.
FLAT = 1.25
_SHAPE = (16, 1)
# Seconds of load.
_LONGEST = 20.0

Points = list[tuple[float, float]]
_SERVERS: dict[str, Callable[[contextlib.ExitStack], Server]] = {
    "portal": lambda stack: start_portal(stack)[0],
    "with its journal": lambda stack: start_scripted(stack)[0],
    "bare trio echo": lambda stack: start_bare(stack, "echo"),
}


def by_connections(
    program: Path, server: Server, counts: Sequence[int], seconds: float, repeat: int
) -> Points:
    """Return µs of processor time for each request while so many idle connections are open."""
    points = []
    with contextlib.ExitStack() as held:
        opened = 0
        for count in counts:
            open_connections(held, server.port, count - opened, server.greeting)
            opened = count
            costs = [_cost(program, server, seconds) for _ in range(repeat)]
            points.append((float(count), statistics.median(costs)))
    return points


def _cost(program: Path, server: Server, seconds: float) -> float:
    """Return µs of processor time for each request; take longer where that is too short to see."""
    while not (rate := load(program, server, _SHAPE, seconds, "CALL").cpu):
        if seconds > _LONGEST:
            raise RuntimeError("the server answers nothing")
        seconds *= 2
    return 1e6 / rate


def by_requests(program: Path, server: Server, most: int) -> Points:
    """Return the median µs that a request took, up to the 10th, the 100th and so on.

    One connection that waits for each reply; the first request, which finds everything cold, is
    left out.
    """
    _, *medians = generate(program, server, (1, 1), 3600, "CALL", most=most)[4:]
    return [(10.0 ** (power + 1), median) for power, median in enumerate(medians)]


def decades(most: int) -> list[int]:
    """Return 1, 10, 100 and so on, up to ``most``, which is the last."""
    counts = [10**power for power in range(len(str(most)))]
    return counts if counts[-1] == most else [*counts, most]


def report(
    program: Path, seconds: float, repeat: int, connections: int, requests: int
) -> tuple[Report, list[Panel]]:
    """Measure; return the aims, and two plots."""
    opened: dict[str, Points] = {}
    answered: dict[str, Points] = {}
    for name, start in _SERVERS.items():
        with contextlib.ExitStack() as stack:
            server = start(stack)
            opened[name] = by_connections(program, server, decades(connections), seconds, repeat)
        with contextlib.ExitStack() as stack:
            answered[name] = by_requests(program, start(stack), requests)
    panels = [
        Panel("Cost of one request", "open connections", "µs of processor time", opened),
        Panel("Time of one request", "requests so far", "µs, median", answered),
    ]
    aims = []
    for panel in panels:
        for name in ("portal", "with its journal"):
            points = panel.series[name]
            what = f"{panel.title.lower()}, {points[-1][0]:,.0f} {panel.x_label}"
            figure = ratio(points[-1][1], min(y for _, y in points))
            aims.append(Aim(f"{what}: {name}", figure, FLAT, is_limit=True))
    lines = [
        f"{panel.title}, {panel.y_label}, by {panel.x_label}: {name} "
        + ", ".join(f"{x:,.0f}: {y:.1f}" for x, y in points)
        for panel in panels
        for name, points in panel.series.items()
    ]
    return Report(lines, aims), panels
