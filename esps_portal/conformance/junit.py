"""The report for a build server: JUnit's XML, as its readers have it in common.

A suite is an implementation, a case is a vector in one form, its class the section of the
specification. A warning passes, with its text as output.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.results import Results, Texts
from esps_portal.conformance.text_report import failure_text


def junit_report(all_results: Iterable[Results], texts: Texts) -> bytes:
    """Return the document on some implementations."""
    root = Element("testsuites", name="ESPS/1")
    for results in all_results:
        counts = results.counts()
        suite = SubElement(
            root,
            "testsuite",
            name=results.name,
            tests=str(len(results.outcomes)),
            failures=str(counts["fail"] - _known(results, Verdict.FAIL)),
            errors=str(counts["error"] - _known(results, Verdict.ERROR)),
            skipped=str(
                counts["unsupported"]
                + _known(results, Verdict.FAIL)
                + _known(results, Verdict.ERROR)
            ),
            time=f"{results.seconds:.3f}",
        )
        for outcome in results.outcomes:
            _add_case(suite, outcome, results, texts)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _known(results: Results, verdict: Verdict) -> int:
    return sum(o.verdict is verdict and o.vector in results.known_failing for o in results.outcomes)


def _add_case(suite: Element, outcome: Outcome, results: Results, texts: Texts) -> None:
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
        case Verdict.FAIL | Verdict.ERROR if outcome.vector in results.known_failing:
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
