"""The task of a connection: it opens the connection, reads it, and ends it as `ENDINGS` says.

It runs only while the connection has to wait for something. The code reads from top to bottom: it
reads lines until the connection can be parked or has to end, and then ends it.
"""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.handshake import HandshakeError
from esps_portal.net.stream import Stream
from esps_portal.net.turns import Turns
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.closing import Closing
from esps_portal.server.drain import Drain
from esps_portal.server.endings import EndReason, reason_of
from esps_portal.server.opening import Opening
from esps_portal.server.parking import Parking
from esps_portal.server.reader import Reader
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.stage_faults import StageFaults
from esps_portal.server.teardown import Teardown
from esps_portal.server.unanswered import UnansweredInput

_AT_ONCE = (EndReason.ABORTED, EndReason.EVICTED, EndReason.UNREAD)


@attrs.define(eq=False, kw_only=True)
class ConnectionTask:
    """Serves one connection while it needs a task, until it ends or is parked: `run` is its life.

    Args:
        turns: what it waits for before it ends.
        is_shut_down: whether the server shuts down already.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _calls: CallTasks
    _answerer: Answerer
    _faults: StageFaults
    _opening: Opening
    _parking: Parking
    _reader: Reader
    _unanswered: UnansweredInput
    _teardown: Teardown
    _limits: Limits
    _turns: Turns
    _is_shut_down: bool
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    # Made once the connection ends.
    _closing: Closing | None = attrs.field(default=None, init=False)

    def shut_down(self) -> None:
        """Once the connection ends, do not wait for its client: the server shuts down."""
        self._is_shut_down = True
        if self._closing is not None:
            self._closing.shut_down()

    def note_end(self, reason: EndReason) -> None:
        """Stop what has to stop now that an end is due."""
        if self._replies.is_final and self._closing is not None:
            self._closing.cancel()
        if reason in _AT_ONCE and self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """Serve until the connection has ended, or can do without a task: it is then parked.

        Raises nothing but cancellation.
        """
        is_parked = False
        try:
            if self._replies.end is not None:  # for which alone it has a task
                await self._turns.next()
            has_ended = not await self._shake_hands()
            while not (is_parked or has_ended) and not await self._run_in_nursery():
                is_parked = self._parking.is_possible  # still, since its nursery was left
        finally:
            self._nursery = None
            self._answerer.outcomes.nursery = None
            if is_parked:
                self._parking.begin()
            elif not self._teardown.is_done:
                self._teardown.run()

    async def _shake_hands(self) -> bool:
        """Do the TLS handshake, if one is due; return whether to go on."""
        if not self._opening.needs_handshake:
            return True
        is_open = False
        if self._replies.end is None:
            with self._reader.interruptible():
                try:
                    await self._opening.shake_hands()
                    is_open = True
                except HandshakeError as error:
                    self._teardown.note_failed_handshake(error)
        if not is_open:
            self._replies.end_for(EndReason.BROKEN)
        return is_open

    async def _run_in_nursery(self) -> bool:
        """Serve with tasks; return whether the connection has ended."""
        async with trio.open_nursery() as self._nursery:
            self._answerer.outcomes.nursery = self._nursery
            connection_faults = self._faults.connection_faults()
            if connection_faults is not None:
                self._replies.begin_faults(self._nursery, connection_faults)
            try:
                if not await self._read_and_end(self._nursery):
                    return False
                self._nursery.cancel_scope.cancel()
            finally:
                await self._end_calls()
        return True

    async def _read_and_end(self, nursery: trio.Nursery) -> bool:
        """Read until an end is due, and end; return whether it has ended."""
        try:
            if not await self._read_until_end(nursery):
                return False
            await self._end()
        except trio.BrokenResourceError as error:
            self._replies.end_for(reason_of(error))
        if self._replies.end is EndReason.BROKEN:
            await self._turns.next()
            await self._unanswered.note_unread()
        return True

    async def _read_until_end(self, nursery: trio.Nursery) -> bool:
        """Greet, read and answer; return whether the connection ends, else it can be parked."""
        if self._opening.is_refused:
            self._replies.end_for(EndReason.CLOSE)
            return True
        with self._reader.interruptible():
            if self._replies.end is not None:  # since before this task began
                self._reader.interrupt(self._replies.end)
            if self._replies.end is EndReason.SHUTDOWN and self._opening.has_greeted:
                self._reader.receive_rest()
            await self._opening.greet(nursery)
            if await self._reader.read_lines(self._parking, nursery):
                return False
        return True

    async def _end(self) -> None:
        protocol, replies = self._protocol, self._replies
        drain = Drain(
            self._stream, protocol, replies, self._calls, self._answerer, self._limits.drain
        )
        self._closing = Closing(
            self._stream,
            protocol,
            replies,
            self._calls,
            drain,
            self._limits,
            on_fin=self._teardown.note_fin,
            on_discarded=self._unanswered.note_ignored,
        )
        if self._is_shut_down:
            self._closing.shut_down()
        if await self._closing.run():
            self._reader.peer_has_ended = True
        self._unanswered.note_ignored()

    async def _end_calls(self) -> None:
        """Wait for the end of cancelled calls; close without those that do not end.

        The nursery of the connection has to wait for them, but neither its client nor the others
        do: it no longer counts as open.
        """
        if self._calls.are_running and not await self._calls.end():
            self._teardown.run()
            self._parking.note_end()
