"""Events as JSON lines on standard output, for a program that may or may not read them."""

from __future__ import annotations

import json
import os
import select
import sys
from collections import deque
from collections.abc import Mapping
from functools import partial

import trio

# Lines that wait for a slow reader; further ones are dropped, and counted.
_KEPT = 10_000
# How long the end waits for a reader.
_PATIENCE = 1.0


class Events:
    """Writes events as they come, and never makes the portal wait for their reader.

    A test suite that starts a portal may read its first line and no more: the pipe fills up, and
    the writer blocks. So a thread writes.
    """

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._news = trio.Event()
        self._last_comes = False
        self._over = trio.Event()

    def put(self, event: Mapping[str, object]) -> None:
        """Write one, soon."""
        if len(self._waiting) >= _KEPT:
            self._lost += 1
            return
        self._waiting.append(_line(event))
        self._news.set()

    async def run(self) -> None:
        """Write what comes, until `finish` or as long as there is a reader."""
        output = sys.stdout.fileno()
        try:
            while not self._last_comes or self._waiting:
                await self._news.wait()
                self._news = trio.Event()
                lines = list(self._waiting)
                self._waiting.clear()
                if self._lost:
                    lines.append(_line({"event": "lost", "count": self._lost}))
                    self._lost = 0
                await trio.to_thread.run_sync(
                    partial(_write, output, b"".join(lines)), abandon_on_cancel=True
                )
        except OSError:
            return  # nobody reads any more
        finally:
            self._over.set()

    async def finish(self, last: Mapping[str, object]) -> None:
        """Write one more, and wait for its reader, but not for ever."""
        self._last_comes = True
        self.put(last)
        with trio.move_on_after(_PATIENCE):
            await self._over.wait()


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _write(output: int, data: bytes) -> None:
    """Write past Python's own buffer: its lock would be held by a thread that nobody waits for."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(output, view) :]
        except BlockingIOError:  # the other end has made it so: they share it
            select.select([], [output], [])
