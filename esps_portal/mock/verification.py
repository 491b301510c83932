"""What a strict test fails for: unexpected calls, unused stubs, faults that never struck."""

from __future__ import annotations

import textwrap

from esps_portal.journal.transcript import transcript
from esps_portal.mock.never_struck import describe_never_struck
from esps_portal.mock.scripted import Script
from esps_portal.mock.stubs import describe_stub, shown_call

#: Lines of what happened, in a report.
MOST_LINES = 120


def find_problems(script: Script) -> list[str]:
    """Return what is wrong, a line each; nothing where all is well."""
    found = [
        f"unexpected call: {shown_call(request.args[0], request.args[1:])}\n    {why}"
        for request, why in script.unexpected
    ]
    for service, trace in script.failures:
        found.append(f"service {service} failed:\n{textwrap.indent(trace.rstrip(), '    ')}")
    for stub in script.stubs.unused():
        shadow = script.stubs.shadow_of(stub)
        why = f"\n    an earlier stub takes its calls: {describe_stub(shadow)}" if shadow else ""
        found.append(f"unused stub: {describe_stub(stub)}{why}")
    found += [
        describe_never_struck(fault, in_force=fault in script.faults.in_force)
        for fault in script.faults.never_struck
    ]
    return found


def report(script: Script, problems: list[str]) -> str:
    """Return what is wrong and all that happened, for a person to act on."""
    by_chance = script.faults.by_chance
    parts = [
        *problems,
        *(f"fault by chance, struck {fault.happened} times: {fault}" for fault in by_chance),
        "what happened (seconds, where, what):",
        transcript(script.journal, most=MOST_LINES),
    ]
    return "\n".join(parts)
