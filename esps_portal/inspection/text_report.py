"""A report in lines of at most 80 columns, for a person."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from esps_portal.inspection import probe
from esps_portal.inspection.facts import PortFacts
from esps_portal.inspection.holders import CONNECTED, LISTEN, WILDCARDS, Holder
from esps_portal.inspection.probe import Answer
from esps_portal.inspection.report import Report
from esps_portal.inspection.tool_tables import Table, bracketed
from esps_portal.protocol.escape import visible

_WIDTH = 80
_LONGEST_COMMAND = 300
_STATES = {LISTEN: "listens", CONNECTED: "is connected"}


def prose(report: Report) -> list[str]:
    """Return the whole report, line by line."""
    lines = [line for part in _parts(report) for line in ("", *part)]
    return [folded for line in lines[1:] for folded in _fold(line)]


def _parts(report: Report) -> Iterator[list[str]]:
    yield [_headline(report)]
    told: set[Answer] = set()
    for holder in report.sight.holders:
        answers = [a for a in report.answers if _concerns(a, holder)]
        told.update(answers)
        yield _holder(holder, answers)
    rest = [answer for answer in report.answers if answer not in told]
    if rest:
        yield ["Asked, without a socket in sight:", *(f"  {_where(a)}: {_said(a)}" for a in rest)]
    if report.sight.connections:
        counts = ", ".join(f"{n} {state}" for state, n in report.sight.connections.items())
        yield [f"TCP connections with this local port: {counts}"]
    if report.sight.unseen:
        yield ["Not seen:", *(f"  {sentence}" for sentence in report.sight.unseen)]
    yield ["Registries:", *_facts(report.facts)]
    if report.sight.holders:
        yield _about_tables(report.tables)
        for table in report.tables:
            yield [f"In the form of {table.command}:", *(f"  {line}" for line in table.lines())]


def _about_tables(tables: tuple[Table, ...]) -> list[str]:
    here = ", ".join(table.program for table in tables if table.is_here)
    missing = ", ".join(table.program for table in tables if not table.is_here)
    has = f"This machine has {here or 'none of them'}"
    return [
        "The same again, in the form of other tools: these are inspect's own findings.",
        f"The tools were not run. {has}{f', not {missing}' if here and missing else ''}.",
    ]


def _headline(report: Report) -> str:
    place = "this machine" if report.host is None else visible(report.host)
    if not report.held:
        return f"Nobody holds port {report.port} on {place}."
    speaks = any(answer.verdict == probe.ESPS for answer in report.answers)
    does = "It speaks" if speaks else "Nothing there speaks"
    return f"Port {report.port} on {place} is held by {_by(report.sight.holders)}. {does} ESPS/1."


def _by(holders: tuple[Holder, ...]) -> str:
    if not holders:
        return "what answers there"
    pids = {holder.pid for holder in holders}
    seen = len(pids - {None})
    parts = [f"{seen} process{'es' * (seen != 1)}"] if seen else []
    return " and ".join(parts + ["what could not be seen"] * (None in pids))


def _holder(holder: Holder, answers: list[Answer]) -> list[str]:
    state = _STATES.get(holder.state, "is open")
    lines = [f"{holder.transport.upper()} {bracketed(holder.host)}:{holder.port} {state}"]
    user = f"user {visible(holder.user)}" if holder.user else "a user that could not be seen"
    if holder.pid is None:
        lines.append(f"  a process that could not be seen, {user}")
    else:
        lines.append(f"  {visible(holder.program or '?')}, pid {holder.pid}, {user}")
    if holder.command:
        lines.append(f"  {_shortened(visible(shlex.join(holder.command)))}")
    return [*lines, *(f"  {_said(answer)}" for answer in answers)]


def _shortened(command: str) -> str:
    # Some are pages long (a class path, say); the JSON has the whole.
    return command if len(command) <= _LONGEST_COMMAND else command[: _LONGEST_COMMAND - 3] + "..."


def _concerns(answer: Answer, holder: Holder) -> bool:
    asked = WILDCARDS.get(holder.host, holder.host)
    return (answer.transport, answer.host) == (holder.transport, asked)


def _where(answer: Answer) -> str:
    return f"{answer.transport.upper()} {bracketed(answer.host)}:{answer.port}"


def _said(answer: Answer) -> str:
    product = f": {answer.product}" if answer.product else ""
    says = {
        probe.ESPS: f"answers ESPS/1{product} ({answer.seconds * 1000:.1f} ms)",
        probe.OTHER: "is something else",
        probe.SILENT: f"says nothing in {answer.seconds:.1f} s",
        probe.CLEAR: "nothing listens",
        probe.UNREACHABLE: "could not be asked",
    }[answer.verdict]
    words = f"; {answer.message}" if answer.message else ""
    excerpt = f': "{answer.excerpt}"' if answer.excerpt else ""
    return f"{says}{words}{excerpt}"


def _facts(facts: PortFacts) -> list[str]:
    if facts.iana:
        transports = " and ".join(t.upper() for t in facts.iana.transports)
        iana = f"{facts.iana.name}, {transports}, registrant {facts.iana.registrant}"
    else:
        iana = "not known by heart; see www.iana.org/assignments/service-names-port-numbers"
    named = ", ".join(f"{name} ({t})" for t, name in facts.services.items() if name)
    root = "needed" if facts.needs_root else "not needed"
    return [
        f"  IANA: {iana}",
        f"  range: {facts.range_name} ({facts.first}-{facts.last}); root {root} to bind it",
        f"  services database of this system: {named or 'no entry'}",
    ]


def _fold(line: str) -> list[str]:
    """Break a line that is too long, where it may be, and indent what follows."""
    if len(line) <= _WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
