"""Says when a connection can do without a task, and parks it in the ready set."""

from __future__ import annotations

import attrs

from esps_portal.net.ready_set import Parkable, ReadySet
from esps_portal.net.stream import Stream
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.reply_writer import ReplyWriter


@attrs.define(eq=False)
class Parking:
    """The place of one connection in the ready set.

    Args:
        ready: `None`: there is none, and the connection always has a task.
    """

    _ready: ReadySet | None
    _connection: Parkable
    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _answerer: Answerer

    @property
    def is_possible(self) -> bool:
        """Whether the connection needs no task now: it can answer without waiting."""
        if self._ready is None or not self._ready.is_open:
            return False
        if self._stream.is_silent or self._stream.needs_handshake:
            return False
        if self._replies.has_work or self._answerer.has_work or self._answerer.is_watched:
            return False
        return self._protocol.state is State.OPEN and self._replies.end is None

    def begin(self) -> None:
        """Park the connection, whose task ends."""
        if self._ready is not None:
            self._ready.park(self._connection)

    async def wait(self) -> None:
        """Park the connection, whose task has other work, until it needs that task."""
        if self._ready is not None:
            await self._ready.wait(self._connection)

    def resume(self) -> None:
        """Let the connection go on in its task, if it is parked."""
        if self._ready is not None:
            self._ready.resume(self._connection)

    def leave(self) -> None:
        """Leave the ready set: the connection ends in its turn."""
        if self._ready is not None:
            self._ready.leave(self._connection)

    def close(self) -> None:
        """Park the connection no more: it has ended."""
        self._ready = None
        del self._connection  # which refers to this

    def note_end(self) -> None:
        """Count the connection as ended, although its task goes on."""
        if self._ready is not None:
            self._ready.on_end(self._connection)
