"""Waiting for many pipes in memory at once, as an epoll waits for sockets."""

from __future__ import annotations

from itertools import count
from typing import cast

import trio

from esps_portal.net.poller import Readable
from esps_portal.testing.pipes import ServerEnd


class PipePoller:
    """A `Poller` of the servers' ends of connections in memory."""

    def __init__(self) -> None:
        self._numbers = count()
        self._streams: dict[int, ServerEnd] = {}
        # Streams that have reported input, and may still have it.
        self._noted: dict[int, None] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether streams can be added."""
        return self._is_open

    def add(self, stream: Readable) -> int:
        """Wait for a stream too; return its number."""
        number = next(self._numbers)
        self._streams[number] = cast("ServerEnd", stream)
        self.resume(number)
        return number

    def remove(self, number: int) -> None:
        """Wait for it no more."""
        self.pause(number)
        del self._streams[number]

    def pause(self, number: int) -> None:
        """Do not report it, until `resume`."""
        self._streams[number].on_input = None
        self._noted.pop(number, None)

    def resume(self, number: int) -> None:
        """Report it again."""
        end = self._streams[number]
        end.on_input = lambda: self._note(number)
        if end.has_input():
            self._note(number)

    def _note(self, number: int) -> None:
        self._noted[number] = None
        self._changed.unpark_all()

    async def wait(self) -> None:
        """Wait until something has come on any of them."""
        if self._noted:
            await trio.lowlevel.checkpoint()
        else:
            await self._changed.park()

    def ready(self) -> list[int]:
        """Return the numbers of those on which something has come."""
        found = [number for number in self._noted if self._streams[number].has_input()]
        self._noted = dict.fromkeys(found)
        return found

    def close(self) -> None:
        """Wait for nothing any more."""
        self._is_open = False
