"""The report for a web page: a matrix of implementations by requirement, in one file.

It loads nothing, runs no script, and every text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.requirements import Requirement
from esps_portal.conformance.results import Results, Texts, worst
from esps_portal.conformance.text_report import failure_text

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .4em .6em; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: #fff; }
td.verdict { white-space: nowrap; }
.pass { color: #176b2c; } .fail, .error { color: #b00020; font-weight: bold; }
.warn { color: #8a5a00; } .unsupported, .none { color: #666; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 50em; margin: .4em 0; }
"""


def html_report(all_results: Sequence[Results], texts: Texts) -> str:
    """Return the page on some implementations."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><title>ESPS/1 conformance</title>',
            f"<style>{_STYLE}</style></head>",
            "<body><h1>ESPS/1 conformance</h1>",
            *_summary(all_results),
            *_matrix(all_results, texts),
            "</body></html>",
            "",
        ]
    )


def _summary(all_results: Iterable[Results]) -> Iterator[str]:
    headings = "".join(f"<th>{verdict}</th>" for verdict in Verdict)
    yield f"<table><tr><th>Implementation</th><th>Product</th>{headings}</tr>"
    for results in all_results:
        counts = "".join(f"<td>{number}</td>" for number in results.counts().values())
        yield f"<tr><td>{escape(results.name)}</td><td>{escape(results.product)}</td>{counts}</tr>"
    yield "</table>"


def _matrix(all_results: Sequence[Results], texts: Texts) -> Iterator[str]:
    names = "".join(f"<th>{escape(results.name)}</th>" for results in all_results)
    yield f"<h2>By requirement</h2><table><tr><th>Requirement</th><th>Text</th>{names}</tr>"
    for requirement in texts.requirements.values():
        vectors = set(texts.citing(requirement.id))
        cells = [
            _cell([o for o in results.outcomes if o.vector in vectors], texts)
            for results in all_results
        ]
        yield _row(requirement, cells)
    yield "</table>"


def _row(requirement: Requirement, cells: Iterable[str]) -> str:
    return (
        f'<tr id="{escape(requirement.id)}"><td>{escape(requirement.id)}<br>'
        f"section {escape(requirement.section)}</td><td>{escape(requirement.sentence)}</td>"
        + "".join(cells)
        + "</tr>"
    )


def _cell(outcomes: list[Outcome], texts: Texts) -> str:
    verdict = worst(outcomes)
    if verdict is None:
        return '<td class="verdict none">-</td>'
    details = "".join(_detail(outcome, texts) for outcome in outcomes)
    return (
        f'<td class="verdict {verdict}"><details><summary>{verdict}</summary>{details}'
        "</details></td>"
    )


def _detail(outcome: Outcome, texts: Texts) -> str:
    form = " byte by byte" if outcome.form == "bytewise" else ""
    text = failure_text(outcome, texts)
    quoted = f"<pre>{escape(text)}</pre>" if text else ""
    heading = f"{escape(outcome.vector)}{form}: {outcome.verdict}"
    return f'<div class="{outcome.verdict}">{heading}{quoted}</div>'
