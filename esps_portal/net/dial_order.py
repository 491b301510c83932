"""Begins connections in an order, though the tasks that make them run in any.

Tasks that become ready in the same pass of trio's loop run in any order. Two clients that connect
to a proxy one after the other would often reach its server in the other order, and a server that
tells its connections apart by their order would mix them up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

# Seconds that a connection waits for those before it: one that takes long, to resolve a name for
# example, must not stop all others.
_TIMEOUT = 1.0


class DialOrder:
    """The order in which connections are to begin: that of `take`.

    Example::

        first, second = order.take(), order.take()
        # in two tasks, whichever runs first:
        await second.begin(connect_second)  # returns once both have begun
        await first.begin(connect_first)
    """

    def __init__(self) -> None:
        self._places: deque[DialPlace] = deque()

    def take(self) -> DialPlace:
        """Return the place after all others; whoever has it must `leave` it."""
        place = DialPlace(self)
        self._places.append(place)
        return place

    def begin_ready(self) -> None:
        """Begin those that are ready, up to the first one that is not."""
        places = self._places
        while places and places[0].is_ready:
            places.popleft().begin_now()


class DialPlace:
    """The place of one connection in a `DialOrder`."""

    def __init__(self, order: DialOrder) -> None:
        self._order = order
        # What `begin` was given, until that is called.
        self._connect: Callable[[], None] | None = None
        # Whether it has begun, or never will.
        self._has_left = False
        # Set once it has begun; made only if it has to wait.
        self._begun: trio.Event | None = None

    @property
    def is_ready(self) -> bool:
        """Whether those after it need not wait for it: it can begin, or has left."""
        return self._has_left or self._connect is not None

    async def begin(self, connect: Callable[[], None]) -> None:
        """Call ``connect`` once all before it have begun or left; return when it was called.

        The task that makes this possible calls it, so that many connections do not need a pass of
        the loop each.

        Args:
            connect: must not raise.
        """
        self._connect = connect
        self._order.begin_ready()
        if self._connect is not None:
            self._begun = trio.Event()
            with trio.move_on_after(_TIMEOUT):
                await self._begun.wait()
        if self._connect is not None:
            self.begin_now()
            self._order.begin_ready()

    def begin_now(self) -> None:
        """Call what `begin` was given, unless that was done."""
        connect, self._connect = self._connect, None
        self._has_left = True
        if connect is not None:
            connect()
        if self._begun is not None:
            self._begun.set()

    def leave(self) -> None:
        """Let those after it begin: it will not, or has begun. May be called again."""
        if not self._has_left:
            self._has_left, self._connect = True, None
            self._order.begin_ready()
