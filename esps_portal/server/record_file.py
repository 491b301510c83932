"""The file that a recording is written to, a line at a time.

Each line is one ``write`` to a file opened with O_APPEND: a process that is killed leaves whole
lines, and at most a broken last one. Trouble with the file never harms the portal: it is logged,
once, and the recording ends there, so that what it holds has no hole.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from typing import Self

from esps_portal.portal.recording import began_line, entry_line, is_recording
from esps_portal.portal.records import Entry

_log = logging.getLogger("esps_portal")

# Any first line is shorter; no more is read of a file that is not a recording.
_FIRST_LINE = 4096
# A broken last line is looked for from the end, this many bytes at a time.
_BLOCK = 65536


class CannotRecordError(OSError):
    """A file cannot be recorded to: it cannot be written, or is something else already.

    Attributes:
        path: the file.
        message: why, for a person.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"cannot record to {self.path}: {self.message}"


class RecordFile:
    """A recording that is being written. Its `write` is a sink of a journal.

    Args:
        path: a new file, or a recording to continue.
        product: what records, ``name/version``.

    Raises `CannotRecordError` at once where the file cannot be opened.
    """

    def __init__(self, path: Path, product: str) -> None:
        self._path = path
        # Non-blocking, or opening a pipe without a reader would hang.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o666)
        except OSError as error:
            raise CannotRecordError(path, os.strerror(error.errno or 0)) from error
        try:
            self._begin(product)
        except OSError as error:
            self.close()
            if isinstance(error, CannotRecordError):
                raise
            raise CannotRecordError(path, os.strerror(error.errno or 0)) from error

    def _begin(self, product: str) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another process is recording to it"
            raise CannotRecordError(self._path, message) from None
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            self._go_on()
        now = dt.datetime.now(dt.UTC)
        self._put(began_line(f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", product))

    def _go_on(self) -> None:
        """Continue what is there, if it is a recording, without its broken last line."""
        size = os.fstat(self._file).st_size
        if size == 0:
            return
        first = os.pread(self._file, _FIRST_LINE, 0).partition(b"\n")
        if not is_recording(first[0] + first[1]):
            raise CannotRecordError(self._path, "it is there already, and is not a recording")
        end = size
        while True:
            start = max(0, end - _BLOCK)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                break
            end = start
        if start + found + 1 < size:
            os.ftruncate(self._file, start + found + 1)

    @property
    def is_recording(self) -> bool:
        """Whether it is still written to."""
        return self._file >= 0

    def write(self, entry: Entry) -> None:
        """Add an entry. If that fails the recording ends, which is logged."""
        if self._file < 0:
            return
        try:
            self._put(entry_line(entry))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            _log.error("the recording to %s has ended: %s", self._path, why)
            self.close()

    def _put(self, line: bytes) -> None:
        rest = line[os.write(self._file, line) :]
        # Where not all of it is written the disk is full, or a limit reached: the next one says.
        if rest and os.write(self._file, rest) < len(rest):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """End the recording."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
