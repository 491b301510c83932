r"""The access log: a line for each request, written when it has ended, for a person.

It is a sink of the journal. A line has the time, the client, the transport, the request, the
result, the duration, and the fault that struck, if any:

    12:03:44 127.0.0.1:50312 tcp CALL echo hi -> OK 0.2 ms
    12:03:45 127.0.0.1:50312 tcp CALL echo hi -> faulted (OK) 0.1 ms; fault: reset service=echo

An exchange of another protocol has the beginning of what the client sent, in quotes, the size of
the reply, and the time until its last byte was sent on, with what a fault has delayed it:

    12:03:46 127.0.0.1:50313 tcp "PING\r\n" -> 7 bytes 0.2 ms

What a client sent is escaped to printable ASCII, and shortened so that the line fits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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
    Subject,
)
from esps_portal.journal.transcript import connection_failure_text, unreachable_text
from esps_portal.protocol.escape import printable, shorten
from esps_portal.protocol.urls import host_port

# Characters of a request in a file, of an error code, and of a fault.
_MAX_REQUEST, _MAX_CODE, _MAX_FAULT = 200, 64, 120
# On a terminal a request gets the width less the rest of the line (with an IPv4 address and no
# fault), but at least this many characters.
_REST_OF_LINE, _MIN_REQUEST = 43, 30


class AccessLog:
    """Writes the lines; `write` is a sink of a journal.

    Args:
        write_line: called with each line, its LF included.
        columns: the width of the terminal; 0 (the default) for a file, whose lines have the date.
    """

    def __init__(self, write_line: Callable[[bytes], None], columns: int = 0) -> None:
        self._write_line = write_line
        self._time_format = "%H:%M:%S" if columns else "%Y-%m-%d %H:%M:%S"
        self._max_request = max(_MIN_REQUEST, columns - _REST_OF_LINE) if columns else _MAX_REQUEST

    def write(self, entry: Entry) -> None:
        """Write a line at the end of a request, or of a connection without requests."""
        line = access_line(entry, self._max_request)
        if line:
            now = time.strftime(self._time_format)
            self._write_line(f"{now} {line}\n".encode("ascii", "backslashreplace"))


def has_access_line(entry: Entry) -> bool:
    """Whether it is the end of a request, or of a connection that no request line shows."""
    subject = entry.subject
    if isinstance(subject, RecordedConnection):
        is_shown_by_requests = bool(subject.requests) and not subject.fault
        return subject.closed is not None and not is_shown_by_requests
    return not isinstance(subject, RecordedUnit) and entry.event != RECEIVED


def duration_of(subject: Subject) -> float:
    """Return how long a request has taken, or a connection, in seconds."""
    if isinstance(subject, RecordedCall):
        return (subject.ended or subject.received) - subject.received
    if isinstance(subject, RecordedConnection):
        return (subject.closed or 0) - subject.opened
    exchange = subject.exchange if isinstance(subject, RecordedUnit) else subject
    # It ends only when the client sends again, or goes.
    last = exchange.answered or exchange.ended or exchange.started
    return max(last, exchange.delivered or last) - exchange.started


def request_text(subject: Subject, max_length: int = _MAX_REQUEST) -> str:
    """Return what the client sent, escaped and shortened; empty for a connection."""
    if isinstance(subject, RecordedConnection):
        return ""
    if isinstance(subject, RecordedCall):
        return _escaped(_without_tag(subject), max_length)
    exchange = subject.exchange if isinstance(subject, RecordedUnit) else subject
    return _escaped(exchange.request, max_length)


def access_line(entry: Entry, max_request: int) -> str:
    """Return the line for an entry, without the time; empty if the entry has none.

    Args:
        entry: what the journal recorded.
        max_request: the maximum length of the request, in characters; a longer one is shortened.
    """
    subject = entry.subject
    if not has_access_line(entry) or isinstance(subject, RecordedUnit):
        return ""
    if isinstance(subject, RecordedCall):
        return _request_line(subject, max_request)
    if isinstance(subject, RecordedExchange):
        return _exchange_line(subject, max_request)
    return _connection_line(subject)


def _request_line(call: RecordedCall, max_request: int) -> str:
    duration = duration_of(call)
    request = f"{host_port(*call.remote)} {call.transport} {_request(call, max_request)}"
    # A fault of the reply has not struck if the call ended without a reply.
    fault = "" if call.state == ABORTED else call.fault
    return f"{request} -> {_result(call)} {duration * 1000:.1f} ms{_fault(fault)}"


def _exchange_line(exchange: RecordedExchange, max_request: int) -> str:
    duration = duration_of(exchange)
    sent = f'"{request_text(exchange, max_request)}"' if exchange.number else "(greeting)"
    start = f"{host_port(*exchange.remote)} {exchange.transport} {sent}"
    result = "no reply" if exchange.answered is None else f"{exchange.reply_size} bytes"
    if exchange.state == FAULTED:
        result = f"faulted ({result})"
    why = f"{unreachable_text(exchange)}{_fault(exchange.fault)}"
    return f"{start} -> {result} {duration * 1000:.1f} ms{why}"


def _connection_line(connection: RecordedConnection) -> str:
    requests = f"({connection.requests or 'no'} request{'s' * (connection.requests > 1)})"
    result = f"closed by {connection.closed_by} ({connection.how.upper()})"
    duration = duration_of(connection)
    start = f"{host_port(*connection.remote)} tcp {requests}"
    why = f"{connection_failure_text(connection)}{_fault(connection.fault)}"
    return f"{start} -> {result} {duration * 1000:.1f} ms{why}"


def _request(call: RecordedCall, max_length: int) -> str:
    """Return the request as it was sent, without its tag; in quotes if it is not a valid one."""
    text = request_text(call, max_length)
    return f'"{text}"' if call.request is None else text


def _without_tag(call: RecordedCall) -> bytes:
    """Return the line without tag and padding; the whole line if it is not a request."""
    if call.request is None:
        return call.data
    _, *parts = call.data.removesuffix(b"\r").split(b" ")
    if parts and parts[-1].startswith(b"#"):  # padding; no argument begins with #
        parts.pop()
    return b" ".join(parts)


def _result(call: RecordedCall) -> str:
    """Return the kind of the reply, or that there was none."""
    reply = f"ERR {_escaped(call.code.encode(), _MAX_CODE)}" if call.code else "OK"
    if call.state == FAULTED:
        return f"faulted ({reply})" if call.sent else "faulted"
    if call.state == REPLAYED:
        return f"{reply} (again)" if call.sent else "no reply (it still runs)"
    if call.state == ABORTED and not call.code:
        return "aborted" if call.sent else "no reply"
    return reply


def _fault(fault: str) -> str:
    return f"; fault: {_escaped(fault.encode(), _MAX_FAULT)}" if fault else ""


def _escaped(data: bytes, max_length: int) -> str:
    """Return bytes as at most ``max_length`` characters of printable ASCII."""
    return shorten(printable(data, max_length), max_length)
