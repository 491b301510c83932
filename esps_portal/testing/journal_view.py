"""A journal as a test reads it, from another thread or from this one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from esps_portal.journal.journal import Journal
from esps_portal.journal.record_file import RecordFile
from esps_portal.journal.records import Entry, RecordedConnection
from esps_portal.journal.transcript import transcript
from esps_portal.mock.verification import MAX_LINES
from esps_portal.testing.portal_loop import FunctionRunner, PortalEndedError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen
class JournalView:
    """A journal, read in the loop that writes it."""

    loop: FunctionRunner
    journal: Journal

    def connections(self) -> list[RecordedConnection]:
        """Return the TCP connections, in order."""
        return self.loop.access(lambda: list(self.journal.connections))

    def entries(self) -> list[Entry]:
        """Return everything that happened, in order."""
        return self.loop.access(self.journal.entries)

    def transcript(self, max_lines: int = sys.maxsize) -> str:
        """Return everything that happened as text; lines in the middle may be left out."""
        return self.loop.access(lambda: transcript(self.journal, max_lines))

    def short_transcript(self) -> str:
        """Return the transcript as an error shows it: lines in the middle may be left out."""
        return self.transcript(MAX_LINES)

    @contextmanager
    def record(self, path: str | Path, product: str) -> Iterator[None]:
        """Add to a recording what happens from now until the ``with`` block ends.

        Raises:
            CannotRecordError: the file cannot be opened, or is not a recording; at the end of the
                block: some of it could not be written.
        """
        journal = self.journal
        with RecordFile(Path(path), product) as file:
            self.loop.run(lambda: journal.add_sink(file.write))
            try:
                yield
            finally:
                with suppress(PortalEndedError):
                    self.loop.run(lambda: journal.remove_sink(file.write))
