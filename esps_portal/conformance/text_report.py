"""The report for a person: what failed, the text of the requirement, and how to reproduce it."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator

from esps_portal.conformance.escape import as_hex, as_text
from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.requirements import Requirement
from esps_portal.conformance.results import Results, Texts

_WIDTH = 100
_MAX_NAMES = 12
_IDENTIFIER = re.compile(r"ESPS-[A-Z]+-[0-9]+")


def report_lines(results: Results, texts: Texts) -> Iterator[str]:
    """Yield the lines of a report on one implementation."""
    yield results.name + (f" ({results.product})" if results.product else "")
    shown: set[tuple[str, Verdict]] = set()
    for outcome in results.outcomes:
        key = outcome.vector, outcome.verdict
        if outcome.mismatch is None or key in shown:
            continue  # the same vector byte by byte says the same
        shown.add(key)
        yield ""
        yield from _failure_lines(outcome, results, texts)
    yield ""
    yield from _not_run_lines(results)
    for name in results.pass_unexpectedly():
        yield f"{name} passes now: it is no longer known to fail"
    counts = ", ".join(f"{number} {verdict}" for verdict, number in results.counts().items())
    yield f"{counts} in {results.seconds:.1f} s"


def failure_text(outcome: Outcome, texts: Texts) -> str:
    """Return what was required, allowed and seen, in lines."""
    return "\n".join(_detail_lines(outcome, texts))


def _failure_lines(outcome: Outcome, results: Results, texts: Texts) -> Iterator[str]:
    known = " (known to fail)" if outcome.vector in results.known_failing else ""
    form = " (byte by byte)" if outcome.form == "bytewise" else ""
    yield f"{outcome.verdict.upper()} {outcome.vector}{form}{known}"
    for line in _detail_lines(outcome, texts):
        yield from _wrapped(line)
    options, *rest = results.again
    yield f"  again: esps-portal conformance --only {outcome.vector} {shlex.join([options, *rest])}"


def _detail_lines(outcome: Outcome, texts: Texts) -> Iterator[str]:
    mismatch = outcome.mismatch
    if mismatch is None:
        yield outcome.reason
        return
    for requirement in _relevant(outcome, texts):
        yield f"{requirement.id} ({requirement.section}): {requirement.sentence}"
    yield f"allowed: {mismatch.allowed}"
    if mismatch.came_text:
        yield f"came: {mismatch.came_text}"
    if mismatch.came:
        yield f"came: {as_text(mismatch.came)}"
        yield f"hex: {as_hex(mismatch.came)}"


def _relevant(outcome: Outcome, texts: Texts) -> list[Requirement]:
    """Return the requirements that were broken: one that the mismatch names, else the vector's."""
    assert outcome.mismatch is not None  # noqa: S101 - for the type checker
    named = _IDENTIFIER.findall(outcome.mismatch.allowed)
    return [texts.requirements[name] for name in named if name in texts.requirements] or (
        texts.cited_by(outcome.vector)
    )


def _not_run_lines(results: Results) -> Iterator[str]:
    """Yield what could not be run, together for each reason."""
    reasons: dict[str, dict[str, None]] = {}
    for outcome in results.outcomes:
        if outcome.reason:
            reason = f"{outcome.verdict.upper()} {outcome.reason}"
            reasons.setdefault(reason, {})[outcome.vector] = None
    for reason, names in reasons.items():
        yield f"{reason}: {len(names)} vector{'s' * (len(names) > 1)}"
        yield from _wrapped(_shortened(list(names)))


def _shortened(names: list[str]) -> str:
    more = len(names) - _MAX_NAMES
    return " ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _wrapped(line: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )
