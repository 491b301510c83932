"""Decides who is served on the control port when there are more clients than places.

Similar servers (toxiproxy, mountebank) have no such bound: their users expect that a request is
answered, however many connections others hold. So an idle connection gives way: of those that wait
for their client, the one that has waited longest is closed for a newcomer. A client of HTTP expects
that of a kept connection, and connects again (RFC 9112, section 9.5). A request that is being
answered is not cut off; instead each reply says "Connection: close" while others wait for room. If
all places are held by requests that wait themselves (``POST /wait``), it is not known when there
will be room: then the newcomer is refused.

Who has had its last reply gives its place back: what it still sends is only discarded, and takes a
second of many who never stop (`net.stream.end_with_fin`).

While as many wait for room as may, no connection is accepted: those of a burst stay in the queue of
the kernel, and are served after those before them.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Protocol

import trio

# Seconds (own choice): under a flood of connections without requests, clients who send some wait
# for the first of them once in that time.
_DISTRUST = 5.0


class Connection(Protocol):
    """A connection that takes a place, or waits for one."""

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for its client; ``None``: it does not."""

    @property
    def gives_way(self) -> bool:
        """Whether it may be ended for another client: no request of its own would be lost."""

    @property
    def is_held(self) -> bool:
        """Whether its request may wait for long (``POST /wait``)."""

    @property
    def is_new(self) -> bool:
        """Whether it has had no reply yet."""

    @property
    def is_expected(self) -> bool:
        """Whether its first request may be on its way."""

    def admit(self) -> None:
        """Be served."""

    def refuse(self) -> None:
        """Be answered that there is no room."""

    def shut_down(self) -> None:
        """End, at once if that loses nothing."""

    def abort(self) -> None:
        """End at once, with RST."""


class Room:
    """The places of a server.

    Args:
        places: connections that are served at a time. As many more may wait for that, or be told
            that they are refused; as long as they do it is full. And as many may have had their
            last reply, but not ended.

    Example::

        room = Room(2)
        await room.until_not_full()
        room.enter(connection)  # which is admitted, now or later, refused, or shut down
        room.release(connection)  # it has had its last reply
        room.leave(connection)
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._served: dict[Connection, None] = {}
        # In the order of coming.
        self._waiting: dict[Connection, None] = {}
        self._refused: dict[Connection, None] = {}
        self._released: dict[Connection, None] = {}
        self._not_full = trio.lowlevel.ParkingLot()
        # Until when also those give way whose first request may be on its way.
        self._distrusts_until = -math.inf

    @property
    def is_full(self) -> bool:
        """Whether no more may enter: as many wait, or are told that they are refused, as may."""
        return len(self._waiting) + len(self._refused) >= self._places

    async def until_not_full(self) -> None:
        """Wait until one may enter."""
        while self.is_full:
            await self._not_full.park()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._waiting)

    def enter(self, connection: Connection) -> None:
        """Admit a newcomer as soon as there is room."""
        self._waiting[connection] = None
        self.settle()

    def release(self, connection: Connection) -> None:
        """Note that one has had its last reply; where too many had, the first of them is ended."""
        self._remove(connection)
        self._released[connection] = None
        if len(self._released) > self._places:
            first = next(iter(self._released))
            del self._released[first]
            first.abort()
        self.settle()

    def leave(self, connection: Connection) -> None:
        """Note that one has ended."""
        self._remove(connection)
        self.settle()

    def _remove(self, connection: Connection) -> None:
        for group in (self._served, self._waiting, self._refused, self._released):
            group.pop(connection, None)

    def refuse(self, connection: Connection) -> None:
        """Refuse one that waits for room, if it still does."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._refused[connection] = None
            connection.refuse()

    def settle(self) -> None:
        """Admit or refuse those that wait, where that can be decided now."""
        while self._waiting:
            if len(self._served) < self._places or self._make_room():
                connection = next(iter(self._waiting))
                del self._waiting[connection]
                self._served[connection] = None
                connection.admit()
            elif all(connection.is_held for connection in self._served):
                self.refuse(next(iter(self._waiting)))
            else:
                break
        if not self.is_full:
            self._not_full.unpark_all()

    def _make_room(self) -> bool:
        """Shut down the one that has waited longest for its client; return whether there is one."""
        waiting = [
            (each.waits_since, each) for each in self._served if each.waits_since is not None
        ]
        for _, connection in sorted(waiting, key=itemgetter(0)):
            if connection.gives_way and not self._spares(connection):
                del self._served[connection]
                connection.shut_down()
                return True
        return False

    def _spares(self, connection: Connection) -> bool:
        """Decide whether one keeps its place, since its first request may be on its way.

        One whose request has not come in time does not, and for a while no other one does.
        """
        if not connection.is_new:
            return False
        if connection.is_expected:
            return trio.current_time() >= self._distrusts_until
        self._distrusts_until = trio.current_time() + _DISTRUST
        return False
