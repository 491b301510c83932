"""The journal as a picture for a person: who sent what when, a line each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import (
    ABORTED,
    FAULTED,
    RECEIVED,
    REPLAYED,
    Entry,
    RecordedCall,
    RecordedConnection,
)

# Characters shown of a line.
_SHOWN = 100
_ENDS = {"fin": "FIN", "rst": "RST"}


def transcript(journal: Journal, most: int = sys.maxsize) -> str:
    """Return everything that the journal holds, a line for each thing that was sent or done.

    Args:
        most: lines; of more than that the middle is left out.
    """
    lines = [line for entry in journal.entries() for line in _lines(entry)]
    if journal.forgotten:
        lines.insert(0, f"          ({journal.forgotten} earlier requests are no longer kept)")
    if len(lines) > most:
        head, tail = most // 4, most - most // 4
        lines[head:-tail] = [f"          ({len(lines) - most} lines are left out here)"]
    return "\n".join(lines) if lines else "          (nothing has happened)"


def _lines(entry: Entry) -> Iterator[str]:
    subject = entry.subject
    if isinstance(subject, RecordedConnection):
        yield _row(entry, f"tcp #{subject.number}", _about_connection(entry, subject))
        return
    for what in _about_call(entry, subject):
        yield _row(entry, where(subject), what)


def where(call: RecordedCall) -> str:
    """Return where a request came in: on which connection, or from whom over UDP."""
    return f"tcp #{call.connection}" if call.connection else f"udp {_remote(call.remote)}"


def _row(entry: Entry, place: str, what: str) -> str:
    return f"{entry.at:9.3f} {place:<20} {what}"


def _about_connection(entry: Entry, connection: RecordedConnection) -> str:
    if entry.event == "opened":
        return f"opened by {_remote(connection.remote)}"
    if entry.event == "kept":
        return f"open since before, by {_remote(connection.remote)}"
    fault = f"; fault: {connection.fault}" if connection.fault else ""
    return f"closed by the {connection.closed_by} ({_ENDS[connection.how]}){fault}"


def _about_call(entry: Entry, call: RecordedCall) -> Iterable[str]:
    if entry.event == RECEIVED:
        return [f"--> {_shown(call.data)}"]
    if entry.event == ABORTED and not call.sent:
        return [f"    {call.tag}: no answer"]
    arrow = "<~~" if entry.event == FAULTED else "<--"
    lines = [f"{arrow} {_shown(line)}" for line in call.sent.splitlines()]
    if call.fault:
        lines.append(f"    fault: {call.fault}")
    if entry.event == REPLAYED:
        lines.append("    the same request again: answered as before")
    return lines


def _shown(line: bytes) -> str:
    text = line.decode("ascii", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _remote(remote: tuple[str, int]) -> str:
    host, port = remote
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
