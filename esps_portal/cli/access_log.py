"""The access log: a line for each request, written when it has ended, for a person.

It is a sink of the journal. A line has the time, the client, the transport, the request, how it
ended, how long that took, and the fault that hit it:

    12:03:44 127.0.0.1:50312 tcp CALL echo hi -> OK 0.2 ms
    12:03:45 127.0.0.1:50312 tcp CALL echo hi -> faulted (OK) 0.1 ms; fault: reset service=echo

Of what a client sent nothing is shown but visible ASCII, and not more than fits a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from esps_portal.inspection.tool_tables import bracketed
from esps_portal.journal.records import (
    ABORTED,
    FAULTED,
    RECEIVED,
    REPLAYED,
    Entry,
    RecordedCall,
    RecordedConnection,
)
from esps_portal.protocol.escape import printable

# Characters of a request, in a file.
_LONGEST_REQUEST = 200
# What the rest of a line takes on a terminal, with an IPv4 address and no fault; and the least.
_REST, _LEAST = 43, 30
_LONGEST_CODE = 64
_LONGEST_FAULT = 120


class AccessLog:
    """Writes the lines; `write` is a sink of a journal.

    Args:
        put: takes each line, with its LF.
        columns: the width of the terminal; 0 in a file, whose lines have the date too.
    """

    def __init__(self, put: Callable[[bytes], None], columns: int = 0) -> None:
        self._put = put
        self._time_format = "%H:%M:%S" if columns else "%Y-%m-%d %H:%M:%S"
        self._longest = max(_LEAST, columns - _REST) if columns else _LONGEST_REQUEST

    def write(self, entry: Entry) -> None:
        """Write a line, if this is the end of a request, or of a connection without one."""
        line = access_line(entry, self._longest)
        if line:
            now = time.strftime(self._time_format)
            self._put(f"{now} {line}\n".encode("ascii", "backslashreplace"))


def access_line(entry: Entry, longest: int) -> str:
    """Return the line for an entry, without the time; empty where it is not worth one.

    Args:
        longest: characters of the request; a longer one is cut.
    """
    subject = entry.subject
    if isinstance(subject, RecordedCall):
        return "" if entry.event == RECEIVED else _request_line(subject, longest)
    if subject.closed is None or (subject.requests and not subject.fault):
        return ""  # its requests have told what there is to tell
    return _connection_line(subject)


def _request_line(call: RecordedCall, longest: int) -> str:
    took = (call.ended or call.received) - call.received
    shown = f"{_client(call.remote)} {call.transport} {_request(call, longest)}"
    # One that was to hit a call's reply has not struck where the call ended without one.
    struck = "" if call.state == ABORTED else call.fault
    return f"{shown} -> {_result(call)} {took * 1000:.1f} ms{_fault(struck)}"


def _connection_line(connection: RecordedConnection) -> str:
    asked = f"({connection.requests or 'no'} request{'s' * (connection.requests > 1)})"
    result = f"closed by {connection.closed_by} ({connection.how.upper()})"
    took = (connection.closed or 0) - connection.opened
    shown = f"{_client(connection.remote)} tcp {asked}"
    return f"{shown} -> {result} {took * 1000:.1f} ms{_fault(connection.fault)}"


def _client(remote: tuple[str, int]) -> str:
    host, port = remote
    return f"{bracketed(host)}:{port}"


def _request(call: RecordedCall, longest: int) -> str:
    """Return the request as it came, without its tag; in quotes where it is not one."""
    if call.request is None:
        return f'"{_shown(call.data, longest)}"'
    _, *words = call.data.removesuffix(b"\r").split(b" ")
    if words and words[-1].startswith(b"#"):  # padding, which no argument begins with
        words.pop()
    return _shown(b" ".join(words), longest)


def _result(call: RecordedCall) -> str:
    """Return how it ended: the reply, or that there was none."""
    reply = f"ERR {_shown(call.code.encode(), _LONGEST_CODE)}" if call.code else "OK"
    if call.state == FAULTED:
        return f"faulted ({reply})" if call.sent else "faulted"
    if call.state == REPLAYED:
        return f"{reply} (again)" if call.sent else "no reply (it still runs)"
    if call.state == ABORTED and not call.code:
        return "aborted" if call.sent else "no reply"
    return reply


def _fault(fault: str) -> str:
    return f"; fault: {_shown(fault.encode(), _LONGEST_FAULT)}" if fault else ""


def _shown(data: bytes, longest: int) -> str:
    """Return bytes as at most so many characters of visible ASCII."""
    text = printable(data, longest)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
