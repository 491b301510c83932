"""Reads the exchanges of any protocol from a recording, as a peer replays them."""

from __future__ import annotations

import attrs

from esps_portal.journal.recording import BEGAN, RecordingError, read_events
from esps_portal.journal.values import (
    ScenarioError,
    ValueTable,
    read_bytes,
    read_text,
    wrong_value,
)
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The names that a journal has for the server's side of a connection.
_SERVERS = {"server", "peer", "portal"}
_ENDS = {"fin": "close", "rst": "reset"}


@attrs.define
class RecordedDialogue:
    """One exchange: what a client sent, and what the server replied.

    Attributes:
        transport: ``tcp`` or ``udp``.
        request: all that the client sent in it; empty: the server has sent first.
        replies: over UDP each datagram; over TCP what came, in parts.
        end: the server has ended the connection then: ``close`` or ``reset``; empty: it has not.
    """

    transport: str
    request: bytes = b""
    replies: list[bytes] = attrs.field(factory=list)
    end: str = ""


def read_dialogues(data: bytes) -> list[RecordedDialogue]:
    """Return the exchanges of a recording, in the order in which they began.

    Args:
        data: the whole file.

    Raises:
        RecordingError: it is not a recording, or a line but the last is broken.
    """
    found: list[RecordedDialogue] = []
    session = _Session(found)
    for number, event, table in read_events(data):
        try:
            if event == BEGAN:
                session = _Session(found)  # connections are numbered from 1 again
            elif event == "unit":
                session.take_unit(table)
            elif event == "closed":
                session.take_end(table)
        except ScenarioError as error:
            raise RecordingError(number, str(error)) from error
    return found


class _Session:
    """Puts the units of one session together."""

    def __init__(self, found: list[RecordedDialogue]) -> None:
        self._found = found
        self._dialogues: dict[tuple[str, int, int], RecordedDialogue] = {}
        self._last: dict[tuple[str, int], RecordedDialogue] = {}
        # The dialogue and the side whose last unit is not complete yet.
        self._continued: set[tuple[str, int, int, str]] = set()

    def take_unit(self, table: ValueTable) -> None:
        transport = table.required("transport", read_text)
        connection, exchange = (table.required(key, _number) for key in ("connection", "exchange"))
        key = transport, connection, exchange
        dialogue = self._dialogues.get(key)
        if dialogue is None:
            dialogue = self._dialogues[key] = RecordedDialogue(transport)
            self._found.append(dialogue)
        self._last[transport, connection] = dialogue
        sender = table.required("from", read_text)
        data = table.required("data", read_bytes)
        if sender == "client":
            dialogue.request += data
        elif (*key, sender) in self._continued:
            dialogue.replies[-1] += data
        else:
            dialogue.replies.append(data)
        continued = {(*key, sender)}
        if table.values.get("continues"):
            self._continued |= continued
        else:
            self._continued -= continued

    def take_end(self, table: ValueTable) -> None:
        if table.required("by", read_text) not in _SERVERS:
            return
        dialogue = self._last.get(("tcp", table.required("connection", _number)))
        if dialogue is not None:
            dialogue.end = _ENDS.get(table.required("how", read_text), "")


def _number(value: object, path: str) -> int:
    if type(value) is not int or value < 0:
        raise wrong_value(path, "an integer, 0 or more", value)
    return value
