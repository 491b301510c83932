"""Who is served on the control port while more clients want to be than may be at a time.

The servers that this one stands beside (toxiproxy, mountebank) have no such bound: their users
expect that a request is answered, however many connections others hold. So whoever does nothing
gives way: a connection on which the client is waited for is closed for a newcomer, the one first
that was waited for the longest. A client of HTTP expects that of a kept connection, and connects
again (RFC 9112, section 9.5). One that is being answered is not cut off; instead each reply says
"Connection: close" as long as somebody waits for room. Only where all places are held by requests
that wait themselves (``POST /wait``) nothing says when there is room: then the newcomer is refused.
While as many wait for room as may, nobody is accepted: what came in a burst, or while the server
had no turn, stands in the queue of the kernel, and is served after those before it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Protocol

import trio


class Guest(Protocol):
    """A connection, as far as it takes room."""

    @property
    def waits_since(self) -> float | None:
        """Since when its client is waited for; ``None``: it is not."""

    @property
    def gives_way(self) -> bool:
        """Whether it may be ended for another: nothing that its client has asked would be lost."""

    @property
    def is_held(self) -> bool:
        """Whether its request may take long, however quick the server is."""

    def admit(self) -> None:
        """Be served."""

    def refuse(self) -> None:
        """Be answered that there is no room."""

    def shut_down(self) -> None:
        """End, at once if that loses nothing."""


class Room:
    """The places of a server.

    Args:
        places: connections that are served at a time. As many more may wait for that, or be told
            that they are refused; as long as they do it is full.

    Example::

        room = Room(2)
        await room.until_not_full()
        room.enter(guest)  # which is admitted, now or later, refused, or shut down
        room.leave(guest)
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._served: dict[Guest, None] = {}
        # In the order of coming.
        self._waiting: dict[Guest, None] = {}
        self._refused: dict[Guest, None] = {}
        self._not_full = trio.lowlevel.ParkingLot()

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

    def enter(self, guest: Guest) -> None:
        """Admit a newcomer as soon as there is room."""
        self._waiting[guest] = None
        self.settle()

    def leave(self, guest: Guest) -> None:
        """Note that one has ended."""
        for group in (self._served, self._waiting, self._refused):
            group.pop(guest, None)
        self.settle()

    def refuse(self, guest: Guest) -> None:
        """Refuse one that waits for room, if it still does."""
        if guest in self._waiting:
            del self._waiting[guest]
            self._refused[guest] = None
            guest.refuse()

    def settle(self) -> None:
        """Admit and refuse who can be: a guest has changed what it does."""
        while self._waiting:
            if len(self._served) < self._places or self._has_made_room():
                guest = next(iter(self._waiting))
                del self._waiting[guest]
                self._served[guest] = None
                guest.admit()
            elif all(guest.is_held for guest in self._served):
                self.refuse(next(iter(self._waiting)))
            else:
                break
        if not self.is_full:
            self._not_full.unpark_all()

    def _has_made_room(self) -> bool:
        """Shut down the one that could be and waits for the longest; return whether there is."""
        waiting = [
            (each.waits_since, each) for each in self._served if each.waits_since is not None
        ]
        for _, guest in sorted(waiting, key=itemgetter(0)):
            if guest.gives_way:
                del self._served[guest]
                guest.shut_down()
                return True
        return False
