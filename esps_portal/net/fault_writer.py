"""Writes units to a stream as faults change them.

It decides nothing: a plan is a list of actions (send, pause, hold, end), performed one after
another. The caller says what a unit is, for example a line.

While a unit is being sent in pieces, no other unit may come between them: each waits for its turn.
A caller that cannot wait calls `complete` or `release`, which sends the rest of the unit at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from esps_portal.faults.actions import Action, End, Hold, Pause, Send
from esps_portal.net.pacer import Pacer
from esps_portal.net.writer import Writer, nothing

# Seconds that a rate makes up for, at the most: as long as a busy loop is late.
_CATCH_UP = 0.02


class FaultWriter:
    """Performs the actions of faults; see the module.

    Args:
        nursery: where held units wait until they are released.
        on_end: called with how a fault ends the connection: ``close``, ``reset``, ``half-close``,
            ``stall`` or ``deaf``. What comes before it may still wait in `Writer.outgoing`.
        on_broken: called when the peer resets the connection while held units are sent.
        on_release: called when held units have been sent because their time was over.
        keeps_order: what comes after held units waits with them, for a protocol that does not tell
            replies apart; else it overtakes them.

    Attributes:
        pending: how many units are under way, the delayed ones among them.
        held_size: how many bytes are held back.
        has_ended: set by the owner once the connection ends: what is partly sent is completed, and
            no other unit is sent.
    """

    def __init__(  # noqa: PLR0913 - what is composed, and how
        self,
        writer: Writer,
        nursery: trio.Nursery,
        on_end: Callable[[str], None],
        on_broken: Callable[[], None],
        *,
        on_release: Callable[[], None] = nothing,
        keeps_order: bool = False,
    ) -> None:
        self._writer = writer
        self._nursery = nursery
        self._on_end = on_end
        self._on_broken = on_broken
        self._on_release = on_release
        self._keeps_order = keeps_order
        # Locked while a unit is sent in pieces; and the actions that are left of that unit.
        self._turn = trio.Lock()
        self._current: deque[Action] = deque()
        self._pause = trio.CancelScope()
        self._skips_pauses = False
        self._pacer = Pacer(_CATCH_UP)
        self._held: list[bytes] = []
        self._held_replies = 0
        # A sum, since it is needed for each unit, and thousands may be held.
        self.held_size: int = 0
        self._released: trio.Event = trio.Event()
        self.pending: int = 0
        self.has_ended: bool = False

    def close(self) -> None:
        """Drop all callbacks: the owner has ended, and is then freed with its last reference.

        Objects that refer to each other are freed by the garbage collector only, which looks at all
        objects.
        """
        self._on_end = self._on_broken = self._on_release = nothing

    @property
    def is_busy(self) -> bool:
        """Whether a unit is partly sent: another one has to wait its turn."""
        return self._turn.locked()

    @property
    def is_idle(self) -> bool:
        """Whether no unit is under way, and none is held back."""
        return not self.pending and not self._held

    async def until_idle(self) -> None:
        """Wait until no unit is partly sent."""
        async with self._turn:
            pass

    async def perform(self, actions: Iterable[Action], *, must_send: bool) -> None:
        """Perform the actions of one unit.

        Args:
            must_send: what becomes of a unit that is interrupted before anything of it is sent:
                it is sent at once, or dropped. One that is partly sent is completed, and its end,
                if any, happens.

        Raises:
            trio.BrokenResourceError: the peer has reset the connection.
        """
        left = deque(actions)
        self.pending += 1
        try:
            # While nothing of it has been sent, other units need not wait for it.
            while left and isinstance(first := left[0], Pause):
                left.popleft()
                await trio.sleep(self._pacer.rest_of(first))
            if left:
                async with self._turn:
                    if not must_send:
                        # It may have been cancelled while it waited, and answered already.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    await self._perform_in_turn(left)
        except trio.BrokenResourceError:
            left.clear()
            raise
        finally:
            self.pending -= 1
            if left and (left is self._current or (must_send and not self.has_ended)):
                self._send_rest(left)

    def complete(self) -> None:
        """Send the rest of the unit that is partly sent at once; its end is still performed."""
        left = self._current
        self._writer.outgoing += _bytes_of(left)
        ends = [action for action in left if isinstance(action, End)]
        left.clear()
        left.extend(ends)
        self._pause.cancel()

    def release(self) -> None:
        """Send what is held back at once, after the unit that is partly sent."""
        self.complete()
        self._writer.outgoing += b"".join(self._held)
        self._held, self._held_replies, self.held_size = [], 0, 0
        self._released.set()

    async def until_released(self) -> None:
        """Wait until nothing is held back any more."""
        while self._held:
            self._released = trio.Event()
            await self._released.wait()

    def hurry(self) -> None:
        """Do what `complete` does, and never again pause within a unit."""
        self._skips_pauses = True
        self.complete()

    def _send_rest(self, left: deque[Action]) -> None:
        """Perform the rest of an interrupted unit at once."""
        self.complete()
        self._writer.outgoing += _bytes_of(left)
        for action in left:
            if isinstance(action, End):
                self._on_end(action.how)

    async def _perform_in_turn(self, left: deque[Action]) -> None:
        await self._writer.flush()
        if self.has_ended:
            return
        self._current = left
        is_sent_in_part = has_waited = False
        while left:
            action = left.popleft()
            if isinstance(action, Hold) and is_sent_in_part and not self._keeps_order:
                # Others may overtake a unit that is held, but not come between its pieces: this one
                # waits in its turn instead, once.
                left.appendleft(Send(action.data))
                if not has_waited and not (action.final and action.replies <= 1):
                    left.appendleft(Pause(action.seconds))
                has_waited = True
                continue
            is_sent_in_part = is_sent_in_part or (isinstance(action, Send) and bool(action.data))
            await self._perform_one(action)

    async def _perform_one(self, action: Action) -> None:
        if isinstance(action, Send) and self._keeps_order and self._held:
            self._keep(action.data)
        elif isinstance(action, Send):
            self._writer.outgoing += action.data
            await self._writer.flush()
        elif isinstance(action, Pause):
            with trio.CancelScope() as self._pause:
                await trio.sleep(0 if self._skips_pauses else self._pacer.rest_of(action))
        elif isinstance(action, Hold):
            self._hold(action)
            await self._writer.flush()
        elif isinstance(action, End):
            self._on_end(action.how)

    def _keep(self, data: bytes) -> None:
        self._held.append(data)
        self.held_size += len(data)

    def _hold(self, hold: Hold) -> None:
        self._keep(hold.data)
        self._held_replies += hold.final
        if self._held_replies >= hold.replies:
            self.release()
        elif len(self._held) == 1:
            self._nursery.start_soon(self._release_later, hold.seconds, self._held)

    async def _release_later(self, seconds: float, held: list[bytes]) -> None:
        await trio.sleep(seconds)
        try:
            async with self._turn:
                # Still held: it is not yet released, by what had to come after it or by an end.
                if held is self._held and not self.has_ended:
                    self.release()
            await self._writer.send_everything()
            self._on_release()
        except trio.BrokenResourceError:
            self._on_broken()


def _bytes_of(actions: Iterable[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Send | Hold))
