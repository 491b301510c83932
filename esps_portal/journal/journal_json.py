"""What a journal holds as plain values, for JSON."""

from __future__ import annotations

from typing import Any

from esps_portal.journal.records import RECEIVED, Entry, RecordedCall, RecordedConnection
from esps_portal.journal.values import plain_octets


def plain_call(call: RecordedCall) -> dict[str, Any]:
    """Return a call of a service and its outcome."""
    return {
        "service": call.service,
        "args": [plain_octets(arg) for arg in call.args],
        "transport": call.transport,
        "remote": list(call.remote),
        "connection": call.connection,
        "received": _seconds(call.received),
        "ended": None if call.ended is None else _seconds(call.ended),
        "state": call.state,
        "code": call.code,
        "fault": call.fault,
        "tag": call.tag,
    }


def plain_entry(entry: Entry) -> dict[str, Any]:
    """Return one thing that happened: what, when, to whom, and what only this kind has."""
    head = {"event": entry.event, "at": _seconds(entry.at)}
    if isinstance(entry.subject, RecordedConnection):
        return head | _connection(entry.event, entry.subject)
    return head | _request(entry.event, entry.subject)


def _connection(event: str, connection: RecordedConnection) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "transport": "tcp",
        "remote": list(connection.remote),
        "connection": connection.number,
    }
    if event == "closed":
        plain |= {
            "by": connection.closed_by,
            "how": connection.how,
            "fault": connection.fault,
        }
    return plain


def _request(event: str, call: RecordedCall) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "transport": call.transport,
        "remote": list(call.remote),
        "connection": call.connection,
        "tag": call.tag,
        "verb": call.verb,
        "service": call.service,
    }
    if event == RECEIVED:
        if call.request is None:
            # No request of the protocol: what came is all there is to tell.
            return plain | {"line": plain_octets(call.data)}
        return plain | {"args": [plain_octets(arg) for arg in call.args]}
    return plain | {"code": call.code, "fault": call.fault}


def _seconds(time: float) -> float:
    """Return a time to the microsecond: what a float has beyond is noise."""
    return round(time, 6)
