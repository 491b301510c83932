"""Exchanges of a protocol without framing, cut where the sides take turns, never by reads.

Exchange k begins with the first byte of the client after a byte of the server; exchange 0 is what
the server sends first. Faults of a request are decided at its first byte, or at the last byte of
the substring that selects it; those of a reply at its first byte. Nothing is held back to wait for
more.
"""

from __future__ import annotations

from collections.abc import Callable

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange, SideActions
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.effects import Piece
from esps_portal.faults.fault import Fault
from esps_portal.faults.plan_part import Gate, PlanPart, part_of
from esps_portal.faults.target import MissReason, Stage


class Unframed:
    """The units of one connection; see the module and `Units`."""

    def __init__(self, tracker: ExchangeTracker) -> None:
        self._tracker = tracker
        self._current: LiveExchange | None = None
        # The faults in force when each side began to send.
        self._versions: dict[str, int] = {}
        # How many had been placed when the reply began; what of it came before the next ones.
        self._placed = 0
        self._before_later: int | None = None

    def from_client(self, data: bytes, now: float, *, is_early: bool) -> list[SideActions] | None:
        """Take what the client has sent; ``is_early``: a reply was still under way."""
        tracker, current = self._tracker, self._current
        tracker.look_for_faults(current, now)
        if current is None or not current.record.number or current.record.reply_size:
            if current is not None:
                self._note_found(current)
                tracker.end(current, now, complete=True)
            current = self._current = tracker.begin(now, sent_by=CLIENT)
            self._versions[CLIENT] = tracker.faults.version
            if not tracker.is_plain_towards(SERVER):
                current.request_parts = self._request_parts(current)
                current.request_plan = tracker.plan(SERVER, current.request_parts, current)
        else:
            self._note_begun(current, CLIENT)
        if is_early:
            tracker.mark_overlapped(current)
        tracker.journal.sent(current.record, CLIENT, data, now)
        if current.request_plan is None:
            return None
        return tracker.feed(current.request_plan, Piece(data), current, to=SERVER)

    def _request_parts(self, exchange: LiveExchange) -> list[PlanPart]:
        """Return the faults that strike a request as it begins, or once they find their match."""
        tracker = self._tracker
        parts = tracker.parts(exchange, Stage.REQUEST, without_match=True)
        if SERVER in tracker.cut_off:
            return parts
        for fault in tracker.faults.in_force:
            is_possible = fault.strikes_requests and not fault.unit and "tcp" in fault.transports
            if is_possible and fault.match is not None:
                exchange.waiting.append(fault)
                gate = Gate(fault.match, self._opener(fault, exchange), MissReason.MATCH)
                part = part_of(fault, gate)
                if part is not None:
                    parts.append(part)
        return parts

    def _opener(self, fault: Fault, exchange: LiveExchange) -> Callable[[], bool]:
        tracker = self._tracker

        def opens() -> bool:
            exchange.waiting.remove(fault)
            assert fault.match is not None  # noqa: S101 - it has just been found
            target = tracker.exchange_target(
                exchange, Stage.REQUEST, request_data=fault.match.literal
            )
            is_selected = fault.selects(target)
            if is_selected:
                # The nearest so far: what follows shows whether there is anything to change.
                fault.record_miss(MissReason.NO_REPLY, target)
            return is_selected

        return opens

    def _note_begun(self, exchange: LiveExchange, sender: str) -> None:
        """Have faults that were placed since a side began to send note that it goes on."""
        tracker = self._tracker
        if self._versions[sender] != tracker.faults.version:
            self._versions[sender] = tracker.faults.version
            tracker.note_begun(exchange, Stage.REQUEST if sender == CLIENT else Stage.REPLY)
            if sender == SERVER and self._before_later is None:
                self._before_later = len(exchange.record.reply)

    def _note_found(self, exchange: LiveExchange) -> None:
        """Have faults that were placed since the reply began note what has come of it since."""
        if self._before_later is not None:
            target = self._tracker.exchange_target(exchange, Stage.REPLY)
            later = exchange.record.reply[self._before_later :]
            self._tracker.faults.note_found(target, later, self._placed)

    def from_server(self, data: bytes, now: float) -> list[SideActions] | None:
        """Take what the server has sent."""
        tracker, current = self._tracker, self._current
        tracker.look_for_faults(current, now)
        if current is None:
            current = self._current = tracker.begin(now, sent_by=SERVER)
        is_first = not current.record.reply_size
        if is_first:
            self._versions[SERVER] = tracker.faults.version
            self._placed, self._before_later = tracker.faults.placed, None
        else:
            self._note_begun(current, SERVER)
        tracker.journal.sent(current.record, SERVER, data, now)
        if is_first and not tracker.is_plain_towards(CLIENT):
            current.reply_parts = tracker.parts(current, Stage.REPLY)
            current.reply_plan = tracker.plan(CLIENT, current.reply_parts, current)
        if current.reply_plan is None:
            return None
        return tracker.feed(current.reply_plan, Piece(data), current, to=CLIENT)

    def ended(self, side: str, now: float, *, is_cut: bool = False) -> list[SideActions]:  # noqa: ARG002 - nothing is held back
        """One side sends nothing more."""
        return []

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        if self._current is not None:
            self._note_found(self._current)
        self._tracker.explain(self._current)

    def closed(self, now: float, *, gracefully: bool) -> None:
        """End the exchange that goes on; ``gracefully``: both sides have sent FIN."""
        if self._current is not None:
            self._note_found(self._current)
            complete = gracefully and self._current.record.reply_size > 0
            self._tracker.end(self._current, now, complete=complete)
        self._tracker.closed()
