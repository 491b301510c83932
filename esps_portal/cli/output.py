"""Standard output, with an exception of its own for errors.

The disk may be full, the reader may go (``| head -1``), or a shell may have closed it (``>&-``).
Each such error is raised as `CannotWriteError`, whichever library was writing. The ``main`` of the
group turns it into one line and exit code 1; if the reader is gone, into no line and exit code 141,
as a shell reports for `cat` (128 plus SIGPIPE).
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import select
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


# Text is never wrapped to fewer columns.
_MIN_WIDTH = 20


class CannotWriteError(Exception):
    """Nothing more can be written to standard output.

    Attributes:
        reason: for a person; empty if the reader is gone, which is not printed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write: {self.reason}"


class _Closed(io.TextIOBase):
    """In place of the `None` that Python has for a closed one, to which click writes nothing."""

    def write(self, text: str, /) -> int:  # noqa: ARG002 - the same as of any stream
        raise CannotWriteError("standard output is closed")


class _Raw(io.FileIO):
    """Descriptor 1. After an error it drops everything."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:  # the buffers above are flushed at exit
            return memoryview(data).nbytes
        try:
            written = super().write(data)
            while written is None:  # another process that shares it made it non-blocking
                select.select([], [self], [])
                written = super().write(data)
        except OSError as error:
            self._failed = True
            reader_gone = error.errno == errno.EPIPE
            reason = "" if reader_gone else os.strerror(error.errno or errno.EIO)
            raise CannotWriteError(reason) from error
        return written


def guard_stdout() -> None:
    """Replace `sys.stdout` by one that raises `CannotWriteError`."""
    output = sys.stdout
    if output is None:
        sys.stdout = _Closed()
        return
    if not isinstance(output, io.TextIOWrapper) or output is not sys.__stdout__:
        return  # replaced by a test
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Raw(output.fileno(), "w", closefd=False)),
        encoding=output.encoding,
        errors="backslashreplace",  # do not fail for a terminal without é
        line_buffering=output.line_buffering,
        write_through=output.write_through,
    )


def flush_stderr() -> None:
    """Write what standard error holds, or drop it where its reader has gone.

    Python would try again at its end, and exit with 120.
    """
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())


def has_stdout() -> bool:
    """Whether there is a standard output, and not one that a shell has closed."""
    return not (sys.stdout is None or isinstance(sys.stdout, _Closed))


def require_stdout() -> None:
    """Check that there is a standard output, before doing work for it.

    Raises:
        CannotWriteError: it is closed.
    """
    if not has_stdout():
        _Closed().write("")


def escaped(data: bytes) -> str:
    """Return UTF-8 as text, with control characters and invalid bytes escaped."""
    return visible(data.decode("utf-8", "backslashreplace"))


def print_json(value: object) -> None:
    """Print one JSON value as a line."""
    require_stdout()
    click.echo(json.dumps(value))


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_stderr_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def terminal_width() -> int:
    """Return the columns of standard output, but at least 20; 0 if it is not a terminal."""
    return max(_MIN_WIDTH, shutil.get_terminal_size().columns) if is_terminal() else 0
