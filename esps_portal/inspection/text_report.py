"""A report as text, in lines that fit a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from esps_portal.inspection import probe
from esps_portal.inspection.facts import PortFacts
from esps_portal.inspection.probe import ProbeResult
from esps_portal.inspection.report import Report
from esps_portal.inspection.sockets import CONNECTED, LISTEN, WILDCARDS, OpenSocket
from esps_portal.inspection.tool_tables import ToolTable
from esps_portal.protocol.escape import shorten, visible
from esps_portal.protocol.urls import host_port

#: Columns of a line where there is no terminal.
DEFAULT_WIDTH = 80
_MAX_COMMAND = 300
_STATES = {LISTEN: "listens", CONNECTED: "is connected"}


def format_report(report: Report, width: int = DEFAULT_WIDTH) -> list[str]:
    """Return the lines of the report.

    Args:
        report: what was found out.
        width: in columns; only a word that is longer is on a longer line, alone.
    """
    lines = [line for part in _parts(report) for line in ("", *part)]
    return [folded for line in lines[1:] for folded in _fold(line, width)]


def _parts(report: Report) -> Iterator[list[str]]:
    yield [_headline(report)]
    shown: set[ProbeResult] = set()
    for open_socket in report.scan.sockets:
        results = [result for result in report.results if _is_from(result, open_socket)]
        shown.update(results)
        yield _socket_lines(open_socket, results)
    rest = [result for result in report.results if result not in shown]
    if rest:
        lines = (f"  {_address(result)}: {_describe(result)}" for result in rest)
        yield ["Addresses without a visible socket:", *lines]
    if report.scan.connections:
        counts = ", ".join(f"{n} {state}" for state, n in report.scan.connections.items())
        yield [f"TCP connections with this local port: {counts}"]
    if report.scan.hidden:
        yield ["Not visible:", *(f"  {description}" for description in report.scan.hidden)]
    yield ["Registries:", *_fact_lines(report.facts)]
    if report.scan.sockets:
        yield _about_tables(report.tables)
        for table in report.tables:
            but = f", which lists {table.left_out} too" if table.left_out else ""
            yield [f"As {table.command}{but}:", *(f"  {line}" for line in table.lines())]


def _about_tables(tables: tuple[ToolTable, ...]) -> list[str]:
    installed = ", ".join(table.program for table in tables if table.is_installed)
    missing = ", ".join(table.program for table in tables if not table.is_installed)
    has = f"This machine has {installed or 'none of them'}"
    return [
        "The same sockets in the format of other tools; inspect made these tables itself.",
        f"The tools were not run. {has}{f', not {missing}' if installed and missing else ''}.",
    ]


def _headline(report: Report) -> str:
    place = "this machine" if report.host is None else visible(report.host)
    if not report.in_use:
        return f"Nothing uses port {report.port} on {place}."
    speaks = any(result.verdict == probe.ESPS for result in report.results)
    verdict = "It speaks" if speaks else "Nothing there speaks"
    users = _count_users(report.scan.sockets)
    return f"Port {report.port} on {place} is used by {users}. {verdict} ESPS/1."


def _count_users(sockets: tuple[OpenSocket, ...]) -> str:
    if not sockets:
        return "a hidden process"
    pids = {open_socket.pid for open_socket in sockets}
    known = len(pids - {None})
    parts = [f"{known} process{'es' * (known != 1)}"] if known else []
    return " and ".join(parts + ["hidden processes"] * (None in pids))


def _socket_lines(open_socket: OpenSocket, results: list[ProbeResult]) -> list[str]:
    state = _STATES.get(open_socket.state, "is open")
    user = f"user {visible(open_socket.user)}" if open_socket.user else "user not visible"
    process = "process not visible"
    if open_socket.pid is not None:
        process = f"{visible(open_socket.program or '?')}, pid {open_socket.pid}"
    lines = [f"{_address(open_socket)} {state}", f"  {process}, {user}"]
    if open_socket.command:
        # Some command lines are pages long (a class path, say); the JSON has all of it.
        command = shorten(visible(shlex.join(open_socket.command)), _MAX_COMMAND)
        lines.append(f"  {command}")
    return [*lines, *(f"  {_describe(result)}" for result in results)]


def _is_from(result: ProbeResult, open_socket: OpenSocket) -> bool:
    probed = WILDCARDS.get(open_socket.host, open_socket.host)
    return (result.transport, result.host) == (open_socket.transport, probed)


def _address(at: ProbeResult | OpenSocket) -> str:
    return f"{at.transport.upper()} {host_port(at.host, at.port)}"


def _describe(result: ProbeResult) -> str:
    product = f": {result.product}" if result.product else ""
    verdict = {
        probe.ESPS: f"answers ESPS/1{product} ({result.seconds * 1000:.1f} ms)",
        probe.OTHER: "is something else",
        probe.SILENT: f"no reply in {result.seconds:.1f} s",
        probe.CLEAR: "nothing is listening",
        probe.UNREACHABLE: "could not be reached",
    }[result.verdict]
    message = f"; {result.message}" if result.message else ""
    excerpt = f': "{result.excerpt}"' if result.excerpt else ""
    return f"{verdict}{message}{excerpt}"


def _fact_lines(facts: PortFacts) -> list[str]:
    if facts.iana:
        transports = " and ".join(t.upper() for t in facts.iana.transports)
        iana = f"{facts.iana.name}, {transports}, registrant {facts.iana.registrant}"
    else:
        iana = "not looked up; see www.iana.org/assignments/service-names-port-numbers"
    services = ", ".join(f"{name} ({t})" for t, name in facts.services.items() if name)
    root = "needed" if facts.needs_root else "not needed"
    return [
        f"  IANA: {iana}",
        f"  range: {facts.range_name} ({facts.first}-{facts.last}); root {root} to bind it",
        f"  services database of this system: {services or 'no entry'}",
    ]


def _fold(line: str, width: int) -> list[str]:
    """Wrap a line that is too long at a space, and indent the lines after it."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
