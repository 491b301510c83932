"""Records one TCP connection, or one UDP socket, in a journal. A server without a journal has none.

A request that is answered at once is recorded together with its answer. Any other is a
`PortalExchange`: it is recorded when it arrives, and again when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from esps_portal.journal.records import FAULTED, REPLIED, RecordedCall, RecordedConnection
from esps_portal.net.addresses import literal
from esps_portal.net.datagram_sender import Sender
from esps_portal.protocol.lines import EMPTY_LINES, LineEvent, Unterminated
from esps_portal.protocol.messages import Request, readable_request

if TYPE_CHECKING:
    from esps_portal.faults.plan import FaultPlan
    from esps_portal.journal.journal import Journal

# An over-long line is not kept: the journal has this much of it, and says why it is cut.
_TOO_LONG = b"(too long)"
# How many values an IPv4 address has.
_HOST_AND_PORT = 2


@attrs.define(eq=False)
class PortalExchange:
    """A request to a portal whose answer takes time: a call, CANCEL, QUIT, or one under a fault.

    Attributes:
        plan: the plan of the faults for the answer; `None`: none has claimed it.
        record: what the journal has of it; `None`: nobody observes.
    """

    plan: FaultPlan | None = None
    record: RecordedCall | None = None
    _journal: Journal | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its end was recorded."""
        return self.record is not None and self.record.ended is not None

    @property
    def strikes_before(self) -> bool:
        """Whether a fault strikes in place of the request's execution, or before it."""
        return self.plan is not None and self.plan.strikes_before

    def add(self, line: bytes) -> None:
        """Note a line that is not the last one of the answer."""
        if self.record is not None and self._journal is not None:
            self._journal.added(self.record, line)

    def end(self, state: str, sent: bytes = b"") -> None:
        """Record how it has ended; the first end counts.

        A fault that has changed nothing has not struck: its answer is one like any other.
        """
        if self.plan is not None and not self.has_ended:
            self.plan.finish(is_whole=False)
        if state == FAULTED and self.plan is not None and not self.plan.has_struck:
            state = REPLIED
        if self.record is not None and self._journal is not None and not self.has_ended:
            self._journal.ended(self.record, state, sent, trio.current_time())


class ConnectionObserver:
    """Notes one connection in a journal.

    Args:
        remote: the client's address and port.

    Attributes:
        record: what the journal has of the connection.
        answered: notes requests that were answered at once, with one line each: their lines, the
            replies, how many they are, and the time.
    """

    __slots__ = ("_opened", "_remote", "answered", "journal", "record")

    def __init__(self, journal: Journal, remote: tuple[str, int]) -> None:
        self.journal: Journal = journal
        self._remote = remote
        self._opened = trio.current_time()
        self.record: RecordedConnection = journal.opened(remote, self._opened)
        self.answered: Callable[[bytes, bytes, int, float], None] = journal.answers_on(self.record)

    def begin_anew(self) -> None:
        """The journal was emptied: the connection stays, and gets a new number."""
        self.record = self.journal.opened(self._remote, self._opened, is_kept=True)
        self.answered = self.journal.answers_on(self.record)

    def received(self, line: LineEvent, request: Request | None) -> PortalExchange:
        """A request has come whose answer takes its time, or a line that is not a request."""
        if line in EMPTY_LINES or isinstance(line, Unterminated):
            return PortalExchange()  # the one is ignored, the other is about a line that is noted
        data = line
        if not isinstance(data, bytes):
            data = getattr(line, "head", b"") + _TOO_LONG
            request = readable_request(data)
        now = trio.current_time()
        record = self.journal.received("tcp", self._remote, self.record, data, request, now)
        return PortalExchange(None, record, self.journal)

    def sent_fin(self, by: str, how: str) -> None:
        """Note who closes first, and how, once FIN is sent: the client may stay open for long."""
        self.record.closed_by, self.record.how = by, how

    def failed_handshake(self, reason: str) -> None:
        """Note why the TLS handshake has failed."""
        self.record.failed_handshake = reason

    def closed(self, by: str, how: str) -> None:
        """The connection has ended; who closed first, and how."""
        record = self.record
        first = (record.closed_by, record.how) if record.closed_by else (by, how)
        self.journal.closed(record, *first, trio.current_time())


class DatagramObserver:
    """Notes the datagrams of one socket in a journal."""

    __slots__ = ("journal",)

    def __init__(self, journal: Journal) -> None:
        self.journal: Journal = journal

    def answered(self, datagram: bytes, reply: bytes, sender: Sender, now: float) -> None:
        """A request was answered at once."""
        self.journal.answered(sender.remote, 0, datagram[:-1], reply, now)

    def answered_together(
        self,
        datagrams: Sequence[bytes],
        replies: Sequence[bytes],
        sources: Sequence[tuple[Any, ...]],
        now: float,
    ) -> None:
        """Record requests, and the reply of one line to each. Nearly all pass here."""
        # Over IPv6 an address has two numbers more, of which one is its zone.
        remotes = sources if len(sources[0]) == _HOST_AND_PORT else [*map(literal, sources)]
        self.journal.answered_together(remotes, b"".join(datagrams), b"".join(replies), now)

    def received(
        self, line: bytes, request: Request | None, remote: tuple[str, int], now: float
    ) -> PortalExchange:
        """A request has come whose answer takes its time."""
        record = self.journal.received("udp", remote, None, line, request, now)
        return PortalExchange(None, record, self.journal)

    def not_executed(
        self, line: bytes, state: str, reply: bytes, remote: tuple[str, int], now: float
    ) -> None:
        """A datagram has come that executes nothing: it is not a request, or it is a repeat."""
        request = readable_request(line)
        record = self.journal.received("udp", remote, None, line, request, now, state)
        self.journal.ended(record, state, reply, now)
