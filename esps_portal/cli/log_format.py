r"""How lines on standard error look: as text for a person, or each as a JSON object for a program.

A JSON object has the time (UTC), the level and the name of the logger. A line of the program's log
has a ``message`` (and an ``exception``, a traceback); one of the access log has the keys of the
event that ``--json`` prints for the same thing, with the request as text and its duration::

    {"time": "2026-11-27T12:03:44.123Z", "level": "info", "logger": "esps_portal.access",
     "event": "replied", "transport": "tcp", "verb": "CALL", "service": "echo", "code": "",
     "request": "CALL echo hi", "ms": 0.2, ...}

JSON is ASCII: whatever a client has sent, no byte of it reaches a terminal as it is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from esps_portal.cli.access_log import AccessLog, duration_of, has_access_line, request_text
from esps_portal.journal.journal_json import entry_to_values
from esps_portal.journal.records import Entry
from esps_portal.protocol.escape import visible_lines

if TYPE_CHECKING:
    from esps_portal.journal.journal import Sink

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# The attribute of a log record that has more keys for its JSON object: `logging`'s ``extra``.
_VALUES = "values"
WriteLine = Callable[[bytes], None]


class LogFormat(Protocol):
    """A format of lines on standard error."""

    @property
    def formatter(self) -> logging.Formatter:
        """What formats the program's log."""

    def access_log(self, write_line: WriteLine, columns: int) -> Sink:
        """Return a sink of a journal that writes a line for each request.

        Args:
            columns: of the terminal; 0 for a file.
        """

    def dropped(self, count: int) -> bytes:
        """Return the line that reports how many lines were dropped."""


class _VisibleFormatter(logging.Formatter):
    """Escapes what a terminal would not show: the error of a service may quote its client."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


class TextLog:
    """Lines for a person."""

    def __init__(self) -> None:
        self.formatter: logging.Formatter = _VisibleFormatter(_TEXT)

    def access_log(self, write_line: WriteLine, columns: int) -> Sink:
        """Return a sink that writes a line of text for each request."""
        return AccessLog(write_line, columns).write

    def dropped(self, count: int) -> bytes:
        """Return how many lines were dropped, as text."""
        return f"({count} lines dropped)\n".encode()


class JsonLog:
    """Lines for a program: JSON Lines."""

    def __init__(self) -> None:
        self.formatter: logging.Formatter = _JsonFormatter()

    def access_log(self, write_line: WriteLine, columns: int) -> Sink:
        """Return a sink that writes an object for each request."""
        del columns  # an object is not shortened

        def write(entry: Entry) -> None:
            if has_access_line(entry):
                write_line(_line("info", "esps_portal.access", _access_values(entry)) + b"\n")

        return write

    def dropped(self, count: int) -> bytes:
        """Return how many lines were dropped, as the event of ``--json`` says it."""
        values = {"event": "lost", "count": count}
        return _line("warning", "esps_portal", values) + b"\n"


#: By the name that --log-format takes.
LOG_FORMATS: dict[str, Callable[[], LogFormat]] = {"text": TextLog, "json": JsonLog}


def with_values(**values: object) -> dict[str, dict[str, object]]:
    """Return the ``extra`` of a log record that adds keys to its JSON object."""
    return {_VALUES: values}


class _JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, object] = {"message": record.getMessage(), **getattr(record, _VALUES, {})}
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return _line(record.levelname.lower(), record.name, values, record.created).decode()


def _line(level: str, logger: str, values: Mapping[str, object], at: float | None = None) -> bytes:
    """Return an object; ``at``: seconds since 1970, by default now."""
    seconds, milliseconds = divmod(int((time.time() if at is None else at) * 1000), 1000)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    head = {"time": f"{date}.{milliseconds:03}Z", "level": level, "logger": logger}
    return json.dumps(head | dict(values)).encode()


def _access_values(entry: Entry) -> dict[str, object]:
    duration = round(duration_of(entry.subject) * 1000, 3)
    return entry_to_values(entry) | {"request": request_text(entry.subject), "ms": duration}
