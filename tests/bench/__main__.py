"""``python -m tests.bench``: a portal compared with other servers, in one run.

Every server is a process of its own on one core; what loads it is on the other. It takes some
minutes, and no figure makes it fail.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.bench import clients, fixture, growth, holding, relays, throughput, tls
from tests.bench.aims import Aim, Report, summary
from tests.bench.machine import NoCompilerError, compiled, keep_bytecode
from tests.bench.svg import svg

HERE = Path(__file__).resolve().parent

#: What ``--quick`` changes.
QUICK = {"seconds": 0.3, "repeat": 1, "connections": 1000, "requests": 10_000}


def parts(options: argparse.Namespace, program: Path) -> dict[str, Callable[[], Report]]:
    """Return what can be measured, by name."""

    def grow() -> Report:
        sizes = options.connections, options.requests
        report, panels = growth.report(program, options.seconds, options.repeat, *sizes)
        if options.plot is not None:
            options.plot.write_text(svg(panels), encoding="utf-8")
        return report

    return {
        "throughput": lambda: throughput.report(program, options.seconds, options.repeat),
        "growth": grow,
        "clients": lambda: clients.report(options.seconds, options.repeat),
        "holding": lambda: holding.report(options.connections, options.repeat),
        "fixture": fixture.report,
        "relays": lambda: relays.report(program, options.seconds, options.repeat),
        "tls": lambda: tls.report(options.seconds, options.repeat),
    }


PARTS = "throughput growth clients holding fixture relays tls".split()


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which the median")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones to hold")
    parser.add_argument("--requests", type=int, default=1_000_000, help="on one connection")
    parser.add_argument("--quick", action="store_true", help="short runs, for orientation")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part, or several")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write what grows, as SVG")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.plot is not None and options.only and "growth" not in options.only:
        parser.error("--plot shows the part growth: add --only growth")
    for name, figure in QUICK.items() if options.quick else ():
        setattr(options, name, figure)
    options.connections = holding.raise_limit(options.connections)
    return options


def main() -> None:
    """Measure, and print."""
    options = parsed()
    aims: list[Aim] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_bytecode(folder / "bytecode")
        try:
            program = compiled(HERE / "load.c", folder)
        except NoCompilerError as error:
            raise SystemExit(str(error)) from None
        for part, measure in parts(options, program).items():
            if options.only and part not in options.only:
                continue
            report = measure()
            aims += report.aims
            if report.lines and not options.json:
                print(*report.lines, "", sep="\n", flush=True)
    if options.json:
        print(json.dumps([attrs.asdict(aim) | {"verdict": aim.verdict} for aim in aims]))
    else:
        print(*summary(aims), sep="\n")


if __name__ == "__main__":
    main()
