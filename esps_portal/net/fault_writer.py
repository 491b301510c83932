"""Performs what faults make of units, on the one writer of a stream.

It decides nothing: a plan is a list of actions (send, pause, hold, end), and this takes them one
after another. It knows neither the protocol nor what a unit is.

While one unit goes out in pieces no other may come between them: each waits its turn. What cannot
wait, such as the end of the connection, first completes the unit that is partly sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from esps_portal.faults.plan import Action, End, Hold, Pause, Send
from esps_portal.net.writer import Writer


class FaultWriter:
    """Takes the actions of faults; see the module.

    Args:
        nursery: where held units wait for their time.
        on_end: called with how a fault ends the connection: ``close``, ``reset``, ``half-close``
            or ``stall``. Everything before it has been sent.
        on_broken: called when the peer has reset the connection while nobody else was writing.
    """

    def __init__(
        self,
        writer: Writer,
        nursery: trio.Nursery,
        on_end: Callable[[str], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._nursery = nursery
        self._on_end = on_end
        self._on_broken = on_broken
        # Held while a unit goes out in pieces; and the actions that are left of that unit.
        self._turn = trio.Lock()
        self._current: deque[Action] = deque()
        self._pause = trio.CancelScope()
        self._is_hurried = False
        self._held: list[bytes] = []
        self._held_replies = 0
        #: How many units are under way, the late ones among them.
        self.pending = 0
        #: The connection ends: what is out in part is completed, and nothing else is sent.
        self.has_ended = False

    @property
    def is_busy(self) -> bool:
        """Whether a unit is out in part: another one has to take its turn."""
        return self._turn.locked()

    @property
    def is_idle(self) -> bool:
        """Whether no unit is under way, and none is held back."""
        return not self.pending and not self._held

    async def until_idle(self) -> None:
        """Wait until no unit is out in part."""
        async with self._turn:
            pass

    async def write(self, unit: bytes, *, must_send: bool) -> None:
        """Send a unit to which no fault happens, when it is its turn."""
        await self.perform([Send(unit)], must_send=must_send)

    async def perform(self, actions: Iterable[Action], *, must_send: bool) -> None:
        """Take the actions of one unit.

        Args:
            must_send: an interruption sends at once what is left. Otherwise the unit is dropped as
                long as nothing of it is out; once something is, it is completed in any case.

        Raises:
            trio.BrokenResourceError: the peer has reset the connection.
        """
        left = deque(actions)
        self.pending += 1
        try:
            # Until something of it is out nobody else has to wait for it.
            while left and isinstance(first := left[0], Pause):
                left.popleft()
                await trio.sleep(first.seconds)
            if left:
                async with self._turn:
                    if not must_send:
                        # It may have been cancelled while it waited, and answered already.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    await self._perform_in_turn(left)
        finally:
            self.pending -= 1
            if left is self._current:
                self.complete()
            elif left and must_send and not self.has_ended:
                self.complete()
                self._writer.outgoing += _bytes_of(left)

    def complete(self) -> None:
        """Send at once what is left of the unit that is out in part; its end, if any, stays."""
        left = self._current
        self._writer.outgoing += _bytes_of(left)
        ends = [action for action in left if isinstance(action, End)]
        left.clear()
        left.extend(ends)
        self._pause.cancel()

    def release(self) -> None:
        """Send at once what is held back, after what is out in part."""
        self.complete()
        self._writer.outgoing += b"".join(self._held)
        self._held, self._held_replies = [], 0

    async def hurry_after(self, seconds: float) -> None:
        """Wait, then complete what is out in part, and pause within units no more."""
        await trio.sleep(seconds)
        self._is_hurried = True
        self.complete()

    async def _perform_in_turn(self, left: deque[Action]) -> None:
        await self._writer.flush()
        if not self.has_ended:
            self._current = left
            while left:
                await self._take(left.popleft())

    async def _take(self, action: Action) -> None:
        if isinstance(action, Send):
            self._writer.outgoing += action.data
            await self._writer.flush()
        elif isinstance(action, Pause):
            with trio.CancelScope() as self._pause:
                await trio.sleep(0 if self._is_hurried else action.seconds)
        elif isinstance(action, Hold):
            self._hold(action)
        else:
            await self._writer.flush()
            self._on_end(action.how)

    def _hold(self, hold: Hold) -> None:
        self._held.append(hold.data)
        self._held_replies += hold.final
        if self._held_replies >= hold.replies:
            self.release()
        elif len(self._held) == 1:
            self._nursery.start_soon(self._release_later, hold.seconds, self._held)

    async def _release_later(self, seconds: float, held: list[bytes]) -> None:
        await trio.sleep(seconds)
        try:
            async with self._turn:
                # Only now: whatever is said before that comes after what is held.
                if held is self._held:
                    self.release()
            await self._writer.flush()
        except trio.BrokenResourceError:
            self._on_broken()


def _bytes_of(actions: Iterable[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Send | Hold))
