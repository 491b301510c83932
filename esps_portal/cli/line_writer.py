"""Writes lines to a descriptor without waiting: its reader may be slow or gone."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from functools import partial

import trio

# The maximum that is queued for a slow reader; further lines are dropped, and counted.
_MAX_LINES = 10_000
_MAX_BYTES = 8 << 20
# Seconds that `finish` waits for the reader.
_FINISH_TIMEOUT = 1.0


class LineWriter:
    """Queues lines, and writes them in a thread.

    A test suite may read only the first line of a portal that it starts: then the pipe fills up,
    and writing blocks.

    Args:
        descriptor: the file descriptor to write to.
        dropped_line: returns the line that reports how many lines were dropped.
    """

    def __init__(self, descriptor: int, dropped_line: Callable[[int], bytes]) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._wakeup = trio.Event()
        self._finishing = False
        self._ended = trio.Event()

    def put(self, line: bytes) -> None:
        """Queue a line, its LF included. Call it only from the trio run that `run` is in."""
        if self._ended.is_set():
            return
        if len(self._queue) >= _MAX_LINES or self._queued_bytes >= _MAX_BYTES:
            self._dropped += 1
            return
        self._queue.append(line)
        self._queued_bytes += len(line)
        self._wakeup.set()

    async def run(self) -> None:
        """Write queued lines until `finish`, or until the reader is gone."""
        try:
            while not self._finishing or self._queue:
                await self._wakeup.wait()
                self._wakeup = trio.Event()
                lines = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                if self._dropped:
                    lines.append(self._dropped_line(self._dropped))
                    self._dropped = 0
                await trio.to_thread.run_sync(
                    partial(_write, self._descriptor, b"".join(lines)), abandon_on_cancel=True
                )
        except OSError:
            return  # the reader is gone
        finally:
            self._ended.set()
            self._queue.clear()

    async def finish(self) -> None:
        """Wait until all is written, but at most a second."""
        self._finishing = True
        self._wakeup.set()
        with trio.move_on_after(_FINISH_TIMEOUT):
            await self._ended.wait()


def _write(descriptor: int, data: bytes) -> None:
    """Write without Python's buffer: an abandoned thread would keep its lock."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # another process that shares it made it non-blocking
            select.select([], [descriptor], [])
