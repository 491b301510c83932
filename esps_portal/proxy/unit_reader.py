"""Passes what both sides of a relayed connection send to its units, and sends on the result.

The result must not depend on the timing of reads: where both sides have sent something, the
server's bytes are taken first.
"""

from __future__ import annotations

from typing import Protocol

import trio

from esps_portal.exchanges.live_exchange import CLIENT, SideActions
from esps_portal.faults.actions import Send
from esps_portal.proxy.direction import Direction, Directions
from esps_portal.proxy.units import Units


class RelayObserver(Protocol):
    """Sees what passes; it changes nothing, waits for nothing and raises nothing."""

    def from_client(self, data: bytes, now: float) -> None:
        """See what the client has sent."""

    def from_server(self, data: bytes, now: float) -> None:
        """See what the server has sent."""

    def closed(self, by: str, how: str, now: float) -> None:
        """See the end: who closed first, and how."""


class UnitReader:
    """Takes what has been read; see the module.

    Args:
        units: cuts what is sent into units, and has faults act on them.
        observer: sees what passes.
        directions: both of the connection.
    """

    def __init__(self, units: Units, observer: RelayObserver, directions: Directions) -> None:
        self._units = units
        self._observer = observer
        self._directions = directions
        # Whether bytes of the client wait that it sent while a reply was under way.
        self._is_client_early = False

    async def take(self, data: bytes, direction: Direction) -> None:
        """Take what one side has sent; return once there is room for more.

        Raises:
            trio.BrokenResourceError: one of the sides is broken; see `WatchedStream`.
        """
        now = trio.current_time()
        if direction.sender == CLIENT:
            is_early = self._read_server_first(now) or self._is_client_early
            self._is_client_early = False
            self._observer.from_client(data, now)
            steps = self._units.from_client(data, now, is_early=is_early)
        else:
            # The client had sent it before it could see these bytes.
            self._is_client_early = self._is_client_early or direction.sink.has_input()
            self._observer.from_server(data, now)
            steps = self._units.from_server(data, now)
        if steps is None:
            await direction.lane.send(data, direction.source)
            return
        for step in steps:
            lane = self._directions.towards(step.to).lane
            if lane is direction.lane:
                await lane.perform(step.actions, direction.source)
            else:
                lane.put(step.actions)

    def end(self, direction: Direction) -> None:
        """Note that one side sends nothing more: bytes that waited for the rest of a unit pass."""
        is_cut = direction.reading.cancel_called
        for step in self._units.ended(direction.sender, trio.current_time(), is_cut=is_cut):
            self._directions.towards(step.to).lane.put(step.actions)

    def _read_server_first(self, now: float) -> bool:
        """Take what the server has sent before the client's bytes, where both have come.

        Returns whether a reply was under way: the client has not waited for its end.
        """
        down = self._directions.towards(CLIENT)
        if not down.lane.is_clear:
            return not down.lane.discards
        try:
            data = down.source.receive_now()
        except trio.BrokenResourceError:
            return False  # its own task meets the same
        if not data:
            return False
        self._observer.from_server(data, now)
        steps = self._units.from_server(data, now)
        if steps is None:
            steps = [SideActions(CLIENT, [Send(data)])]
        for step in steps:
            self._directions.towards(step.to).lane.put(step.actions)
        return True
