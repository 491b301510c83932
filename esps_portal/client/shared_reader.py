"""Lets one of the tasks that wait for an answer read for all of them.

So a client needs no task and no nursery of its own: an exception raised inside ``async with
connect(...)`` comes out as it is, not in a group, and nothing runs while nobody waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class SharedReader:
    """The tasks that wait for answers; one of them reads.

    Args:
        read: reads once, and gives each reply to its request; cancelling it must lose nothing.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._read = read
        self._is_reading = False
        self._waiting: dict[PendingRequest, trio.Event] = {}

    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Read, or wait for the task that reads, until there is news of ``pending``.

        Raises:
            Exception: what reading raises, in the task that reads; the next reader gets it too.
        """
        while not pending.is_ready:
            if self._is_reading:
                await self._wait(pending)
            else:
                await self.read_until(lambda: pending.is_ready)

    async def read_for_others(self) -> None:
        """Read, or be ready to, until cancelled: for a task that waits for something else."""
        await self.wait_for_news(PendingRequest(b"", b""))

    async def read_until(self, done: Callable[[], bool]) -> None:
        """Read until ``done()``."""
        self._is_reading = True
        try:
            while not done():
                await self._read()
                for waiting, wake_up in self._waiting.items():
                    if waiting.is_ready:
                        wake_up.set()
        finally:
            self._is_reading = False
            self._wake_next_reader()

    async def _wait(self, pending: PendingRequest) -> None:
        wake_up = self._waiting[pending] = trio.Event()
        try:
            await wake_up.wait()
        except trio.Cancelled:
            del self._waiting[pending]
            if not self._is_reading:
                self._wake_next_reader()  # perhaps this task was to read next
            raise
        del self._waiting[pending]

    def _wake_next_reader(self) -> None:
        for waiting, wake_up in self._waiting.items():
            if not waiting.is_ready and not wake_up.is_set():
                wake_up.set()
                return
