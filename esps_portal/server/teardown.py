"""The last step of a connection: closes the socket, and records which side closed first."""

from __future__ import annotations

import contextlib

import attrs
import trio

from esps_portal.net.handshake import HandshakeError
from esps_portal.net.stream import Stream
from esps_portal.protocol.messages import BYE_CLOSING
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from esps_portal.server.answerer import Answerer
from esps_portal.server.endings import EndReason, How
from esps_portal.server.held_bytes import HeldBytes
from esps_portal.server.observer import ConnectionObserver
from esps_portal.server.parking import Parking
from esps_portal.server.reader import Reader
from esps_portal.server.reply_writer import ReplyWriter


@attrs.define(eq=False)
class Teardown:
    """Closes one connection; nothing here waits.

    Args:
        observer: notes who closed first, and how; `None`: nothing is noted.
        stall: seconds that the kernel keeps what is still unsent.

    Attributes:
        is_done: the socket is closed.
    """

    _stream: Stream
    _protocol: ServerConnection
    _replies: ReplyWriter
    _answerer: Answerer
    _reader: Reader
    _held: HeldBytes
    _parking: Parking
    _observer: ConnectionObserver | None
    _stall: float
    is_done: bool = attrs.field(default=False, init=False)

    def note_fin(self) -> None:
        """Note who closes first, once FIN is sent: the client may stay open for long."""
        if self._observer is not None:
            self._observer.sent_fin(*self._first_to_close())

    def note_failed_handshake(self, error: HandshakeError) -> None:
        """Note why a TLS handshake has failed, and who closes first for that."""
        if self._observer is not None:
            self._observer.failed_handshake(error.reason)
            self._observer.sent_fin(*error.first_end("portal"))

    def run(self) -> None:
        """Close the socket as the end demands; what is not answered by now never is."""
        protocol, replies = self._protocol, self._replies
        if protocol.state in (State.CLOSING, State.QUITTING) and not replies.is_final:
            # It was cancelled in its drain: RST, as a FIN would say that the replies are complete.
            protocol.abort()
            replies.end_for(EndReason.ABORTED)
        self._held.release()
        self.is_done = True
        if replies.ending.how in (How.RST, How.RST_AT_ONCE, How.DEAF):
            self._stream.abort()
        else:
            if self._is_interrupted:
                # It may not wait, but it can send one last line.
                with contextlib.suppress(trio.BrokenResourceError):
                    self._stream.send_now(BYE_CLOSING.encode())
            self._stream.close(timeout=self._stall)
        self._answerer.close()
        replies.finish_faults()
        if self._observer is not None:
            self._observer.closed(*self._first_to_close())
        replies.close()
        self._parking.close()

    @property
    def _is_interrupted(self) -> bool:
        """Whether it was cancelled from outside while it was open, and not within a line."""
        is_open = self._protocol.state is State.OPEN and self._replies.end is None
        return is_open and not self._replies.writer.outgoing

    def _first_to_close(self) -> tuple[str, str]:
        if self._replies.end is not None and (first := self._replies.ending.first) is not None:
            return first
        if self._reader.peer_has_ended:
            return "client", "fin"
        # If everything was sent, FIN was or was about to be: the reset came second.
        was_last_sent = self._protocol.state is State.ENDED and not self._replies.writer.outgoing
        if self._replies.end is EndReason.BROKEN and not was_last_sent:
            return "client", "rst"
        return "portal", "fin"
