"""What came of the attacks: text of 80 columns, and JSON."""

from __future__ import annotations

import json
import resource
import textwrap
from pathlib import Path

import attrs

from tests.attacks.attack import Attack, Latency, Outcome, Usage

_WIDTH = 80

HEAD = (
    f"\n{'':<14}{'polite client, ms':^26} {'memory, MB':^14} {'descriptors':^17}\n"
    f"{'attack':<14}{'median':>6}{'p99':>6}{'max':>6}{'newcomer':>9}"
    f"{'before':>7}{'peak':>5}{'after':>6}{'before':>7}{'peak':>6}{'after':>6}"
)


def limits() -> str:
    """Return a line about what this machine allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    return f"at most {soft} descriptors for each process; local ports {'-'.join(ports)}"


def rows(attack: Attack, outcome: Outcome) -> str:
    """Return a row of figures, and below it what was done and the verdict."""
    figures = f"{attack.name:<14}{_polite(outcome.polite)}{_usage(outcome)}".rstrip()
    verdict = "; ".join(outcome.problems)
    worked = outcome.polite.work if outcome.polite is not None else 0.0
    work = f", up to {_ms(worked)} ms of work before an answer" if worked else ""
    said = [f"{outcome.did} ({outcome.seconds:.0f} s{work})"]
    said.append(f"BAD: {verdict}" if verdict else "good")
    # The width of a terminal, less the indent.
    return "\n".join([figures, *textwrap.wrap(": ".join(said), _WIDTH - 2)]).replace("\n", "\n  ")


def _polite(seen: Latency | None) -> str:
    if seen is None:
        return f"{'-':>6}{'-':>6}{'-':>6}{'-':>9}"
    newcomer = "refused" if seen.refused else _ms(seen.newcomer)
    return f"{_ms(seen.median):>6}{_ms(seen.p99):>6}{_ms(seen.maximum):>6}{newcomer:>9}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds < 0.1 else f"{seconds * 1000:.0f}"


def _usage(outcome: Outcome) -> str:
    def cell(used: Usage | None, field: str, width: int) -> str:
        return f"{'-' if used is None else f'{getattr(used, field):.0f}':>{width}}"

    three = outcome.before, outcome.peak, outcome.after
    memory = "".join(map(cell, three, ["memory"] * 3, [7, 5, 6]))
    return memory + "".join(map(cell, three, ["descriptors"] * 3, [7, 6, 6]))


def as_json(attack: Attack, outcome: Outcome) -> str:
    """Return a line of JSON: times in seconds, memory in MB."""
    verdict = "bad" if outcome.problems else "good"
    return json.dumps(
        {"attack": attack.name, "what": attack.what, "verdict": verdict, **attrs.asdict(outcome)}
    )
