"""Lines to a descriptor whose reader may be slow or gone: the portal never waits for one."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from functools import partial

import trio

# What waits for a slow reader; further lines are dropped, and counted.
_MOST_LINES = 10_000
_MOST_BYTES = 8 << 20
# Seconds that the end waits for a reader.
_PATIENCE = 1.0


class LineWriter:
    """Writes lines as they come, and never makes the portal wait for their reader.

    A test suite that starts a portal may read its first line and no more: the pipe fills up, and
    the writer blocks. So a thread writes.

    Args:
        descriptor: where they go.
        lost: returns a line that says how many were dropped.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], bytes]) -> None:
        self._descriptor = descriptor
        self._lost_line = lost
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._lost = 0
        self._news = trio.Event()
        self._finishing = False
        self._over = trio.Event()

    def put(self, line: bytes) -> None:
        """Write a line, its LF included, soon. Only for tasks of the run that `run` is in."""
        if self._over.is_set():
            return
        if len(self._waiting) >= _MOST_LINES or self._held >= _MOST_BYTES:
            self._lost += 1
            return
        self._waiting.append(line)
        self._held += len(line)
        self._news.set()

    async def run(self) -> None:
        """Write what comes, until `finish` or as long as there is a reader."""
        try:
            while not self._finishing or self._waiting:
                await self._news.wait()
                self._news = trio.Event()
                lines = list(self._waiting)
                self._waiting.clear()
                self._held = 0
                if self._lost:
                    lines.append(self._lost_line(self._lost))
                    self._lost = 0
                await trio.to_thread.run_sync(
                    partial(_write, self._descriptor, b"".join(lines)), abandon_on_cancel=True
                )
        except OSError:
            return  # nobody reads any more
        finally:
            self._over.set()
            self._waiting.clear()

    async def finish(self) -> None:
        """Wait until everything is written, but not indefinitely."""
        self._finishing = True
        self._news.set()
        with trio.move_on_after(_PATIENCE):
            await self._over.wait()


def _write(descriptor: int, data: bytes) -> None:
    """Write past Python's own buffer: its lock would be held by a thread that nobody waits for."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # the other end has made it so: they share it
            select.select([], [descriptor], [])
