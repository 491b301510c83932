"""A file that one process appends to, until there is an error.

It is opened with O_APPEND, and what belongs together is one ``write``. So a process that is killed
leaves complete entries, and at most one incomplete entry at the end. An error of the file never
harms the portal: it is logged once, and nothing is written after it, so that no entry is missing in
between. The owner of the file decides what an entry is, and whether the file may be continued.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:
    # Windows. Its locks (LockFileEx) would keep readers out as well, such as a person who watches
    # a recording: so the file is not locked there.
    fcntl = None  # type: ignore[assignment]

from esps_portal.log import log
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


# Non-blocking: opening a pipe without a reader would hang. Windows has neither flag, and translates
# line ends unless it is told not to.
_SYSTEM_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class CannotRecordError(OSError):
    """A file cannot be recorded to: it cannot be written, or holds something else.

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


class UnsuitableFileError(Exception):
    """The file holds something else; the message says what it is not."""


class AppendFile:
    """A file that is locked and open for appending. Close it, or use it as a context manager.

    Args:
        path: a new file, one to continue, or a device or pipe. Only its owner can read a new file,
            for what is recorded may hold passwords.
        kind: what the file is, for the message that it has ended: ``recording``.
        prepare: takes the descriptor and the size in bytes (0 for a device or pipe), cuts off an
            incomplete end, and returns the bytes to write first; for an empty file those that it
            begins with. It raises `UnsuitableFileError` for a file that must not be continued.

    Raises:
        CannotRecordError: the file cannot be opened, locked or written, or is unsuitable.
    """

    def __init__(self, path: Path, kind: str, prepare: Callable[[int, int], bytes]) -> None:
        self.path = path
        self._kind = kind
        self._prepare = prepare
        #: Why some of it could not be written; empty: it is complete so far.
        self.failure: str = ""
        self._file = self._open()

    def _open(self) -> int:
        try:
            file = _open_or_create(self.path)
        except CannotRecordError:
            raise
        except OSError as error:
            raise CannotRecordError(self.path, _reason(error)) from error
        try:
            self._begin(file)
        except OSError as error:
            os.close(file)
            if isinstance(error, CannotRecordError):
                raise
            raise CannotRecordError(self.path, _reason(error)) from error
        return file

    def _begin(self, file: int) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "this process or another one records to it already"
            raise CannotRecordError(self.path, why) from None
        try:
            first = self._prepare(file, _size(file))
        except UnsuitableFileError as error:
            raise CannotRecordError(self.path, str(error)) from None
        _write(file, first)

    def reopen(self) -> None:
        """Continue in the file that has the path now, as after a log rotation.

        What an error has ended, because the disk was full for example, starts again. A capture's
        connections go on there with their sequence numbers.

        Raises:
            CannotRecordError: it cannot be opened; writing continues in the old file.
        """
        if self._is_in_place:
            if _size(self._file) == 0:  # copied and truncated by the rotation
                self.append(self._prepare(self._file, 0))
            return
        reopened = self._open()
        self.close()
        self._file = reopened

    @property
    def is_open(self) -> bool:
        """Whether it is open: neither closed nor ended by an error."""
        return self._file >= 0

    @property
    def _is_in_place(self) -> bool:
        """Whether it is open, and the path still leads to it."""
        if self._file < 0:
            return False
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        return False

    def append(self, data: bytes) -> None:
        """Write bytes. If that fails, log the error and close the file."""
        if self._file < 0:
            return
        try:
            _write(self._file, data)
        except OSError as error:
            self.failure = _reason(error)
            log.error("the %s to %s has ended: %s", self._kind, self.path, self.failure)
            self.close()

    def close(self) -> None:
        """Close the file; later writes do nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if self.failure and kind is None:
            raise CannotRecordError(self.path, f"the {self._kind} is not complete: {self.failure}")


def _open_or_create(path: Path) -> int:
    """Open a file for appending, a new one for its owner alone.

    A symbolic link is followed to what exists, but nothing is created where it leads: in a folder
    that others may write to, they would choose where.
    """
    flags = os.O_RDWR | os.O_APPEND | _SYSTEM_FLAGS
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.is_symlink():
            raise CannotRecordError(path, "it is a link to a file that does not exist") from None
        return os.open(path, flags)  # another process has created it in between


def read_at(file: int, size: int, position: int) -> bytes:
    """Read up to ``size`` bytes of an open file; later writes still go to its end."""
    if hasattr(os, "pread"):
        return os.pread(file, size, position)
    os.lseek(file, position, os.SEEK_SET)  # Windows
    return os.read(file, size)


def _size(file: int) -> int:
    """Return the size of an open file in bytes; 0 for a device or a pipe."""
    status = os.fstat(file)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _write(file: int, data: bytes) -> None:
    rest = data[os.write(file, data) :]
    # A short write: the disk is full or a limit is reached; the next write says which.
    if rest and os.write(file, rest) < len(rest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0)
