"""The report for a program: a JSON object for each outcome, and a summary."""

from __future__ import annotations

from collections.abc import Iterator

from esps_portal.conformance.escape import as_text
from esps_portal.conformance.outcome import Outcome
from esps_portal.conformance.results import Results, Texts


def report_values(results: Results, texts: Texts) -> Iterator[dict[str, object]]:
    """Yield the values of a report on one implementation, each for one line of JSON."""
    for outcome in results.outcomes:
        yield {
            "event": "outcome",
            "target": results.name,
            "vector": outcome.vector,
            "form": outcome.form,
            "verdict": str(outcome.verdict),
            "requirements": list(texts.vectors[outcome.vector].requirements),
            "known_failing": outcome.vector in results.known_failing,
            "reason": outcome.reason,
            "mismatch": _mismatch(outcome),
            "close": None if outcome.close is None else str(outcome.close),
            "closed": dict(outcome.closed),
            "seconds": round(outcome.seconds, 6),
        }
    yield {
        "event": "summary",
        "target": results.name,
        "product": results.product,
        **results.counts(),
        "pass_unexpectedly": results.pass_unexpectedly(),
        "failed": results.failed,
        "seconds": round(results.seconds, 6),
    }


def _mismatch(outcome: Outcome) -> dict[str, str] | None:
    mismatch = outcome.mismatch
    if mismatch is None:
        return None
    return {
        "kind": mismatch.kind,
        "allowed": mismatch.allowed,
        "came": mismatch.came_text or as_text(mismatch.came),
        "came_hex": mismatch.came.hex(),
    }
