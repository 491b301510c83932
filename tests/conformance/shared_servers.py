"""Every vector against one program: those that need the same limits share a server.

A server for each vector would cost ten times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import trio

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.plan import Case
from esps_portal.conformance.runner import run_cases
from esps_portal.conformance.steps import Shutdown
from esps_portal.conformance.target import Target
from tests.conformance.mutants import forms, load_server_vectors
from tests.patience import PATIENCE

#: Starts a server with these limits, for as long as the block runs.
Start = Callable[[Mapping[str, float]], AbstractAsyncContextManager[Target]]
AT_ONCE = 4  # servers


def groups() -> list[list[Case]]:
    """The vectors that share a server; one that ends its server is alone."""
    found: dict[object, list[Case]] = {}
    for vector in load_server_vectors():
        for bytewise in forms(vector):
            case = Case(vector, "bytewise" if bytewise else "whole")
            ends_it = any(isinstance(step, Shutdown) for step in vector.steps)
            limits = tuple(sorted(vector.limits.items()))
            found.setdefault((vector.id, bytewise) if ends_it else limits, []).append(case)
    return list(found.values())


async def failures(start: Start) -> list[str]:
    """Run every vector against servers that are started like this; return what fails.

    Some measure times: beside others, on a busy machine, they may fail, and alone they do not.
    """
    again: list[Case] = []
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def run(group: list[Case]) -> None:
        async with limiter:
            again.extend([case for case, _ in await _failing(start, group)])

    async with trio.open_nursery() as nursery:
        for group in groups():
            nursery.start_soon(run, group)
    return [
        f"{case.vector.id} {case.form}: {outcome.mismatch or outcome.reason}"
        for first in again
        for case, outcome in await _failing(start, [first])
    ]


async def _failing(start: Start, group: list[Case]) -> list[tuple[Case, Outcome]]:
    outcomes: list[Outcome] = []
    async with start(group[0].vector.limits) as target:
        await run_cases(group, target, outcomes.append, PATIENCE)
    found = {(outcome.vector, outcome.form): outcome for outcome in outcomes}
    both = [(case, found[case.vector.id, case.form]) for case in group]
    return [(case, outcome) for case, outcome in both if outcome.verdict is not Verdict.PASS]
