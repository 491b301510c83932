"""The report for a program: a JSON object for each outcome, and a summary."""

from __future__ import annotations

from collections.abc import Iterator

from esps_portal.conformance.escape import as_text
from esps_portal.conformance.judged import Judged, Texts
from esps_portal.conformance.outcome import Outcome


def report_values(judged: Judged, texts: Texts) -> Iterator[dict[str, object]]:
    """Yield the values of a report on one implementation, each for one line of JSON."""
    for outcome in judged.outcomes:
        yield {
            "event": "outcome",
            "target": judged.name,
            "vector": outcome.vector,
            "form": outcome.form,
            "verdict": str(outcome.verdict),
            "requirements": list(texts.vectors[outcome.vector].requirements),
            "known_failing": outcome.vector in judged.known_failing,
            "reason": outcome.reason,
            "mismatch": _mismatch(outcome),
            "close": None if outcome.close is None else str(outcome.close),
            "closed": dict(outcome.closed),
            "seconds": round(outcome.seconds, 6),
        }
    yield {
        "event": "summary",
        "target": judged.name,
        "product": judged.product,
        **judged.counts(),
        "pass_unexpectedly": judged.pass_unexpectedly(),
        "failed": judged.failed,
        "seconds": round(judged.seconds, 6),
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
