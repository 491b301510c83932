"""Exchanges of a protocol with framing: a frame of the client, and the frames that answer it.

A frame is passed on or changed as a whole. While any fault is in force, a frame waits in the proxy
until it is whole; otherwise bytes pass as they arrive. `esps_portal.proxy.pairing` decides which
request a reply belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange, SideActions
from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.actions import Send
from esps_portal.faults.target import Stage
from esps_portal.framings.framing import Frame, Framing, FramingError
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.journal.shown_bytes import shown_in_line
from esps_portal.proxy.pairing import KeyOf, Pairing


@attrs.define(eq=False)
class _Side:
    """What one side sends: its frames, and how much of the unfinished one has passed.

    Attributes:
        is_broken: something was not a frame, or too long; bytes now pass as they come.
        passed: bytes of the unfinished frame that have passed already.
        rest_of: the exchange with bytes that are not a whole frame; ``None``: none so far.
    """

    name: str
    splitter: FrameSplitter
    is_broken: bool = False
    passed: int = 0
    rest_of: LiveExchange | None = None


class Framed:
    """The units of one connection; see the module and `Units`.

    Args:
        note_leftover: called with a text about bytes that are not a whole frame.
        key_of: what pairs a reply with its request, such as a tag; ``None``: only their order.
    """

    def __init__(
        self,
        tracker: ExchangeTracker,
        framing: Framing,
        reply_framing: Framing,
        note_leftover: Callable[[str], None],
        key_of: KeyOf | None = None,
    ) -> None:
        self._tracker = tracker
        self._note_leftover = note_leftover
        self._pairing = Pairing(tracker, key_of)
        self._client = _Side(CLIENT, FrameSplitter(framing))
        self._server = _Side(SERVER, FrameSplitter(reply_framing))

    def from_client(self, data: bytes, now: float, *, is_early: bool) -> list[SideActions] | None:  # noqa: ARG002 - frames are told apart
        """Take what the client has sent."""
        if self._tracker.is_deaf:
            return []
        return self._take(self._client, data, now)

    def from_server(self, data: bytes, now: float) -> list[SideActions] | None:
        """Take what the server has sent."""
        return self._take(self._server, data, now)

    def ended(self, side: str, now: float, *, is_cut: bool = False) -> list[SideActions]:
        """One side sends nothing more: an incomplete frame passes as it is.

        That is a finding, unless it was the proxy that has stopped reading within a frame.
        """
        if side == CLIENT and self._tracker.is_deaf:
            return []
        return self._finish(self._client if side == CLIENT else self._server, now, is_cut=is_cut)

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        self._tracker.explain()

    def closed(self, now: float, *, gracefully: bool) -> None:
        """End the exchanges that go on; ``gracefully``: both sides have sent FIN."""
        for side in (self._client, self._server):
            self._note_rest(side, now)  # it was reset within a frame, or not read to its end
        self._pairing.closed(now, gracefully=gracefully)
        self._tracker.closed()

    # -- frames

    def _take(self, side: _Side, data: bytes, now: float) -> list[SideActions] | None:
        tracker = self._tracker
        tracker.look_for_faults(None, now)
        if side.is_broken:
            self._note_no_frame(side, data, now)
            return None
        before = side.splitter.rest
        is_plain = tracker.is_plain_towards(_other(side))
        is_passing = is_plain and side.passed == len(before)
        found: list[SideActions] = []
        try:
            frames = side.splitter.feed(data)
        except FramingError as error:
            return self._give_up(side, before + data, str(error), now)
        for frame in frames:
            steps = self._whole(side, frame, now)
            found += steps
            is_unread = side.name == CLIENT and tracker.is_deaf
            if is_unread or any(step.ends_connection for step in steps):
                return found  # what was read with it is not passed on any more
        if side.splitter.error is not None:
            found += self._give_up(side, side.splitter.rest, str(side.splitter.error), now)
        elif is_passing:
            side.passed = len(side.splitter.rest)
            return None
        elif is_plain or side.passed:
            found += self._pass_rest(side)
        return found

    def _whole(self, side: _Side, frame: Frame, now: float) -> list[SideActions]:
        """Decide on a whole frame; one that has passed in part passes to its end."""
        passed, side.passed = side.passed, 0
        found = self._decide(side, frame, now, has_passed=passed > 0)
        return [_send(side, frame.wire[passed:])] if passed else found

    def _pass_rest(self, side: _Side) -> list[SideActions]:
        rest = side.splitter.rest[side.passed :]
        side.passed += len(rest)
        return [_send(side, rest)] if rest else []

    def _finish(self, side: _Side, now: float, *, is_cut: bool) -> list[SideActions]:
        if side.is_broken:
            return []
        if is_cut:
            return self._pass_rest(side)
        found: list[SideActions] = []
        for frame in side.splitter.finish():
            found += self._whole(side, frame, now)
        if side.splitter.rest:
            shown = shown_in_line(side.splitter.rest)
            self._report_leftover(
                f"the {side.name} sent '{shown}' at its end, which is not a whole frame"
            )
            self._note_rest(side, now)
            found += self._pass_rest(side)
        return found

    def _give_up(self, side: _Side, rest: bytes, why: str, now: float) -> list[SideActions]:
        """Pass everything from now on as it comes."""
        side.is_broken = True
        self._note_no_frame(side, rest, now)
        self._report_leftover(f"the {side.name} sent what is not a frame: {why}")
        return [_send(side, rest[side.passed :])]

    def _report_leftover(self, text: str) -> None:
        self._note_leftover(f"connection {self._tracker.connection.number}: {text}")

    def _note_rest(self, side: _Side, now: float) -> None:
        """Record the bytes of a frame that never became whole, unless that is done."""
        if not side.is_broken and side.rest_of is None and side.splitter.rest:
            self._note_no_frame(side, side.splitter.rest, now)

    def _note_no_frame(self, side: _Side, data: bytes, now: float) -> None:
        """Record bytes that are not a frame in the journal, a recording and a capture."""
        exchange = side.rest_of
        if exchange is None or exchange.record.ended is not None:
            find = self._pairing.begin if side.name == CLIENT else self._pairing.answered_by
            exchange = side.rest_of = find(data, now)
            exchange.is_whole = exchange.record.complete = False
        self._tracker.journal.sent(exchange.record, side.name, data, now)

    # -- under faults

    def _decide(
        self, side: _Side, frame: Frame, now: float, *, has_passed: bool
    ) -> list[SideActions]:
        """Record a whole frame; return what to do about it: send it on, or what faults demand."""
        tracker = self._tracker
        if side.name == CLIENT:
            stage = Stage.REQUEST
            exchange = self._pairing.begin(frame.wire, now)
            exchange.payload = frame.payload
        else:
            stage = Stage.REPLY
            exchange = self._pairing.answered_by(frame.wire, now)
        tracker.journal.sent(exchange.record, side.name, frame.wire, now, is_whole=True)
        found = None
        if tracker.is_plain_towards(_other(side)) or has_passed:
            tracker.note_begun(exchange, stage)
        else:
            found = tracker.strike_frame(frame, exchange, stage)
        if stage is Stage.REPLY:
            exchange.record.complete = True
        return [_send(side, frame.wire)] if found is None else found


def _other(side: _Side) -> str:
    return SERVER if side.name == CLIENT else CLIENT


def _send(side: _Side, data: bytes) -> SideActions:
    return SideActions(_other(side), [Send(data)] if data else [])
