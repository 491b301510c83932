"""The file of a recording, written a line at a time.

Each line is an entry of an `append_file`. Continuing one cuts off an incomplete last line, which a
process that was killed may have left.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Self

from esps_portal.journal.append_file import (
    AppendFile,
    CannotRecordError,
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


class RecordFile:
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
        self.path = path
        # A file that `reopen` begins has the same first line: times are counted from it.
        self._began = began_line(f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", product)
        self._file = AppendFile(path, "recording", self._prepare)

    def _prepare(self, file: int, size: int) -> bytes:
        if size:
            _check_and_repair(file, size)
        return self._began

    def reopen(self) -> None:
        """Continue in the file that has the path now, as after a log rotation.

        A recording that ended, because the disk was full for example, starts again.

        Raises:
            CannotRecordError: it cannot be opened; the recording continues in the old file.
        """
        self._file.reopen()

    @property
    def is_recording(self) -> bool:
        """Whether it is open, and has not ended with an error."""
        return self._file.is_open

    def write(self, entry: Entry) -> None:
        """Write an entry. If that fails, the error is logged and the recording ends."""
        if self._file.is_open:
            self._file.write(entry_line(entry))

    @property
    def failure(self) -> str:
        """Why some of it could not be written; empty: it is complete so far."""
        return self._file.failure

    def close(self) -> None:
        """End the recording."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if self.failure and kind is None:
            raise CannotRecordError(self.path, f"the recording is not complete: {self.failure}")


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
