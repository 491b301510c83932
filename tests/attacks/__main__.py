"""``python -m tests.attacks fairness``: how a polite client fares while others are hostile.

It takes some minutes; no figure makes it fail.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.attacks import fairness
from tests.bench.machine import NoCompilerError, keep_bytecode


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("what", choices=["fairness"])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each load")
    parser.add_argument(
        "--timeout", type=float, default=20.0, help="seconds to wait for an answer, or an end"
    )
    parser.add_argument("--only", default="", help="loads whose name has this text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_bytecode(folder / "bytecode")
        try:
            programs = fairness.Programs.compile(folder)
        except NoCompilerError as error:
            parser.error(str(error))
        fairness.report(programs, options.seconds, options.timeout, options.only)


if __name__ == "__main__":
    main()
