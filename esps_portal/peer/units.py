"""The exchanges of one connection to a peer: a frame of the client, and the frames that answer it.

Nothing here reads, waits or sends: it keeps the journal, and asks the faults about each frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange, SideActions
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.actions import Send
from esps_portal.faults.target import Stage
from esps_portal.framings.framing import Frame, FramingError
from esps_portal.framings.recorded_units import RecordedUnitSplitter
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.journal.shown_bytes import shown_in_line

#: What cuts the bytes of a client into frames.
Splitter = FrameSplitter | RecordedUnitSplitter

# Seconds for which a recorded unit waits for more where it may be the start of a longer one.
_FLUSH_AFTER = 0.05


class PeerUnits:
    """The units of one connection; see the module.

    Args:
        note_leftover: called with a text about bytes that are not a whole frame.

    Attributes:
        is_over: the peer ends the connection: what comes now is neither answered nor a finding.
    """

    def __init__(
        self,
        tracker: ExchangeTracker,
        splitter: Splitter,
        note_leftover: Callable[[str], None],
    ) -> None:
        self._tracker = tracker
        self._splitter = splitter
        self._note_leftover = note_leftover
        self._open: set[LiveExchange] = set()
        self._has_noted_rest = False
        self.is_over: bool = False

    @property
    def is_deaf(self) -> bool:
        """Whether a fault has had the client read no more: what was read is not answered."""
        return self._tracker.is_deaf

    # -- what the client sends

    def read(self, data: bytes, now: float) -> tuple[list[tuple[Frame, LiveExchange]], bool]:
        """Take what the client has sent; return the frames, and whether more may come."""
        try:
            frames = self._splitter.feed(data)
        except FramingError:
            frames = []
        found = [(frame, self._begin(frame, now)) for frame in frames]
        if self._splitter.error is None:
            return found, True
        self._report_leftover(f"sent what is not a frame: {self._splitter.error}")
        self._note_rest(now)
        return found, False

    @property
    def flush_after(self) -> float:
        """The seconds to wait for more at most, before `flush`."""
        splitter = self._splitter
        is_waiting = isinstance(splitter, RecordedUnitSplitter) and splitter.is_waiting
        return _FLUSH_AFTER if is_waiting else math.inf

    def flush(self, now: float) -> list[tuple[Frame, LiveExchange]]:
        """Return the frame that waited for more, where nothing has come."""
        splitter = self._splitter
        frames = splitter.flush() if isinstance(splitter, RecordedUnitSplitter) else []
        return [(frame, self._begin(frame, now)) for frame in frames]

    def finish(self, now: float) -> list[tuple[Frame, LiveExchange]]:
        """Take the client's FIN; return the frame that it ends. Leftover bytes are a finding."""
        found = [(frame, self._begin(frame, now)) for frame in self._splitter.finish()]
        if self._splitter.rest:
            shown = shown_in_line(self._splitter.rest)
            self._report_leftover(f"sent '{shown}' at its end, which is not a whole frame")
            self._note_rest(now)
        return found

    def begin_unsolicited(self, now: float) -> LiveExchange:
        """Begin an exchange without a request; before the client has sent anything it is 0."""
        exchange = self._tracker.begin(now, sent_by=SERVER)
        self._open.add(exchange)
        return exchange

    def _begin(self, frame: Frame, now: float) -> LiveExchange:
        exchange = self._tracker.begin(now, sent_by=CLIENT)
        self._open.add(exchange)
        exchange.payload = frame.payload
        self._tracker.journal.sent(exchange.record, CLIENT, frame.wire, now, is_whole=True)
        return exchange

    def _report_leftover(self, text: str) -> None:
        if not self.is_over:
            self._note_leftover(f"connection {self._tracker.connection.number}: the client {text}")

    def _note_rest(self, now: float) -> None:
        """Record bytes that are not a frame in the journal, a recording and a capture."""
        rest = self._splitter.rest
        if rest and not self._has_noted_rest:
            self._has_noted_rest = True
            exchange = self._tracker.begin(now, sent_by=CLIENT)
            exchange.is_whole = False
            self._tracker.journal.sent(exchange.record, CLIENT, rest, now)
            self._tracker.end(exchange, now, complete=False)

    # -- under faults

    def request(
        self, frame: Frame, exchange: LiveExchange, came: float
    ) -> list[SideActions] | None:
        """Return the actions of faults on a client's frame; ``None``: it is to be answered."""
        tracker = self._tracker
        tracker.look_for_faults(None, came)
        return tracker.strike_frame(frame, exchange, Stage.REQUEST, came)

    def reply(self, frame: Frame, exchange: LiveExchange, now: float) -> list[SideActions]:
        """Return what to do in place of sending a frame."""
        tracker = self._tracker
        tracker.look_for_faults(None, now)
        tracker.journal.sent(exchange.record, SERVER, frame.wire, now, is_whole=True)
        found = tracker.strike_frame(frame, exchange, Stage.REPLY)
        exchange.record.complete = True
        return [SideActions(CLIENT, [Send(frame.wire)])] if found is None else found

    def end(self, exchange: LiveExchange, now: float, *, complete: bool = True) -> None:
        """End an exchange: nothing more is said about its frame."""
        if exchange in self._open:
            self._open.remove(exchange)
            has_reply = exchange.record.reply_size > 0
            self._tracker.end(exchange, now, complete=complete and has_reply)

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        self._tracker.explain()

    def closed(self, now: float) -> None:
        """The connection has ended."""
        if self._splitter.error is None:
            self._note_rest(now)  # it was reset within a frame, or not read to its end
        for exchange in sorted(self._open, key=lambda each: each.record.number):
            self.end(exchange, now, complete=False)
        self._tracker.closed()
