"""What a server in the foreground reports as it goes: events, the access log, the program's log.

Events are for a program, on standard output. The rest is for a person, on standard error: the
access log too, so that standard output has nothing but what somebody asked for, and so that a
service's failure stands in the log beside the request that failed.
"""

from __future__ import annotations

import logging
import os
import sys

import attrs
import trio

from esps_portal.cli.access_log import AccessLog
from esps_portal.cli.events import Events
from esps_portal.cli.line_writer import LineWriter
from esps_portal.journal.journal import Journal
from esps_portal.journal.journal_json import plain_entry

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class ErrorLog(logging.Handler):
    """Logs on standard error: through ``writer`` while there is one, else at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: LineWriter | None = None
        self._direct = logging.StreamHandler()
        self.setFormatter(logging.Formatter(_FORMAT))
        self._direct.setFormatter(self.formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if self.writer is None or not trio.lowlevel.in_trio_run():
            self._direct.emit(record)
        else:
            self.writer.put(self.format(record).encode("utf-8", "backslashreplace") + b"\n")


def start_logging(level: str) -> ErrorLog:
    """Log on standard error, from a level on."""
    handler = ErrorLog()
    logging.basicConfig(level=level.upper(), handlers=[handler])
    return handler


@attrs.define
class Reports:
    """See the module.

    Attributes:
        events: what a program is told; ``None`` where none asked.
        has_request_events: every connection and request is an event as well.
        has_access_log: each request is a line on standard error.
    """

    events: Events | None
    has_request_events: bool
    has_access_log: bool
    _log: ErrorLog
    _errors: LineWriter

    @classmethod
    def of(cls, log: ErrorLog, *, as_json: bool, access_log: bool | None) -> Reports:
        """Decide what is reported.

        Args:
            as_json: a program reads standard output.
            access_log: report each request, to whoever reads; ``None``: to a program, and to a
                person where standard error is a terminal.
        """
        is_watched = not as_json and _is_terminal()
        errors = LineWriter(
            _descriptor(), lambda count: f"({count} lines are left out here)\n".encode()
        )
        return cls(
            events=Events() if as_json else None,
            has_request_events=as_json and access_log is not False,
            has_access_log=is_watched if access_log is None else access_log,
            log=log,
            errors=errors,
        )

    @property
    def needs_journal(self) -> bool:
        """Whether requests have to be noted; if not, the portal need not pay for that."""
        return self.has_request_events or self.has_access_log

    def watch(self, journal: Journal) -> None:
        """Report what a journal is about to note."""
        journal.start = trio.current_time()
        if self.events is not None and self.has_request_events:
            put = self.events.put
            journal.sinks.append(lambda entry: put(plain_entry(entry)))
        if self.has_access_log:
            journal.sinks.append(AccessLog(self._errors.put, _columns()).write)

    async def run(self) -> None:
        """Write what comes until `finish`, or until cancelled."""
        self._log.writer = self._errors
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._errors.run)
                if self.events is not None:
                    nursery.start_soon(self.events.run)
        finally:
            self._log.writer = None

    async def finish(self) -> None:
        """Wait until everything is written, but not indefinitely."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._errors.finish)
            if self.events is not None:
                nursery.start_soon(self.events.finish, {"event": "stopped"})


def _descriptor() -> int:
    return -1 if sys.stderr is None else sys.stderr.fileno()


def _columns() -> int:
    """Return the width of the terminal, 0 where there is none; 80 where it has none."""
    return (os.get_terminal_size(_descriptor()).columns or 80) if _is_terminal() else 0


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
