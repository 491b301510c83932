"""The two directions of a relayed connection, once both sides are connected."""

from __future__ import annotations

import contextlib
import enum

import attrs
import trio

from esps_portal.exchanges.live_exchange import CLIENT
from esps_portal.net.lane import Lane
from esps_portal.net.stream_ends import CLOSE_TIMEOUT
from esps_portal.net.watched_stream import WatchedStream


class Ended(enum.Enum):
    """How one direction has ended."""

    FIN = "the source has sent FIN, and it was passed on"
    SOURCE_BROKEN = "the source has reset the connection"
    SINK_BROKEN = "the sink cannot be sent to"


@attrs.define(eq=False)
class Direction:
    """One of the two directions.

    Attributes:
        sender: the side that sends these bytes: client or server.
        source: the socket of that side; ``sink``: that of the other one.
        lane: to the sink.
        reading: cancelled to read the source no more.
    """

    sender: str
    source: WatchedStream
    sink: WatchedStream
    lane: Lane
    reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def pass_what_came_before(self) -> None:
        """Wait until what the source had sent before its RST has arrived, within a bound."""
        if not (self.lane.is_clear or self.lane.discards or self.sink.is_stuck):
            with (
                contextlib.suppress(trio.BrokenResourceError),
                trio.move_on_after(CLOSE_TIMEOUT),
            ):
                await self.lane.until_clear()


@attrs.frozen
class Directions:
    """Both directions: ``up`` to the server, ``down`` to the client."""

    up: Direction
    down: Direction

    def towards(self, side: str) -> Direction:
        """Return the direction whose sink is the client, or the server."""
        return self.down if side == CLIENT else self.up
