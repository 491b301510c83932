"""What makes a strict test fail: unexpected calls, unused stubs, faults that never struck."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.journal.journal import Journal
from esps_portal.journal.transcript import transcript
from esps_portal.mock.answer_chain import describe_stub
from esps_portal.mock.never_struck import describe_never_struck
from esps_portal.mock.scripted import Script
from esps_portal.mock.stubs import describe_call
from esps_portal.protocol.escape import visible, visible_lines

#: Lines of the transcript in a report.
MAX_LINES = 120
# Unused stubs that a report names: to look for what shadows each goes through all before it.
_MAX_UNUSED = 100


def find_problems(script: Script) -> list[str]:
    """Return a text for each problem; empty if there is none."""
    found = [
        f"unexpected call: {describe_call(request.args[0], request.args[1:])}\n    {why}"
        for request, why in script.unexpected
    ]
    for service, trace in script.failures:
        shown = textwrap.indent(visible_lines(trace.rstrip()), "    ")
        found.append(f"service {service} failed:\n{shown}")
    found += _describe_unused(script)
    return found + fault_problems(script.faults)


def _describe_unused(script: Script) -> Iterator[str]:
    """Yield a problem for each of the first unused stubs, and one for all others."""
    unused = script.stubs.unused()
    for stub in unused[:_MAX_UNUSED]:
        shadow = script.stubs.shadow_of(stub)
        why = f"\n    an earlier stub answers its calls: {describe_stub(shadow)}" if shadow else ""
        yield f"unused stub: {describe_stub(stub)}{why}"
    if len(unused) > _MAX_UNUSED:
        yield f"unused stubs: {len(unused) - _MAX_UNUSED} more"


def problem_report(script: Script, problems: list[str]) -> str:
    """Return the problems and the transcript, as a text for a person."""
    return report_text(problems, script.faults, script.journal)


def fault_problems(faults: FaultRegistry) -> list[str]:
    """Return a text for each fault whose predicate has raised, and for each that never struck."""
    # A predicate that has raised matches nothing.
    failed = [f"the predicate of fault {f} raised {visible(f.failure)}" for f in faults.failed]
    return failed + describe_never_struck(faults)


def report_text(
    problems: Iterable[str], faults: FaultRegistry, journal: Journal, notes: Iterable[str] = ()
) -> str:
    """Return the report on any server: the problems, and the transcript of its journal.

    Args:
        notes: lines about what is no problem, but may explain one.
    """
    parts = [
        *problems,
        *_describe_by_chance(faults),
        *notes,
        "what happened (seconds, where, what):",
        transcript(journal, max_lines=MAX_LINES),
    ]
    return "\n".join(parts)


def _describe_by_chance(faults: FaultRegistry) -> list[str]:
    """Return a line for each fault by chance: its seed reproduces what it did."""
    return [
        f"fault by chance, struck {f.happened} time{'s' * (f.happened != 1)}: {f}"
        for f in faults.by_chance
    ]
