"""The report for a build server: JUnit's XML, as its readers have it in common.

A suite is an implementation, a case is a vector in one form, its class the section of the
specification. A warning passes, with its text as output.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from esps_portal.conformance.judged import Judged, Texts
from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.text_report import failure_text


def junit_report(all_judged: Iterable[Judged], texts: Texts) -> bytes:
    """Return the document on some implementations."""
    root = Element("testsuites", name="ESPS/1")
    for judged in all_judged:
        counts = judged.counts()
        suite = SubElement(
            root,
            "testsuite",
            name=judged.name,
            tests=str(len(judged.outcomes)),
            failures=str(counts["fail"] - _known(judged, Verdict.FAIL)),
            errors=str(counts["error"] - _known(judged, Verdict.ERROR)),
            skipped=str(
                counts["unsupported"] + _known(judged, Verdict.FAIL) + _known(judged, Verdict.ERROR)
            ),
            time=f"{judged.seconds:.3f}",
        )
        for outcome in judged.outcomes:
            _add_case(suite, outcome, judged, texts)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _known(judged: Judged, verdict: Verdict) -> int:
    return sum(o.verdict is verdict and o.vector in judged.known_failing for o in judged.outcomes)


def _add_case(suite: Element, outcome: Outcome, judged: Judged, texts: Texts) -> None:
    sections = sorted({requirement.section for requirement in texts.cited_by(outcome.vector)})
    case = SubElement(
        suite,
        "testcase",
        name=outcome.vector + (" byte by byte" if outcome.form == "bytewise" else ""),
        classname=f"ESPS/1 section {sections[0]}" if sections else "ESPS/1",
        time=f"{outcome.seconds:.3f}",
    )
    text = failure_text(outcome, texts)
    match outcome.verdict:
        case Verdict.FAIL | Verdict.ERROR if outcome.vector in judged.known_failing:
            SubElement(case, "skipped", message="known to fail")
        case Verdict.FAIL:
            kind = outcome.mismatch.kind if outcome.mismatch else ""
            SubElement(case, "failure", message=text.split("\n")[0], type=kind).text = text
        case Verdict.ERROR:
            SubElement(case, "error", message=outcome.reason, type="error")
        case Verdict.UNSUPPORTED:
            SubElement(case, "skipped", message=outcome.reason)
        case Verdict.WARN:
            SubElement(case, "system-out").text = text
