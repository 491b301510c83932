"""What makes a strict test fail: unexpected calls, unused stubs, faults that never struck."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from esps_portal.faults.fault_registry import FaultRegistry
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
    found += describe_failed(script.faults)
    return found + describe_never_struck(script.faults)


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
    parts = [
        *problems,
        *describe_by_chance(script.faults),
        "what happened (seconds, where, what):",
        transcript(script.journal, max_lines=MAX_LINES),
    ]
    return "\n".join(parts)


def describe_failed(faults: FaultRegistry) -> list[str]:
    """Return a problem for each fault whose predicate has raised: it then matches nothing."""
    return [f"the predicate of fault {f} raised {visible(f.failure)}" for f in faults.failed]


def describe_by_chance(faults: FaultRegistry) -> list[str]:
    """Return a line for each fault by chance: its seed reproduces what it did."""
    return [
        f"fault by chance, struck {f.happened} time{'s' * (f.happened != 1)}: {f}"
        for f in faults.by_chance
    ]
