"""The journal as text for a person: a line for each thing that was sent or done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from esps_portal.journal.records import (
    ABORTED,
    FAULTED,
    RECEIVED,
    REPLAYED,
    Entry,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
    RecordedUnit,
)
from esps_portal.journal.shown_bytes import EMPTY, shown_in_line, shown_in_lines
from esps_portal.protocol.escape import shorten, visible
from esps_portal.protocol.urls import host_port

if TYPE_CHECKING:
    from esps_portal.journal.journal import Journal

# Characters of a line of the protocol.
_MAX_LINE = 100
_ENDS = {"fin": "FIN", "rst": "RST"}


def transcript(journal: Journal, max_lines: int = sys.maxsize) -> str:
    """Return all that the journal holds: seconds, where, and what, a line each.

    Args:
        max_lines: lines in the middle are left out if there are more.
    """
    lines = list(transcript_lines(journal))
    if len(lines) > max_lines:
        head, tail = max_lines // 4, max_lines - max_lines // 4
        lines[head:-tail] = [f"          ({len(lines) - max_lines} lines are left out here)"]
    return "\n".join(lines) if lines else "          (nothing has happened)"


def transcript_lines(journal: Journal) -> Iterator[str]:
    """Yield these lines one by one; none if nothing has happened."""
    if journal.forgotten:
        yield f"          ({journal.forgotten} earlier requests are no longer kept)"
    for entry in journal.entries():
        yield from _lines(entry)


def _lines(entry: Entry) -> Iterator[str]:
    subject = entry.subject
    if isinstance(subject, RecordedConnection):
        yield _row(entry, f"tcp #{subject.number}", _about_connection(entry, subject))
        return
    if isinstance(subject, RecordedUnit):
        return  # it is the sinks' alone
    about = (
        _about_call(entry, subject)
        if isinstance(subject, RecordedCall)
        else _about_exchange(entry, subject)
    )
    for what in about:
        yield _row(entry, where(subject), what)


def where(subject: RecordedCall | RecordedExchange) -> str:
    """Return the connection of a request; over UDP the client's address."""
    if subject.transport == "tcp":
        return f"tcp #{subject.connection}"
    return f"udp {host_port(*subject.remote)}"


def describe_exchange(exchange: RecordedExchange) -> str:
    """Return what the client sent, in a line, and where; 0 is what the server sends first."""
    if not exchange.number:
        return f"{_in_line(exchange.reply, exchange.reply_size)} ({where(exchange)})"
    return f"{_in_line(exchange.request, exchange.request_size)} ({where(exchange)})"


def _about_exchange(entry: Entry, exchange: RecordedExchange) -> list[str]:
    if entry.event == RECEIVED:
        sent = _shown_bytes("-->", exchange.request, exchange.request_size)
        lines = sent if exchange.number else []
        has_row = exchange.ended is not None or exchange.answered is not None
        return lines if has_row else lines + _about_reply(entry, exchange)
    return _about_reply(entry, exchange)


def _about_reply(entry: Entry, exchange: RecordedExchange) -> list[str]:
    arrow = "<~~" if exchange.fault else "<--"
    lines = []
    if exchange.answered is not None:
        lines += _shown_bytes(arrow, exchange.reply, exchange.reply_size)
    elif entry.event == ABORTED:
        lines.append(f"    no reply{unreachable_text(exchange)}")
    if exchange.fault:
        lines.append(f"    fault: {exchange.fault}")
    if exchange.overlapped:
        lines.append("    overlapped: the client sent bytes while a reply was under way")
    return lines


def _shown_bytes(arrow: str, data: bytes, size: int) -> list[str]:
    """Return bytes as text in a line, or else as lines of hex; a long one says its size."""
    first, *others = shown_in_lines(data, _MAX_LINE) if size else [EMPTY]
    lines = [f"{arrow} {first}", *(f"    {line}" for line in others)]
    if size > _MAX_LINE:
        lines[-1] += f" ({size} bytes)"
    return lines


def _in_line(data: bytes, size: int) -> str:
    text = shown_in_line(data, _MAX_LINE) if size else EMPTY
    return f"{text} ({size} bytes)" if size > _MAX_LINE else text


def _row(entry: Entry, place: str, what: str) -> str:
    return f"{entry.at:9.3f} {place:<20} {what}"


def _about_connection(entry: Entry, connection: RecordedConnection) -> str:
    if entry.event == "opened":
        return f"opened by {host_port(*connection.remote)}"
    if entry.event == "kept":
        return f"open since before, by {host_port(*connection.remote)}"
    fault = f"; fault: {connection.fault}" if connection.fault else ""
    why = f"{connection_failure_text(connection)}{fault}"
    return f"closed by the {connection.closed_by} ({_ENDS[connection.how]}){why}"


def unreachable_text(subject: RecordedConnection | RecordedExchange) -> str:
    """Return that the upstream could not be reached, to be added to a line; empty if it was."""
    why = subject.unreachable
    return f": the upstream could not be reached: {visible(why)}" if why else ""


def connection_failure_text(connection: RecordedConnection) -> str:
    """Return why nothing passed on a connection, to be added to a line; empty: all was well."""
    why = connection.failed_handshake
    failed = f": the TLS handshake failed: {visible(why)}" if why else ""
    return f"{failed}{unreachable_text(connection)}"


def _about_call(entry: Entry, call: RecordedCall) -> Iterable[str]:
    if entry.event == RECEIVED:
        return [f"--> {_visible_line(call.data)}"]
    if entry.event == ABORTED and not call.sent:
        return [f"    {call.tag}: no reply"]
    arrow = "<~~" if entry.event == FAULTED else "<--"
    lines = [f"{arrow} {_visible_line(line)}" for line in call.sent.splitlines()]
    if call.left_out:
        lines.insert(0, f"    ({call.left_out} earlier bytes of the reply are no longer kept)")
    if call.fault:
        lines.append(f"    fault: {call.fault}")
    if entry.event == REPLAYED:
        lines.append("    the same request again: answered as before")
    return lines


def _visible_line(line: bytes) -> str:
    return shorten(visible(line.decode("ascii", "backslashreplace")), _MAX_LINE)
