"""A connection that performs faults on its answers.

It decides nothing: `esps_portal.portal.wreckage` gives the steps, this takes them. While one
answer goes out in pieces no other line may come between them: each waits its turn. What cannot
wait, the end of the connection, first completes a line that is only partly sent.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import trio

from esps_portal.portal.answering import Portal
from esps_portal.portal.services import CloseAfter
from esps_portal.portal.wreckage import End, Hold, Pause, Send, Step, Wreckage
from esps_portal.protocol.messages import Reply
from esps_portal.server.connection import Connection
from esps_portal.server.streams import Stream

# Of the drain: what is out in part then is completed, so that its call has ended when the drain
# is over and no call is refused that has been answered.
_HURRY_AFTER = 0.5


class WreckingConnection(Connection):
    """Serves one peer, and does to its answers what faults make of them."""

    __slots__ = (
        "_fate",
        "_held",
        "_held_replies",
        "_hurried",
        "_in_pieces",
        "_over",
        "_pause",
        "_turn",
        "_wrecking",
    )

    def __init__(self, stream: Stream, peer: tuple[str, int], portal: Portal) -> None:
        super().__init__(stream, peer, portal)
        # Held while a line goes out in pieces; and the steps that are left of that line.
        self._turn = trio.Lock()
        self._in_pieces: deque[Step] = deque()
        self._pause = trio.CancelScope()
        self._hurried = False
        self._wrecking = 0  # answers that are being wrecked, the late ones among them
        self._held: list[bytes] = []
        self._held_replies = 0
        # How a fault has ended the connection. After half-close and stall nothing is said any
        # more, and what comes is thrown away.
        self._fate = ""
        self._over: trio.CancelScope | None = None

    @property
    def deadline(self) -> float:
        """When the watch has to look again. A peer that waits for a late answer is not idle."""
        return math.inf if self._wrecking and not self._sending else super().deadline

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the peer's next line: no fault has anything left to do."""
        wrecked = bool(self._wrecking or self._held) or self._over is not None
        return not wrecked and super().is_idle

    def shut_down(self) -> None:
        """The server closes."""
        if self._over is not None:
            self._over.cancel()
        super().shut_down()

    async def _run_unheard(self) -> None:
        """End without a word, but as every end: so that no RST overtakes the FIN."""
        self._farewell = CloseAfter()
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self._end()
                except trio.BrokenResourceError:
                    return  # it has ended, as it was to
        finally:
            self._close()

    # -- the one writer

    async def _put(
        self, line: bytes, wreckage: Wreckage | None, *, final: bool, owed: bool
    ) -> None:
        """Add a line to what is sent, or take the steps that a fault has made of it."""
        if self._farewell is not None:
            return  # all has been said
        if wreckage is not None:
            await self._take(wreckage.line(line, final=final), owed=owed)
        elif self._turn.locked():
            await self._take([Send(line)], owed=owed)
        else:
            self._outgoing += line

    async def _flush(self) -> None:
        if self._over is not None:
            self._outgoing.clear()
        await super()._flush()

    async def _take(self, steps: list[Step], *, owed: bool) -> None:
        """Take steps.

        Args:
            owed: if it is interrupted, what is left is sent at once. So it is in any case once
                something is out, for lines end.
        """
        left = deque(steps)
        self._wrecking += 1
        try:
            # Until something of it is out nobody else has to wait for it.
            while left and isinstance(first := left[0], Pause):
                left.popleft()
                await trio.sleep(first.seconds)
            if left:
                async with self._turn:
                    if not owed:
                        # CANCEL may have come while it waited, and answered the call itself.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    if self._farewell is not None:
                        left.clear()  # all has been said while this waited
                    await self._flush()
                    self._in_pieces, owed = left, True
                    while left:
                        await self._take_one(left.popleft())
        finally:
            self._wrecking -= 1
            self._active = trio.current_time()
            if left and owed:
                self._complete()
                self._outgoing += _octets(left)

    async def _take_one(self, step: Step) -> None:
        if isinstance(step, Send):
            self._outgoing += step.octets
            await self._flush()
        elif isinstance(step, Pause):
            with trio.CancelScope() as self._pause:
                await trio.sleep(0 if self._hurried else step.seconds)
        elif isinstance(step, Hold):
            self._hold(step)
        else:
            await self._flush()
            self._fate = step.how
            self._farewell = CloseAfter(reset=step.how == "reset")
            if step.how in ("half-close", "stall"):
                self._over = trio.CancelScope()
            if step.how == "half-close":
                self._send_eof()
            self._reading.cancel()

    def _complete(self) -> None:
        """Send at once what is left of the line that is out in part; its end, if any, stays."""
        left = self._in_pieces
        self._outgoing += _octets(left)
        ends = [step for step in left if isinstance(step, End)]
        left.clear()
        left.extend(ends)
        self._pause.cancel()

    # -- what is held back

    def _hold(self, step: Hold) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` has opened it
        self._held.append(step.octets)
        self._held_replies += step.final
        if self._held_replies >= step.replies:
            self._release()
        elif len(self._held) == 1:
            self._nursery.start_soon(self._release_later, step.seconds, self._held)

    async def _release_later(self, seconds: float, held: list[bytes]) -> None:
        await trio.sleep(seconds)
        try:
            async with self._turn:
                # Only now: whatever is said before that comes behind what is held.
                if held is self._held:
                    self._release()
            await self._flush()
        except trio.BrokenResourceError:
            self._reading.cancel()
            self._ending = "broken"

    def _release(self) -> None:
        self._complete()
        self._outgoing += b"".join(self._held)
        self._held, self._held_replies = [], 0

    # -- the end

    async def _end(self) -> None:
        self._release()
        if self._farewell is not None:
            self._cancel_calls()  # nothing of theirs would be sent
        if self._over is None:
            await super()._end()
            return
        # Said nothing, heard everything: until the peer, the server or its patience has enough.
        with self._over, trio.move_on_after(self._limits.idle):
            while await self._stream.receive():
                pass
            self._peer_has_ended = True

    async def _drain(self) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` has opened it
        self._nursery.start_soon(self._hurry)
        await super()._drain()

    async def _hurry(self) -> None:
        await trio.sleep(self._limits.drain * _HURRY_AFTER)
        self._hurried = True
        self._complete()

    def _answer_cancel(self, reply: Reply) -> None:
        self._release()  # it comes behind all that was held
        super()._answer_cancel(reply)

    def _refuse_what_runs(self) -> None:
        self._release()  # and so does what comes now
        super()._refuse_what_runs()

    def _close(self) -> None:
        if self._farewell is not None and not self._ending:
            self._ending = "said"  # and there is no further word
        super()._close()


def _octets(steps: Iterable[Step]) -> bytes:
    return b"".join(step.octets for step in steps if isinstance(step, Send | Hold))
