"""Judges one implementation: which vectors do not apply, and the outcome of the others.

The implementation listens already, or is started for each group of vectors that need the same
limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.plan import Case, why_unsupported
from esps_portal.conformance.registry import Registry
from esps_portal.conformance.runner import REPLY_TIMEOUT, run_cases
from esps_portal.conformance.server_process import CannotStartError, ServerCommand
from esps_portal.conformance.steps import Shutdown
from esps_portal.conformance.survey import survey
from esps_portal.conformance.target import Target

# Servers that run at the same time.
_SERVERS = 3


@attrs.frozen
class Judge:
    """How to judge.

    Attributes:
        registry: that of the specification.
        reply_timeout: seconds to wait for each thing that must come.
    """

    registry: Registry
    reply_timeout: float = REPLY_TIMEOUT

    async def judge(
        self,
        target: Target,
        chosen: Sequence[Case],
        given: Mapping[str, float],
        on_outcome: Callable[[Outcome], None],
    ) -> str:
        """Run vectors against a server; return what it calls itself.

        Args:
            target: the server.
            chosen: the vectors.
            given: limits that it was configured with.
            on_outcome: gets the outcome of each vector as soon as it is known.
        """
        found = await survey(target, self.reply_timeout)
        limits = {**self.registry.limits, **found.limits, **given}
        target = attrs.evolve(target, limits=limits)
        possible: list[Case] = []
        for case in chosen:
            vector, form = case.vector, case.form
            unreachable = found.unreachable.get(vector.transport)
            reason = why_unsupported(vector, target, found, self.registry.services)
            if reason:
                on_outcome(Outcome(vector.id, form, Verdict.UNSUPPORTED, reason=reason))
            elif unreachable:
                reason = f"over {vector.transport.upper()}: {unreachable}"
                on_outcome(Outcome(vector.id, form, Verdict.ERROR, reason=reason))
            else:
                possible.append(case)
        await run_cases(possible, target, on_outcome, self.reply_timeout)
        return found.product

    async def judge_command(
        self, server: ServerCommand, chosen: Sequence[Case], on_outcome: Callable[[Outcome], None]
    ) -> str:
        """Run vectors against servers that are started for them; return what they call themselves.

        Args:
            server: how to start one.
            chosen: the vectors.
            on_outcome: gets the outcome of each vector as soon as it is known.
        """
        at_once = trio.CapacityLimiter(_SERVERS)
        products: list[str] = []

        async def judge_group(limits: Mapping[str, float], group: Sequence[Case]) -> None:
            async with at_once:
                try:
                    async with server.running(limits) as target:
                        products.append(await self.judge(target, group, limits, on_outcome))
                except (CannotStartError, OSError) as error:
                    reason = f"the server cannot be started: {error}"
                    for case in group:
                        name, form = case.vector.id, case.form
                        on_outcome(Outcome(name, form, Verdict.ERROR, reason=reason))

        async with trio.open_nursery() as nursery:
            for limits, group in _groups(chosen, takes_limits=server.takes_limits):
                nursery.start_soon(judge_group, limits, group)
        return next(filter(None, products), "")


def _groups(
    chosen: Sequence[Case], *, takes_limits: bool
) -> list[tuple[Mapping[str, float], list[Case]]]:
    """Return the vectors that can share a server, with its limits; one that ends it is alone.

    A server whose limits cannot be set has the default ones: the vectors that need others are
    then unsupported.
    """
    groups: dict[object, tuple[Mapping[str, float], list[Case]]] = {}
    for case in chosen:
        limits = case.vector.limits if takes_limits else {}
        ends_it = any(isinstance(step, Shutdown) for step in case.vector.steps)
        key = (case.vector.id, case.form) if ends_it else tuple(sorted(limits.items()))
        groups.setdefault(key, (limits, []))[1].append(case)
    return list(groups.values())
