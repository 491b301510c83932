"""Records in the journal what a client has sent that is never answered."""

from __future__ import annotations

import contextlib
import itertools

import attrs
import trio

from esps_portal.journal.records import ABORTED
from esps_portal.net.stream import Stream
from esps_portal.protocol.messages import readable_request
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.endings import EndReason
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.reply_writer import ReplyWriter

#: How many lines of a connection are noted that nobody answers any more (own choice: a client that
#: goes on sending after its end costs as much as one more turn, and nothing then).
MAX_UNANSWERED = 100


@attrs.define(eq=False)
class UnansweredInput:
    """Notes the lines of one connection that are not answered.

    Args:
        observer: `None`: nothing is noted.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _observer: ConnectionObserver | None
    _noted: int = attrs.field(default=0, init=False)

    async def note_unread(self) -> None:
        """Note what the client had sent before it reset the connection; none of it is executed."""
        if self._observer is None or self._protocol.state is State.ENDED or self._replies.is_deaf:
            return
        self._note_lines(self._observer)
        with contextlib.suppress(trio.BrokenResourceError):
            while (
                self._noted < MAX_UNANSWERED
                and self._stream.has_input()
                and (data := await self._stream.receive())
            ):
                self._protocol.receive(data)
                self._note_lines(self._observer)

    def note_ignored(self, data: bytes = b"") -> None:
        """Note what follows a QUIT or a fatal line, whether it came with that or later."""
        if self._observer is None or self._replies.end not in (None, EndReason.FATAL):
            return
        if self._noted >= MAX_UNANSWERED:
            return
        if data:
            self._protocol.receive(data)
        self._note_lines(self._observer)

    def _note_lines(self, observer: ConnectionObserver) -> None:
        for line in itertools.islice(self._protocol.lines, MAX_UNANSWERED - self._noted):
            self._noted += 1
            request = readable_request(line) if isinstance(line, bytes) else None
            observer.received(line, request).end(ABORTED)
