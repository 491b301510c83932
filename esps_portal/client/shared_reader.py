"""Taking turns at reading: one of the tasks that wait for an answer reads for all of them.

A client without a task of its own needs no nursery of its own: an exception raised inside ``async
with connect(...)`` comes out as it is, not in a group, and nothing runs while nobody waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from esps_portal.protocol.client_connection import PendingRequest
from esps_portal.protocol.messages import Request
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class SharedReader:
    """Who reads, and who waits for the reader.

    Args:
        read: reads once and deals out what came; cancelling it must lose nothing.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._read = read
        self._reading = False
        self._waiting: dict[PendingRequest, trio.Event] = {}

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Read, or wait for the task that reads, until there is news of ``pending``.

        Raises:
            Exception: whatever reading raises, in the task that reads; the next one meets it too.
        """
        while not pending.has_news:
            if self._reading:
                await self._wait(pending)
            else:
                await self.read_until(lambda: pending.has_news)

    async def read_for_others(self) -> None:
        """Read, or stand ready to, until cancelled: for a task that waits for something else."""
        await self.wait_for_news(PendingRequest(Request(b"", b"")))

    async def read_until(self, done: Callable[[], bool]) -> None:
        """Be the reader until ``done()``."""
        self._reading = True
        try:
            while not done():
                await self._read()
                for waiting, woken in self._waiting.items():
                    if waiting.has_news:
                        woken.set()
        finally:
            self._reading = False
            self._hand_over()

    async def _wait(self, pending: PendingRequest) -> None:
        woken = self._waiting[pending] = trio.Event()
        try:
            await woken.wait()
        except trio.Cancelled:
            del self._waiting[pending]
            if not self._reading:
                self._hand_over()  # it was perhaps this task's turn
            raise
        del self._waiting[pending]

    def _hand_over(self) -> None:
        for waiting, woken in self._waiting.items():
            if not waiting.has_news and not woken.is_set():
                woken.set()
                return
