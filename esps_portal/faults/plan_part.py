"""One fault that acts on one unit: from which byte on, and what it does to each piece.

It claims the unit where it begins to act: once the bytes that it looks for have arrived, and its
offset has passed. `esps_portal.faults.plan` lets the parts of a unit act one after another.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable

import attrs

from esps_portal.faults.actions import Action, OtherWay, Send, merge_sends
from esps_portal.faults.effects import Effect, Piece, bytes_before_end, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.matching import LiteralScanner, Match
from esps_portal.faults.target import MissReason


@attrs.define(eq=False)
class Gate:
    """Holds a part back until the unit's bytes match.

    Attributes:
        match: what to find. In a whole frame it is searched; a substring is also found in pieces.
        opens: asked once it is found; the part never acts if it returns False.
        reason: why the fault did not strike, if it is never found.
    """

    match: Match
    opens: Callable[[], bool]
    reason: MissReason = MissReason.REPLY_MATCH
    _scanner: LiteralScanner | None = None

    def find(self, piece: Piece) -> int | None:
        """Return from which byte of the piece on the part acts; ``None``: from none."""
        if piece.is_frame:
            return 0 if self.match.matches(piece.data) else None
        if self._scanner is None:
            assert self.match.literal is not None  # noqa: S101 - `Place.check` has said so
            self._scanner = LiteralScanner(self.match.literal)
        return self._scanner.feed(piece.data)

    def peek(self, piece: Piece) -> int | None:
        """Return what `find` would return, without having read the piece."""
        scanner = copy.copy(self._scanner)
        found = self.find(piece)
        self._scanner = scanner
        return found


class PartState(enum.Enum):
    """How far a part has come."""

    WAITING = "the bytes that it looks for have not arrived"
    OPEN = "it may claim the unit where it begins to act"
    CLAIMED = "it has claimed the unit, and has changed nothing so far"
    STRUCK = "it has changed something"
    OUT = "it never acts: its gate did not open, or its fault has claimed enough"


@attrs.frozen
class EndPlace:
    """Where a part ends the connection.

    Attributes:
        passing: how many bytes of the piece pass before it.
        seen: how many bytes of the piece the part has to see.
    """

    part: PlanPart
    passing: int
    seen: int


@attrs.define(eq=False)
class PlanPart:
    """One fault that acts on one unit, or on all that is sent on a connection.

    It claims the unit where it begins to act: once its gate has opened and its offset has passed.
    So a short unit does not keep others from being struck, though its end is not known yet.

    Attributes:
        fault: the fault.
        state: how far it has come.
    """

    fault: Fault
    _effect: Effect
    _gate: Gate | None
    _offset_left: int
    state: PartState
    _size: int = 0
    _found_at: int = 0

    @property
    def ends(self) -> bool:
        """Whether nothing of the unit passes after it has acted."""
        return self.fault.type.ends or isinstance(self._effect, _InPlaceOfRequest)

    @property
    def has_claimed(self) -> bool:
        """Whether it has claimed the unit."""
        return self.state in (PartState.CLAIMED, PartState.STRUCK)

    @property
    def has_struck(self) -> bool:
        """Whether it has changed something."""
        return self.state is PartState.STRUCK

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to explain: it has struck, or never acts."""
        return self.state in (PartState.STRUCK, PartState.OUT)

    @property
    def ends_at_once(self) -> bool:
        """Whether it ends the connection at the unit's first byte."""
        return self.ends and self.has_claimed and not bytes_before_end(self._effect)

    def feed(self, piece: Piece, on_strike: Callable[[PlanPart], None]) -> list[Action]:
        """Return the actions in place of sending a piece."""
        self._size += len(piece.data)
        start = self._start(piece)
        if start is None:
            return [Send(piece.data)]
        head, piece = piece.data[:start], attrs.evolve(piece, data=piece.data[start:])
        actions = merge_sends(self._effect.feed(piece))
        if actions != merge_sends([Send(piece.data)]) and not self.has_struck:
            on_strike(self)
        # An empty `Send` would let a later part end the unit at this place. So an empty head is
        # sent only if the whole piece was empty, and nothing else is done about it.
        if head or not (actions or piece.data):
            actions.insert(0, Send(head))
        return actions

    def end_in(self, piece: Piece) -> EndPlace | None:
        """Return where in the piece it ends the connection; ``None``: not there."""
        if self.is_done or not self.ends:
            return None
        start: int | None = 0
        if self._gate is not None:
            start = self._gate.peek(piece)
        if start is None:
            return None
        passing = start + self._offset_left + bytes_before_end(self._effect)
        if passing > len(piece.data):
            return None
        return EndPlace(self, passing, passing if self._gate is None else max(passing, start + 1))

    def _start(self, piece: Piece) -> int | None:
        """Return from which byte of the piece on it acts; ``None``: from none."""
        if self.state is PartState.OUT:
            return None
        start = 0
        if self._gate is not None:
            found = self._gate.find(piece)
            if found is None or not self._open(self._gate):
                return None
            start, self._gate = found, None
            self._found_at = self._size - len(piece.data) + start
        passing = min(self._offset_left, len(piece.data) - start)
        self._offset_left -= passing
        # It begins at once, though no byte may follow: a RST after the last byte is one too.
        return start + passing if not self._offset_left and self._claim() else None

    def confirm(self) -> bool:
        """Whether it will act where `end_in` says; from now on it has claimed the unit."""
        return (self._gate is None or self._open(self._gate)) and self._claim()

    def _open(self, gate: Gate) -> bool:
        if self.state is PartState.WAITING:
            self.state = PartState.OPEN if gate.opens() else PartState.OUT
        return self.state is not PartState.OUT

    def _claim(self) -> bool:
        if self.state is PartState.OPEN:
            self.state = PartState.CLAIMED if self.fault.claim() else PartState.OUT
        return self.has_claimed

    def opens_for(self, datagram: bytes) -> bool:
        """Whether it acts on a whole datagram."""
        self._size = len(datagram)
        if self._gate is not None and self._gate.match.matches(datagram) and self._open(self._gate):
            self._gate = None
            self._claim()
        return self.has_claimed

    def note_strike(self) -> None:
        """Count a strike: it has changed something."""
        self.state = PartState.STRUCK
        self.fault.record_strike()

    def finish(self, *, is_whole: bool) -> None:
        """The unit has ended; ``is_whole``: it has come as a whole."""
        if self.is_done:
            return
        if self.has_claimed:
            self.fault.release_claim()
        self.explain(is_whole=is_whole)

    def explain(self, *, is_whole: bool = False) -> None:
        """Note why it has not struck so far; the unit may go on."""
        if self.is_done:
            return
        if self._gate is not None:
            self.fault.record_why(self._gate.reason)
        elif is_whole or self._size:
            self.fault.record_no_change(self._size, self._found_at)


def part_of(fault: Fault, gate: Gate | None = None, *, number: int = 1) -> PlanPart | None:
    """Return the part of a fault for a target that it has selected, if it can claim it.

    One that may begin to act later, at an offset or where something is found, claims it then.

    Args:
        number: of the exchange; what the server sends first, exchange 0, is not counted.
    """
    if gate is None and fault.reply_match is not None:
        gate = Gate(fault.reply_match, fault.selects_reply if number else lambda: True)
    state = PartState.OPEN if gate is None else PartState.WAITING
    if gate is None and not fault.offset:
        if not fault.claim():
            return None
        state = PartState.CLAIMED
    effect = effect_of(fault)
    if fault.when == "before" and (fault.type.ends or fault.kind == "deaf"):
        effect = _InPlaceOfRequest(effect)
    return PlanPart(fault, effect, gate, fault.offset, state)


@attrs.frozen
class _InPlaceOfRequest:
    """Performs an end towards the client, or deafness, and lets nothing of the request pass.

    The plan ends with it, so that it acts once.
    """

    _effect: Effect

    def feed(self, _: Piece) -> list[Action]:
        return [OtherWay(tuple(merge_sends(self._effect.feed(Piece(b"")))))]
