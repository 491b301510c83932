"""Standard output, whose failures are told from all others.

A disk may be full, a reader may go (``| head -1``), and a shell may have closed it (``>&-``). What
goes wrong here is raised as `CannotWriteError`, whatever command wrote and whatever library it
wrote with; the group's ``main`` makes of it one line and exit code 1, or, where the reader has
gone, no line and 141, which a shell reports of `cat` (128 and SIGPIPE).
"""

from __future__ import annotations

import errno
import io
import json
import os
import select
import sys
from typing import TYPE_CHECKING

import click

from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class CannotWriteError(Exception):
    """Nothing more can be written to standard output.

    Attributes:
        reason: why, for a person; empty where the reader has gone, which needs no words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write: {self.reason}"


class _Raw(io.FileIO):
    """Descriptor 1. Once it has failed it takes everything, and drops it."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:  # what the buffers above still hold is flushed at exit
            return memoryview(data).nbytes
        try:
            written = super().write(data)
            while written is None:  # another process that shares it made it non-blocking
                select.select([], [self], [])
                written = super().write(data)
        except OSError as error:
            self._failed = True
            gone = error.errno == errno.EPIPE
            reason = "" if gone else os.strerror(error.errno or errno.EIO)
            raise CannotWriteError(reason) from error
        return written


def guard_output() -> None:
    """Put the guarded standard output in the place of the process's own."""
    output = sys.stdout
    if not isinstance(output, io.TextIOWrapper) or output is not sys.__stdout__:
        return  # closed, or a test's
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Raw(output.fileno(), "w", closefd=False)),
        encoding=output.encoding,
        errors="backslashreplace",  # a terminal that has no é is no reason to fail
        line_buffering=output.line_buffering,
        write_through=output.write_through,
    )


def need_output() -> None:
    """Make sure that there is a standard output, before anything is done for its sake.

    Raises:
        CannotWriteError: it is closed.
    """
    if sys.stdout is None:
        raise CannotWriteError("standard output is closed")


def text(octets: bytes) -> str:
    """Return octets for a person: UTF-8 as text, the rest and control characters escaped."""
    return visible(octets.decode("utf-8", "backslashreplace"))


def print_json(value: object) -> None:
    """Print one JSON value on a line of its own, at once."""
    need_output()
    click.echo(json.dumps(value))


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()
