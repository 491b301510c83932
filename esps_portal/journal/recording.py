"""A recording: a journal as JSON lines, written and read.

The first line is ``{"event": "began", ...}``; then comes a line for each entry of the journal. A
request has two: one when it came, and one when it ended, which is enough to replay it. A recording
may be continued later, with another first line. Bytes that are not text are ``{"b64": "..."}``.

For any other protocol a recording has a line for each unit: ``from`` client or server, the numbers
of ``connection`` and ``exchange``, and its ``data``. A long unit is several lines, all but the last
with ``"continues": true``. Another line ends the exchange: its outcome, sizes and fault. In file
order, the units of one side of a connection are all the bytes that this side has sent.

A process that is killed may leave its last line incomplete; a reader drops that line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import attrs

from esps_portal.journal.journal_json import entry_to_values
from esps_portal.journal.records import RECEIVED, REPLAYED, Entry, RecordedCall
from esps_portal.journal.values import (
    BYTE_ORDER_MARK,
    ScenarioError,
    ValueTable,
    bytes_to_value,
    read_bool,
    read_bytes,
    read_json,
    read_list,
    read_positive_integer,
    read_text,
)
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import DATA, ERR, Reply, parse_answer_untrusted
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The version of the format; no other is read.
FORMAT = 1
BEGAN = "began"
# The states of a request that has a reply; an aborted one has none.
_ANSWERED = ("replied", "faulted", REPLAYED)


class RecordingError(ValueError):
    """A recording cannot be read or replayed.

    Attributes:
        line: the number of the line, from 1; 0 for the recording as a whole.
        message: what is wrong with it.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(line, message)
        self.line = line
        self.message = message

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@attrs.frozen
class RecordedAnswer:
    """A call of a service, with its reply.

    Attributes:
        line: the number of its line in the recording, from 1.
        number: of the call, in the order in which the calls came.
        client: transport, address and port, and tag.
        replayed: the same request came again, over UDP.
        rows: the arguments of its DATA lines.
        final: the final reply.
    """

    line: int
    number: int
    client: tuple[str, str, str]
    replayed: bool
    service: bytes
    args: tuple[bytes, ...]
    rows: tuple[tuple[bytes, ...], ...]
    final: Reply

    @property
    def code(self) -> str:
        """The error code of the reply; empty for none."""
        return self.final.args[0].decode() if self.final.kind == ERR else ""


# ---- writing -----------------------------------------------------------------------------------


def began_line(time: str, product: str) -> bytes:
    """Return the first line, with its LF.

    Args:
        time: as ISO 8601 in UTC; the other lines have seconds since then.
    """
    return _line({"event": BEGAN, "time": time, "product": product, "format": FORMAT})


def entry_line(entry: Entry) -> bytes:
    """Return the line for an entry, with its LF."""
    values = entry_to_values(entry)
    call = entry.subject
    if not isinstance(call, RecordedCall):
        return _line(values)
    values["number"] = call.order_received
    service = call.request.service if call.request else None
    values["service"] = bytes_to_value(service or b"")  # as bytes: it may not be text
    values["args"] = [bytes_to_value(arg) for arg in call.args]
    values["line"] = bytes_to_value(call.data)
    values["state"] = entry.event
    if entry.event != RECEIVED:
        *lines, rest = call.sent.split(b"\n")
        values["sent"] = [bytes_to_value(line) for line in (*lines, *([rest] if rest else []))]
        if rest or call.left_out:
            values["cut"] = True  # the last line has no LF, or earlier ones are no longer kept
    return _line(values)


def _line(values: dict[str, object]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


# ---- reading -----------------------------------------------------------------------------------


_BOM = BYTE_ORDER_MARK.encode()
_NO_RECORDING = f'not a recording: its first line must be {{"event": "{BEGAN}", ...}}'


def is_recording(first_line: bytes) -> bool:
    """Whether a file with this first line, its LF included, is a recording."""
    try:
        _check_began(read_json(first_line.removeprefix(_BOM)))
    except ScenarioError:
        return False
    return first_line.endswith(b"\n")


def read_recording(data: bytes) -> list[RecordedAnswer]:
    """Return the calls that have a reply, in the order in which they came.

    Args:
        data: the whole file.

    Raises:
        RecordingError: it is not a recording, or a line but the last is broken.
    """
    answers: list[RecordedAnswer] = []
    session: list[RecordedAnswer] = []  # since the last `began`, where numbers start again
    for number, event, table in read_events(data):
        try:
            if event == BEGAN:
                answers += sorted(session, key=lambda answer: answer.number)
                session.clear()
            elif event in _ANSWERED:
                session += _answers(number, table, replayed=event == REPLAYED)
        except ScenarioError as error:
            raise RecordingError(number, str(error)) from error
    return answers + sorted(session, key=lambda answer: answer.number)


def read_events(data: bytes) -> Iterator[tuple[int, str, ValueTable]]:
    """Yield the number, from 1, the event and all values of each line; not an incomplete last one.

    Raises:
        RecordingError: it is not a recording, or a line but the last is broken.
    """
    lines = data.removeprefix(_BOM).split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise RecordingError(1, "not a recording: it is empty")
    for number, line in enumerate(lines, 1):
        try:
            value = read_json(line)
        except ScenarioError as error:
            if 1 < number == len(lines):
                return
            message = str(error) if number > 1 else _NO_RECORDING
            raise RecordingError(number, message) from error
        try:
            if number == 1:
                _check_began(value)
            table = ValueTable.of(value, "", None)
            event = table.required("event", read_text)
            if event == BEGAN:
                _check_began(value)
        except ScenarioError as error:
            raise RecordingError(number, str(error)) from error
        yield number, event, table


def _check_began(value: object) -> None:
    """Check the first line of a recording.

    Raises:
        ScenarioError: it is not the first line of a recording, or of another version.
    """
    if not isinstance(value, dict) or value.get("event") != BEGAN:
        raise ScenarioError("", _NO_RECORDING)
    version = ValueTable(value, "").required("format", read_positive_integer)
    if version != FORMAT:
        raise ScenarioError("format", f"must be {FORMAT}, got {version}")


def _answers(line: int, table: ValueTable, *, replayed: bool) -> list[RecordedAnswer]:
    """Return the call with its reply that a line describes, if it describes one."""
    if table.get("verb", read_text, "") != "CALL" or table.get("cut", read_bool, default=False):
        return []
    service = table.required("service", read_bytes)
    args = table.required("args", partial(read_list, read_bytes))
    sent = table.required("sent", partial(read_list, read_bytes))
    replies = _replies(sent, table.required("tag", read_text).encode())
    if not service or not replies:
        return []
    transport = table.required("transport", read_text)
    remote = json.dumps(table.values.get("remote"))
    client = (transport, remote, table.required("tag", read_text))
    *rows, final = replies
    return [
        RecordedAnswer(
            line=line,
            number=table.required("number", read_positive_integer),
            client=client,
            replayed=replayed,
            service=service,
            args=args,
            rows=tuple(row.args for row in rows),
            final=final,
        )
    ]


def _replies(lines: tuple[bytes, ...], tag: bytes) -> list[Reply]:
    """Return the lines of a reply: DATA lines and the final one; empty if they are none."""
    replies = []
    for line in lines:
        try:
            reply = parse_answer_untrusted(line)
        except ProtocolError:
            return []
        if not isinstance(reply, Reply) or reply.tag != tag:
            return []
        replies.append(reply)
    kinds = [reply.kind for reply in replies]
    is_complete = kinds and kinds[-1] != DATA and all(kind == DATA for kind in kinds[:-1])
    return replies if is_complete else []
