"""``python -m tests.attacks``: run each attack, and print what came of it.

Each server is a new process, on a core of its own if there are two; the hostile and a polite client
are on the other. The status is 1 when a verdict is bad. All take about 8 minutes.

``python -m tests.attacks fairness`` is a table of its own: see its --help.
"""

from __future__ import annotations

import argparse
import math
import sys

from tests.attacks import fairness
from tests.attacks.attack import Attack, Outcome, Scale
from tests.attacks.catalogue import ATTACKS
from tests.attacks.table import HEAD, as_json, limits, rows
from tests.attacks.targets import raise_own_limit


def main() -> int:
    """Run the attacks that are named, or all."""
    names = [attack.name for attack in ATTACKS]
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("name", nargs="*", help="of an attack; by default all of --list")
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    parser.add_argument("--seconds", type=_positive, default=6.0, help="that each lasts, about")
    parser.add_argument("--share", type=_positive, default=1.0, help="of its connections and lines")
    options = parser.parse_args()
    if unknown := set(options.name) - set(names):
        parser.error(f"no such attack: {', '.join(sorted(unknown))} (see --list)")
    chosen = [attack for attack in ATTACKS if not options.name or attack.name in options.name]
    if options.list:
        for attack in chosen:
            print(f"{attack.name:<20}{attack.what}")
        return 0
    raise_own_limit()
    scale = Scale(options.seconds, options.share)
    bad = 0
    if not options.json:
        print(limits(), HEAD, sep="\n", flush=True)
    for attack in chosen:
        outcome = run(attack, scale)
        bad += bool(outcome.problems)
        shown = as_json(attack, outcome) if options.json else rows(attack, outcome)
        print(shown, flush=True)
    if not options.json:
        print(f"\n{len(chosen) - bad} of {len(chosen)} attacks did no harm")
    return int(bad > 0)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be greater than 0, got {text}")
    return number


def run(attack: Attack, scale: Scale) -> Outcome:
    """Run one; what makes it fail is its verdict, and the others are run."""
    try:
        return attack.measure(scale)
    except Exception as error:  # noqa: BLE001 - it is reported
        return Outcome("", (f"{type(error).__name__}: {error}",))


if __name__ == "__main__":
    if sys.argv[1:2] == ["fairness"]:
        fairness.main(sys.argv[2:])
    else:
        sys.exit(main())
