"""A recording: what happened to a portal, or passed through a proxy, as JSON lines; and back.

It begins with ``{"event": "began", ...}``; then a line for each entry of the journal. A request
has two: one as it came, and one as it ended, which alone is enough to replay it. More may be
appended to it later, which begins again. Octets that are not text are ``{"b64": "..."}``.

A program that is killed leaves at most its last line broken; that one is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import attrs

from esps_portal.journal.journal_json import plain_entry
from esps_portal.journal.records import RECEIVED, REPLAYED, Entry, RecordedCall
from esps_portal.journal.values import (
    ScenarioError,
    Table,
    plain_octets,
    read_count,
    read_json,
    read_octets,
    read_row,
    read_text,
    read_truth,
)
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import DATA, ERR, Reply, parse_answer_untrusted
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The format that `began_line` announces; no other is read.
FORMAT = 1
BEGAN = "began"
# How a request ends that was answered; what was aborted has no answer to give.
_ANSWERED = ("replied", "faulted", REPLAYED)


class RecordingError(ValueError):
    """A recording cannot be read or replayed.

    Attributes:
        line: the number of the line, from 1 on.
        message: what is wrong with it.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(line, message)
        self.line = line
        self.message = message

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@attrs.frozen
class RecordedAnswer:
    """A call of a service that was answered.

    Attributes:
        line: the number of its line in the recording.
        number: tells calls from one another, in the order in which they came.
        client: who called: transport, host, port and tag.
        replayed: it was the same request again, over UDP.
        rows: the arguments of its DATA lines.
        final: its last line.
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
        """The error code that it was answered with; empty for none."""
        return self.final.args[0].decode() if self.final.kind == ERR else ""


# ---- writing -----------------------------------------------------------------------------------


def began_line(time: str, product: str) -> bytes:
    """Return the first line, with its LF.

    Args:
        time: when, as ISO 8601 in UTC; the other lines tell seconds since then.
    """
    return _line({"event": BEGAN, "time": time, "product": product, "format": FORMAT})


def entry_line(entry: Entry) -> bytes:
    """Return the line for one thing that happened, with its LF."""
    plain = plain_entry(entry)
    call = entry.subject
    if not isinstance(call, RecordedCall):
        return _line(plain)
    plain["number"] = call.order_received
    plain["service"] = plain_octets(_service(call))
    plain["args"] = [plain_octets(arg) for arg in call.args]
    plain["line"] = plain_octets(call.data)
    plain["state"] = entry.event
    if entry.event != RECEIVED:
        *lines, rest = call.sent.split(b"\n")
        plain["sent"] = [plain_octets(line) for line in (*lines, *([rest] if rest else []))]
        if rest:
            plain["cut"] = True  # the last line has no LF
    return _line(plain)


def _service(call: RecordedCall) -> bytes:
    """Return the name of the service as it came, text or not."""
    request = call.request
    return request.args[0] if request and request.verb == b"CALL" and request.args else b""


def _line(plain: dict[str, object]) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


# ---- reading -----------------------------------------------------------------------------------


def is_recording(first_line: bytes) -> bool:
    """Whether a file with this first line, its LF included, is one that may be appended to."""
    try:
        _check_began(read_json(first_line))
    except ScenarioError:
        return False
    return first_line.endswith(b"\n")


def read_recording(octets: bytes) -> list[RecordedAnswer]:
    """Return the calls that were answered, in the order in which they came.

    Raises:
        RecordingError: it is not a recording, or a line of it that is not its last is broken.
    """
    answers: list[RecordedAnswer] = []
    sitting: list[RecordedAnswer] = []  # numbers begin again where a line says `began`
    number = 0
    for number, plain in _values(octets):
        try:
            event = Table.of(plain, "", None).required("event", read_text)
            if number == 1 or event == BEGAN:
                _check_began(plain)
                answers += sorted(sitting, key=lambda answer: answer.number)
                sitting.clear()
            elif event in _ANSWERED:
                sitting += _answers(number, Table.of(plain, "", None), replayed=event == REPLAYED)
        except ScenarioError as error:
            raise RecordingError(number, str(error)) from error
    if number == 0:
        raise RecordingError(1, "no recording: there is nothing in it")
    return answers + sorted(sitting, key=lambda answer: answer.number)


def _values(octets: bytes) -> Iterator[tuple[int, object]]:
    """Yield each line's number and value; of the last one only if it is whole."""
    lines = octets.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            value = read_json(line)
        except ScenarioError as error:
            if number == len(lines):
                return
            raise RecordingError(number, str(error)) from error
        yield number, value


def _check_began(plain: object) -> None:
    """Raise `ScenarioError` where a value does not begin a recording that can be read."""
    if not isinstance(plain, dict) or plain.get("event") != BEGAN:
        raise ScenarioError("", f'no recording: one begins with {{"event": "{BEGAN}", ...}}')
    version = Table(plain, "").required("format", read_count)
    if version != FORMAT:
        raise ScenarioError("format", f"{FORMAT} is known, not {version}")


def _answers(line: int, table: Table, *, replayed: bool) -> list[RecordedAnswer]:
    """Return the answered call that a line describes, if it describes one."""
    if table.get("verb", read_text, "") != "CALL" or table.get("cut", read_truth, default=False):
        return []
    service = table.required("service", read_octets)
    args = table.required("args", lambda plain, path: read_row(read_octets, plain, path))
    sent = table.required("sent", lambda plain, path: read_row(read_octets, plain, path))
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
            number=table.required("number", read_count),
            client=client,
            replayed=replayed,
            service=service,
            args=args,
            rows=tuple(row.args for row in rows),
            final=final,
        )
    ]


def _replies(lines: tuple[bytes, ...], tag: bytes) -> list[Reply]:
    """Return an answer's lines: DATA, then the final one; nothing if they are not an answer."""
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
    whole = kinds and kinds[-1] != DATA and all(kind == DATA for kind in kinds[:-1])
    return replies if whole else []
