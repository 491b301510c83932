"""The drain of a connection: running calls get time to end, while input is still read."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.stream import Stream
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.endings import EndReason, reason_of
from esps_portal.server.reply_writer import ReplyWriter

# The share of the drain after which a reply that a fault has sent in part is completed at once. So
# its call ends before the drain does, and no call that was answered is refused as well.
_COMPLETE_AFTER = 0.5


@attrs.define(eq=False)
class Drain:
    """Ends the running calls of one connection; those that take too long are refused.

    Args:
        seconds: for all calls together.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _calls: CallTasks
    _answerer: Answerer
    _seconds: float
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        """Drain, unless it was cancelled; then answer what still waits.

        Raises:
            trio.BrokenResourceError: the client has reset the connection.
        """
        with self._scope:
            await self._let_calls_end()
            self._answerer.outcomes.end_drain()

    def cancel(self) -> None:
        """End it at once: no line is added any more."""
        self._scope.cancel()

    async def _let_calls_end(self) -> None:
        """Let running calls end, within the limit; go on reading, so that none is blocked."""
        await self._replies.writer.flush()
        if not (self._protocol.running or self._answerer.outcomes.is_cancelling):
            # For the replies to some lines that were read there was no room before.
            await self._answerer.answer_lines()
            return
        began = trio.current_time()
        with trio.CancelScope() as limit:
            async with trio.open_nursery() as reading:
                reading.start_soon(self._read_on)
                with trio.CancelScope(deadline=began + self._seconds * _COMPLETE_AFTER) as first:
                    await self._until_ended()
                if first.cancelled_caught:
                    self._replies.hurry()
                    # If the loop was held for long, this deadline has passed already. Even then a
                    # call whose reply was just completed gets one pass of the loop, in which it
                    # ends before this block is cancelled.
                    limit.deadline = began + self._seconds
                    await self._until_ended()
                reading.cancel_scope.cancel()

    async def _until_ended(self) -> None:
        await self._calls.until_all_ended()
        await self._answerer.outcomes.await_cancelled()

    async def _read_on(self) -> None:
        """Read during the drain: after QUIT to discard, after BYE to refuse."""
        protocol = self._protocol
        try:
            # What came after a CANCEL is answered after it.
            await self._answerer.outcomes.await_cancelled()
            await self._answerer.answer_lines()
            while data := await self._stream.receive():
                if protocol.receive(data):
                    await self._answerer.turns.next()
                    await self._answerer.answer_lines()
                if protocol.state is State.ENDED:
                    break
            protocol.end_of_input()
            if not self._stream.half_closes:
                self._replies.end_for(EndReason.HANGUP)
            if protocol.state is State.ENDED:
                await self._calls.cancel_all()  # nothing that they still reply would be sent
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
