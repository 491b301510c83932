"""What a server in the foreground reports: events, the access log, and the program's log.

Events are for a program, on standard output. The logs are for a person, on standard error: both of
them, so that an error of a service is next to the request that failed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from esps_portal.cli.events import Events
from esps_portal.cli.line_writer import LineWriter
from esps_portal.cli.log_format import LOG_FORMATS, LogFormat, with_values
from esps_portal.cli.output import is_stderr_terminal
from esps_portal.journal.journal_json import entry_to_values
from esps_portal.log import log

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.journal import Journal, Sink


class ErrorLog(logging.Handler):
    """Logs on standard error: through ``writer`` if there is one, otherwise directly.

    Args:
        log_format: of the lines, also of the access log beside it.
    """

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self.writer: LineWriter | None = None
        self.log_format = log_format
        self._direct = logging.StreamHandler()
        self.setFormatter(log_format.formatter)
        self._direct.setFormatter(self.formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write or queue a record."""
        if self.writer is None or not trio.lowlevel.in_trio_run():
            self._direct.emit(record)
        else:
            self.writer.put(self.format(record).encode("utf-8", "backslashreplace") + b"\n")


def start_logging(level: str, log_format: str) -> ErrorLog:
    """Log on standard error, at this level and above, in one of `LOG_FORMATS`."""
    handler = ErrorLog(LOG_FORMATS[log_format]())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    return handler


@attrs.define
class Reports:
    """The events and logs of one server.

    Attributes:
        events: for a program; ``None`` without --json.
        has_request_events: whether each connection and request is an event.
        has_access_log: whether each request is a line on standard error.
    """

    events: Events | None
    has_request_events: bool
    has_access_log: bool
    _log: ErrorLog
    _errors: LineWriter
    # For each writer what removes its sink.
    _unwatch: dict[Events | LineWriter, Callable[[], None]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, log: ErrorLog, *, as_json: bool, access_log: bool | None) -> Reports:
        """Decide what is reported.

        Args:
            log: the handler that `start_logging` returned.
            as_json: write events to standard output, for a program.
            access_log: whether to report each request, as an event or in the log. ``None``: as an
                event, and in the log if standard error is a terminal.
        """
        for_person = not as_json and is_stderr_terminal()
        errors = LineWriter(_stderr_fd(), log.log_format.dropped)
        return cls(
            events=Events() if as_json else None,
            has_request_events=as_json and access_log is not False,
            has_access_log=for_person if access_log is None else access_log,
            log=log,
            errors=errors,
        )

    @property
    def needs_journal(self) -> bool:
        """Whether requests are reported; if not, the portal can do without a journal."""
        return self.has_request_events or self.has_access_log

    def watch(self, journal: Journal) -> None:
        """Report what a journal records from now on."""
        journal.start = trio.current_time()
        if self.events is not None and self.has_request_events:
            put = self.events.put
            self._add_sink(journal, lambda entry: put(entry_to_values(entry)), self.events)
        if self.has_access_log:
            write = self._log.log_format.access_log(self._errors.put, _terminal_width())
            self._add_sink(journal, write, self._errors)

    def report_seed(self, fault: Fault) -> None:
        """Report the seed of a random fault, which is needed to reproduce it."""
        if fault.seed is None:
            return
        event: dict[str, object] = {"event": "fault", "fault": str(fault), "seed": fault.seed}
        if self.events is None:
            extra = with_values(**event)
            log.info("random fault: %s", fault, extra=extra)
        else:
            self.events.put(event)

    def _add_sink(self, journal: Journal, sink: Sink, writer: Events | LineWriter) -> None:
        journal.sinks.append(sink)
        self._unwatch[writer] = partial(journal.remove_sink, sink)

    async def run(self) -> None:
        """Write events and logs until `finish`, or until cancelled."""
        self._log.writer = self._errors
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, self._errors)
                if self.events is not None:
                    nursery.start_soon(self._run, self.events)
        finally:
            self._log.writer = None

    async def _run(self, writer: Events | LineWriter) -> None:
        await writer.run()
        # If its reader has gone, the requests to come need not be formatted for it.
        unwatch = self._unwatch.pop(writer, None)
        if unwatch is not None:
            unwatch()

    async def finish(self) -> None:
        """Write the event "stopped", and wait at most a second until all is written."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._errors.finish)
            if self.events is not None:
                nursery.start_soon(self.events.finish, {"event": "stopped"})


def _stderr_fd() -> int:
    return -1 if sys.stderr is None else sys.stderr.fileno()


def _terminal_width() -> int:
    """Return the width of the terminal: 0 without a terminal, 80 if its width is unknown."""
    return (os.get_terminal_size(_stderr_fd()).columns or 80) if is_stderr_terminal() else 0
