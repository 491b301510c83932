"""The contents of a journal as values for JSON."""

from __future__ import annotations

from typing import Any

from esps_portal.journal.records import (
    RECEIVED,
    Entry,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
    RecordedUnit,
)
from esps_portal.journal.values import bytes_to_value


def call_to_values(call: RecordedCall) -> dict[str, Any]:
    """Return a call of a service, with its outcome."""
    return {
        "service": call.service,
        "args": [bytes_to_value(arg) for arg in call.args],
        "transport": call.transport,
        "remote": list(call.remote),
        "connection": call.connection,
        "received": _seconds(call.received),
        "ended": _seconds_or_none(call.ended),
        "state": call.state,
        "code": call.code,
        "fault": call.fault,
        "tag": call.tag,
    }


def connection_to_values(connection: RecordedConnection) -> dict[str, Any]:
    """Return a TCP connection, with its end if it has ended."""
    return {
        "number": connection.number,
        "remote": list(connection.remote),
        "opened": _seconds(connection.opened),
        "closed": _seconds_or_none(connection.closed),
        "closed_by": connection.closed_by,
        "how": connection.how,
        "fault": connection.fault,
        "requests": connection.requests,
        "overlapped": connection.overlapped,
        "unreachable": connection.unreachable,
        "failed_handshake": connection.failed_handshake,
    }


def exchange_to_values(exchange: RecordedExchange) -> dict[str, Any]:
    """Return an exchange with what both sides have sent, as far as it is kept."""
    return {
        "connection": exchange.connection,
        "number": exchange.number,
        "transport": exchange.transport,
        "remote": list(exchange.remote),
        "request": bytes_to_value(exchange.request),
        "reply": bytes_to_value(exchange.reply),
        "request_size": exchange.request_size,
        "reply_size": exchange.reply_size,
        "complete": exchange.complete,
        "overlapped": exchange.overlapped,
        "fault": exchange.fault,
        "state": exchange.state,
        "started": _seconds(exchange.started),
        "ended": _seconds_or_none(exchange.ended),
        "unreachable": exchange.unreachable,
    }


def entry_to_values(entry: Entry) -> dict[str, Any]:
    """Return an entry: what happened, when, to whom, and the values of its kind."""
    head = {"event": entry.event, "at": _seconds(entry.at)}
    if isinstance(entry.subject, RecordedConnection):
        return head | _connection(entry.event, entry.subject)
    if isinstance(entry.subject, RecordedCall):
        return head | _request(entry.event, entry.subject)
    return head | _exchange(entry.subject)


def _exchange(subject: RecordedExchange | RecordedUnit) -> dict[str, Any]:
    exchange = subject.exchange if isinstance(subject, RecordedUnit) else subject
    values: dict[str, Any] = {
        "transport": exchange.transport,
        "remote": list(exchange.remote),
        "connection": exchange.connection,
        "exchange": exchange.number,
    }
    if isinstance(subject, RecordedUnit):
        values |= {"from": subject.sender, "data": bytes_to_value(subject.data)}
        return values | {"continues": True} if subject.continues else values
    return values | {
        "request_size": exchange.request_size,
        "reply_size": exchange.reply_size,
        "complete": exchange.complete,
        "overlapped": exchange.overlapped,
        "fault": exchange.fault,
        **_unreachable(exchange),
    }


def _connection(event: str, connection: RecordedConnection) -> dict[str, Any]:
    values: dict[str, Any] = {
        "transport": "tcp",
        "remote": list(connection.remote),
        "connection": connection.number,
    }
    if event == "closed":
        values |= {
            "by": connection.closed_by,
            "how": connection.how,
            "fault": connection.fault,
            **_unreachable(connection),
            **_failed_handshake(connection),
        }
    return values


def _unreachable(subject: RecordedConnection | RecordedExchange) -> dict[str, Any]:
    return {"unreachable": subject.unreachable} if subject.unreachable else {}


def _failed_handshake(connection: RecordedConnection) -> dict[str, Any]:
    why = connection.failed_handshake
    return {"failed_handshake": why} if why else {}


def _request(event: str, call: RecordedCall) -> dict[str, Any]:
    values: dict[str, Any] = {
        "transport": call.transport,
        "remote": list(call.remote),
        "connection": call.connection,
        "tag": call.tag,
        "verb": call.verb,
        "service": call.service,
    }
    if event == RECEIVED:
        if call.request is None:
            # Not a request: there is only the line.
            return values | {"line": bytes_to_value(call.data)}
        return values | {"args": [bytes_to_value(arg) for arg in call.args]}
    return values | {"code": call.code, "fault": call.fault}


def _seconds(time: float) -> float:
    """Round to microseconds: further digits of a float are noise."""
    return round(time, 6)


def _seconds_or_none(time: float | None) -> float | None:
    return None if time is None else _seconds(time)
