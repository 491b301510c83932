"""``python -m tests.fuzz``: give parsers and servers inputs that are nearly right.

Each target has its time; what one does not deal with is printed, and the status is 1. The same seed
makes the same inputs.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from tests.fuzz.campaign import NAMES, Finding, run


def main() -> int:
    """Run the targets that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of a target: {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if unknown := set(options.name) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    bad = 0
    for name in options.name or NAMES:
        count, found = run(name, options.seed, seconds=options.seconds)
        verdict = "good" if found is None else shown(found)
        print(f"{name:<16}{count:>10,} inputs", verdict, flush=True)
        bad += found is not None
    return int(bad > 0)


def shown(found: Finding) -> str:
    """Return a finding as text."""
    if found.error is None:
        return f"SLOW\n  {found.data!r}"
    return f"BAD\n  {found.data!r}\n" + "".join(traceback.format_exception(found.error))


if __name__ == "__main__":
    sys.exit(main())
