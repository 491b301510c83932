"""The file of a recording, written a line at a time.

Each line is one ``write`` to a file opened with O_APPEND: a process that is killed leaves complete
lines, and at most one incomplete line at the end. An error of the file never harms the portal: it
is logged, once, and the recording ends there, so that no line in it is missing.
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

# The first line of a recording is shorter: enough to recognise one.
_MAX_FIRST_LINE = 4096
# The last LF is searched from the end, this many bytes at a time.
_BLOCK = 65536


class CannotRecordError(OSError):
    """A file cannot be recorded to: it cannot be written, or is no recording.

    Attributes:
        path: the file.
        message: the reason.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own passes one argument to the constructor.
        return type(self), (self.path, self.message), self.__dict__

    def __str__(self) -> str:
        return f"cannot record to {self.path}: {self.message}"


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
        self._file = _open(path, self._began)

    def reopen(self) -> None:
        """Continue in the file that has the path now, as after a log rotation.

        A recording that ended, because the disk was full for example, starts again.

        Raises:
            CannotRecordError: it cannot be opened; the recording continues in the old file.
        """
        if self._is_in_place():
            if os.fstat(self._file).st_size == 0:  # copied and truncated by the rotation
                self._write_or_end(self._began)
            return
        reopened = _open(self.path, self._began)
        self.close()
        self._file = reopened

    def _is_in_place(self) -> bool:
        if self._file < 0:
            return False
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        return False

    @property
    def is_recording(self) -> bool:
        """Whether it is open, and has not ended with an error."""
        return self._file >= 0

    def write(self, entry: Entry) -> None:
        """Write an entry. If that fails, the error is logged and the recording ends."""
        if self._file >= 0:
            self._write_or_end(entry_line(entry))

    def _write_or_end(self, line: bytes) -> None:
        try:
            _write_line(self._file, line)
        except OSError as error:
            _log.error("the recording to %s has ended: %s", self.path, _reason(error))
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


def _open(path: Path, began: bytes) -> int:
    """Open a new file or a recording, write the first line, and return the descriptor."""
    # Non-blocking: opening a pipe without a reader would hang.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        raise CannotRecordError(path, _reason(error)) from error
    try:
        _lock(file, path)
        if stat.S_ISREG(os.fstat(file).st_mode):
            _check_and_repair(file, path)
        _write_line(file, began)
    except OSError as error:
        os.close(file)
        if isinstance(error, CannotRecordError):
            raise
        raise CannotRecordError(path, _reason(error)) from error
    return file


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRecordError(path, "another process is recording to it") from None


def _check_and_repair(file: int, path: Path) -> None:
    """Check that a file is a recording; cut off an incomplete last line."""
    size = os.fstat(file).st_size
    if size == 0:
        return
    first = os.pread(file, _MAX_FIRST_LINE, 0).partition(b"\n")
    if not is_recording(first[0] + first[1]):
        raise CannotRecordError(path, "the file exists and is not a recording")
    end = size
    while True:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            break
        end = start
    if start + found + 1 < size:
        os.ftruncate(file, start + found + 1)


def _write_line(file: int, line: bytes) -> None:
    rest = line[os.write(file, line) :]
    # A short write: the disk is full or a limit is reached; the next write says which.
    if rest and os.write(file, rest) < len(rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0)
