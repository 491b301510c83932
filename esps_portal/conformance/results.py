"""The outcomes of one implementation, together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import attrs

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.requirements import Requirement, cited
from esps_portal.conformance.steps import Vector

#: Verdicts, the worst first.
WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN, Verdict.PASS, Verdict.UNSUPPORTED)

# Bytes (own choice): eight times what all vectors take with a server that conforms.
_MAX_TRAFFIC = 1 << 25


@attrs.define
class Results:
    """What is known of one implementation.

    Attributes:
        name: as the user wrote it.
        again: the arguments of the command that judge it again.
        known_failing: identifiers of vectors that need not pass.
        keeps_traffic: for a capture, up to 32 MiB in all.
        product: what it calls itself.
        seconds: how long it took.
    """

    name: str
    again: tuple[str, ...]
    known_failing: frozenset[str] = frozenset()
    keeps_traffic: bool = False
    product: str = ""
    outcomes: list[Outcome] = attrs.field(factory=list)
    seconds: float = 0
    _traffic_size: int = 0

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of one run."""
        size = outcome.traffic.size if outcome.traffic is not None else 0
        if self.keeps_traffic and self._traffic_size + size <= _MAX_TRAFFIC:
            self._traffic_size += size
        else:
            outcome = attrs.evolve(outcome, traffic=None)
        self.outcomes.append(outcome)

    @property
    def failed(self) -> bool:
        """Whether a vector failed, or could not run, that need not."""
        return any(
            outcome.verdict in (Verdict.FAIL, Verdict.ERROR)
            and outcome.vector not in self.known_failing
            for outcome in self.outcomes
        )

    def counts(self) -> dict[str, int]:
        """Return how many runs had each verdict."""
        found = Counter(outcome.verdict for outcome in self.outcomes)
        return {str(verdict): found[verdict] for verdict in Verdict}

    def pass_unexpectedly(self) -> list[str]:
        """Return the vectors that were known to fail, and pass in each form."""
        verdicts: dict[str, set[Verdict]] = {}
        for outcome in self.outcomes:
            verdicts.setdefault(outcome.vector, set()).add(outcome.verdict)
        return sorted(name for name in self.known_failing if verdicts.get(name) == {Verdict.PASS})


@attrs.frozen
class Texts:
    """What the reports quote: the vectors and the requirements that they cite."""

    vectors: Mapping[str, Vector]
    requirements: Mapping[str, Requirement]

    def cited_by(self, vector: str) -> list[Requirement]:
        """Return the requirements that a vector tests."""
        return cited(self.vectors[vector].requirements, self.requirements)

    def citing(self, requirement: str) -> Iterator[str]:
        """Yield the vectors that test a requirement."""
        for name, vector in self.vectors.items():
            if requirement in vector.requirements:
                yield name


def worst(outcomes: list[Outcome]) -> Verdict | None:
    """Return the worst verdict; ``None`` if there is none."""
    found = {outcome.verdict for outcome in outcomes}
    return next((verdict for verdict in WORST_FIRST if verdict in found), None)
