"""The file of a recording, written a line at a time.

Each line is an entry of an `append_file`. Continuing one cuts off an incomplete last line, which a
process that was killed may have left.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from esps_portal.journal.append_file import (
    AppendFile,
    UnsuitableFileError,
    read_at,
)
from esps_portal.journal.recording import began_line, entry_line, is_recording
from esps_portal.journal.records import Entry
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The first line of a recording is shorter: enough to recognise one.
_MAX_FIRST_LINE = 4096
# The last LF is searched from the end, this many bytes at a time.
_BLOCK = 65536


class RecordFile(AppendFile):
    """A recording that is being written. Its `write` is a sink of a journal.

    Args:
        path: a new file, or a recording to continue.
        product: the name and version of what records, ``name/version``.

    Raises:
        CannotRecordError: the file cannot be opened.

    Example::

        with RecordFile(Path("calls.jsonl"), "shop/1") as file:
            journal.sinks.append(file.write)
    """

    def __init__(self, path: Path, product: str) -> None:
        now = dt.datetime.now(dt.UTC)
        # A file that `reopen` begins has the same first line: times are counted from it.
        self._began = began_line(f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", product)
        super().__init__(path, "recording", self._begin_recording)

    def _begin_recording(self, file: int, size: int) -> bytes:
        if size:
            _check_and_repair(file, size)
        return self._began

    def write(self, entry: Entry) -> None:
        """Write an entry. If that fails, the error is logged and the recording ends."""
        if self.is_open:
            self.append(entry_line(entry))


def _check_and_repair(file: int, size: int) -> None:
    """Check that a file is a recording; cut off an incomplete last line."""
    first = read_at(file, _MAX_FIRST_LINE, 0).partition(b"\n")
    if not is_recording(first[0] + first[1]):
        raise UnsuitableFileError("the file exists and is not a recording")
    end = size
    while True:
        start = max(0, end - _BLOCK)
        found = read_at(file, end - start, start).rfind(b"\n")
        if found >= 0:
            break
        end = start
    if start + found + 1 < size:
        os.ftruncate(file, start + found + 1)
