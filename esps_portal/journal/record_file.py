"""The file that a recording is written to, a line at a time.

Each line is one ``write`` to a file opened with O_APPEND: a process that is killed leaves whole
lines, and at most a broken last one. Trouble with the file never harms the portal: it is logged,
once, and the recording ends there, so that what it holds has no hole.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from typing import Self

from esps_portal.journal.recording import began_line, entry_line, is_recording
from esps_portal.journal.records import Entry
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

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

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own would pass its one argument to our constructor.
        return type(self), (self.path, self.message), self.__dict__

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
        now = dt.datetime.now(dt.UTC)
        self.path = path
        # Also of a file that is begun later, after `reopen`: times are counted from the start.
        self._began = began_line(f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", product)
        self._file = _opened(path, self._began)

    def reopen(self) -> None:
        """Go on in the file that has the path now, as after a log rotation.

        A recording that had ended, on a full disk say, begins again.

        Raises:
            CannotRecordError: it cannot be opened; the recording goes on where it was.
        """
        if self._is_in_place():
            if os.fstat(self._file).st_size == 0:  # it was copied and truncated
                self._put_safely(self._began)
            return
        opened = _opened(self.path, self._began)
        self.close()
        self._file = opened

    def _is_in_place(self) -> bool:
        if self._file < 0:
            return False
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        return False

    @property
    def is_recording(self) -> bool:
        """Whether it is still written to."""
        return self._file >= 0

    def write(self, entry: Entry) -> None:
        """Add an entry. If that fails the recording ends, which is logged."""
        if self._file >= 0:
            self._put_safely(entry_line(entry))

    def _put_safely(self, line: bytes) -> None:
        try:
            _put(self._file, line)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            _log.error("the recording to %s has ended: %s", self.path, why)
            self.close()

    def close(self) -> None:
        """End the recording."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: Path, began: bytes) -> int:
    """Open a file, or a recording to continue, and begin there; return its descriptor."""
    # Non-blocking, or opening a pipe without a reader would hang.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        raise CannotRecordError(path, os.strerror(error.errno or 0)) from error
    try:
        _lock(file, path)
        if stat.S_ISREG(os.fstat(file).st_mode):
            _go_on(file, path)
        _put(file, began)
    except OSError as error:
        os.close(file)
        if isinstance(error, CannotRecordError):
            raise
        raise CannotRecordError(path, os.strerror(error.errno or 0)) from error
    return file


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRecordError(path, "another process is recording to it") from None


def _go_on(file: int, path: Path) -> None:
    """Continue what is there, if it is a recording, without its broken last line."""
    size = os.fstat(file).st_size
    if size == 0:
        return
    first = os.pread(file, _FIRST_LINE, 0).partition(b"\n")
    if not is_recording(first[0] + first[1]):
        raise CannotRecordError(path, "it is there already, and is not a recording")
    end = size
    while True:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            break
        end = start
    if start + found + 1 < size:
        os.ftruncate(file, start + found + 1)


def _put(file: int, line: bytes) -> None:
    rest = line[os.write(file, line) :]
    # Where not all of it is written the disk is full, or a limit reached: the next one says.
    if rest and os.write(file, rest) < len(rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
