"""Reads one connection until an end is due, and has what arrives answered."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.stream import Stream
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.call_tasks import CallTasks
from esps_portal.server.endings import EndReason
from esps_portal.server.held_bytes import HeldBytes
from esps_portal.server.parking import Parking
from esps_portal.server.reply_writer import ReplyWriter


@attrs.define(eq=False)
class Reader:
    """Reads one connection.

    Attributes:
        last_line: when a line last came; seconds on trio's clock.
        peer_has_ended: the client has sent FIN, or has closed while nothing was sent to it.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _answerer: Answerer
    _calls: CallTasks
    _held: HeldBytes
    last_line: float
    peer_has_ended: bool = attrs.field(default=False, init=False)
    _is_receiving: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope | None = attrs.field(default=None, init=False)

    def interruptible(self) -> trio.CancelScope:
        """Return a scope for a ``with`` block, which `interrupt` ends."""
        self._scope = trio.CancelScope()
        return self._scope

    def interrupt(self, reason: EndReason) -> None:
        """Read no more: the connection ends."""
        # What was read before a deaf fault is still answered, so that is not interrupted.
        is_reading = reason is not EndReason.DEAF or self._is_receiving
        if is_reading and self._scope is not None:
            self._scope.cancel()

    def received(self, data: bytes, now: float) -> bool:
        """Pass on what has come, or FIN (no bytes); return whether there are lines to answer."""
        if not data:
            self.peer_has_ended = True
            self._protocol.end_of_input()
            return False
        if b"\n" in data:
            self.last_line = now
        has_lines = self._protocol.receive(data)
        if self._held.size or self._protocol.buffered:
            self._held.note()
        return has_lines

    def receive_rest(self) -> None:
        """Read what has come so far: at a shutdown, what comes later is not answered."""
        data = self._stream.receive_now()
        if data is not None:
            self._received_in_task(data)

    async def read_lines(self, parking: Parking, nursery: trio.Nursery) -> bool:
        """Read and answer until an end is due; return whether it can go on without a task.

        Args:
            nursery: of the connection. While something runs there, it cannot.
        """
        protocol = self._protocol
        # Sends the greeting, or answers what was left when reading was interrupted.
        await self._answer_in_turn()
        while protocol.state is State.OPEN or protocol.state is State.CLOSING:
            if self._replies.is_deaf:
                return False
            if not parking.is_possible:
                self._received_in_task(await self._receive())
            elif nursery.child_tasks or self._calls.are_running:
                await parking.wait()
            else:
                return True
            await self._answer_in_turn()
        if protocol.state is State.ENDED and not self.peer_has_ended:
            self._replies.end_for(EndReason.FATAL)
        return False

    async def _answer_in_turn(self) -> None:
        if self._protocol.lines:
            with trio.CancelScope(shield=True):  # what came before an end is answered all the same
                await self._answerer.turns.next()
        await self._answerer.answer_lines()

    def hang_up_if_gone(self) -> None:
        """End the connection if the client has ended in a way that it reads no reply any more."""
        if self.peer_has_ended and not self._stream.half_closes:
            self._replies.end_for(EndReason.HANGUP)

    async def _receive(self) -> bytes:
        self._is_receiving = True
        try:
            return await self._stream.receive()
        finally:
            self._is_receiving = False

    def _received_in_task(self, data: bytes) -> None:
        self.received(data, trio.current_time())
        self.hang_up_if_gone()
