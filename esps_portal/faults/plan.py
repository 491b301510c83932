"""What faults make of one unit: a list of actions that a writer performs in place of sending it.

Nothing here sends or waits. The unit comes in pieces: over TCP a reply of ESPS/1 line by line, a
frame as a whole, and what has no framing as it is read. Each fault is a part of the plan; they act
one after another, in the order in which they were placed. Of those that end the connection only
one does: the one whose place comes first, and of several at one place the one placed first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import attrs

from esps_portal.faults.actions import Action, End, Hold, OtherWay, Pause, Send, merge_sends
from esps_portal.faults.datagram_plan import DatagramPlan, apply_fault
from esps_portal.faults.effects import Effect, Piece, bytes_before_end, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.matching import LiteralScanner, Match
from esps_portal.faults.target import MissReason
from esps_portal.journal.records import RecordedCall, RecordedConnection, RecordedExchange

Record = RecordedCall | RecordedConnection | RecordedExchange


@attrs.define(eq=False)
class Gate:
    """Holds a part back until the unit's bytes match.

    Attributes:
        match: what to find. In a whole frame it is searched; a substring is also found in pieces.
        opens: asked once it is found; the part never acts if it returns False.
        reason: why the fault did not strike, if it is never found.
    """

    match: Match
    opens: Callable[[], bool] = lambda: True
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
        """Return the same as `find` will."""
        scanner = copy.copy(self._scanner)
        found = self.find(piece)
        self._scanner = scanner
        return found


@attrs.frozen
class EndPlace:
    """Where a part ends the connection.

    Attributes:
        passing: so many bytes of the piece pass before it.
        seen: so many bytes of the piece the part has to see.
    """

    part: PlanPart
    passing: int
    seen: int


@attrs.define(eq=False)
class PlanPart:
    """One fault at work on one unit, or on all that is sent on a connection.

    It claims the unit where it begins to act: once its gate has opened and its offset has passed.
    So a short unit, of which nobody knows yet that it has ended, keeps no other from being struck.

    Attributes:
        fault: the fault.
        claims: it has claimed the unit.
        has_struck: it has changed something.
    """

    fault: Fault
    _effect: Effect
    _gate: Gate | None = None
    _offset_left: int = 0
    claims: bool = False
    has_struck: bool = False
    _has_begun: bool = False
    _is_open: bool = False
    _is_out: bool = False
    _size: int = 0

    @property
    def ends(self) -> bool:
        """Whether nothing of the unit passes after it has acted."""
        return self.fault.type.ends or isinstance(self._effect, _InPlaceOfRequest)

    @property
    def ends_at_once(self) -> bool:
        """Whether it ends the connection at the unit's first byte."""
        return self.ends and self.claims and not bytes_before_end(self._effect)

    def feed(self, piece: Piece, on_strike: Callable[[PlanPart], None]) -> list[Action]:
        """Return the actions in place of sending a piece."""
        self._size += len(piece.data)
        start = 0 if self._has_begun else self._start(piece)
        if start is None:
            return [Send(piece.data)]
        self._has_begun = True
        head, piece = piece.data[:start], attrs.evolve(piece, data=piece.data[start:])
        actions = merge_sends(self._effect.feed(piece))
        if actions != merge_sends([Send(piece.data)]) and not self.has_struck:
            on_strike(self)
        # Without bytes there is no place in the unit: a later part must not end it there. Only
        # what had none from the start is passed on as that.
        if head or not (actions or piece.data):
            actions.insert(0, Send(head))
        return actions

    def end_in(self, piece: Piece) -> EndPlace | None:
        """Return where in the piece it ends the connection; ``None``: not there."""
        if self._is_out or self.has_struck or not self.ends:
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
        if self._is_out:
            return None
        start = 0
        if self._gate is not None:
            found = self._gate.find(piece)
            if found is None or not self._open(self._gate):
                return None
            start, self._gate = found, None
        passing = min(self._offset_left, len(piece.data) - start)
        self._offset_left -= passing
        # It begins at once, though no byte may follow: a RST after the last byte is one too.
        return start + passing if not self._offset_left and self._claim() else None

    def confirm(self) -> bool:
        """Whether it will act where `end_in` says; from now on it has claimed the unit."""
        return (self._gate is None or self._open(self._gate)) and self._claim()

    def _open(self, gate: Gate) -> bool:
        if not self._is_open:
            self._is_open = gate.opens()
            self._is_out = not self._is_open
        return self._is_open

    def _claim(self) -> bool:
        if not self.claims:
            self.claims = self.fault.claim()
            self._is_out = not self.claims
        return self.claims

    def opens_for(self, datagram: bytes) -> bool:
        """Whether it acts on a whole datagram."""
        self._size = len(datagram)
        if self._gate is not None and self._gate.match.matches(datagram) and self._open(self._gate):
            self._gate = None
            self._claim()
        return self.claims

    def finish(self, *, is_whole: bool) -> None:
        """The unit has ended; ``is_whole``: it has come as a whole."""
        if self.has_struck or self._is_out:
            return
        if self.claims:
            self.fault.release_claim()
        if self._gate is not None:
            self.fault.record_why(self._gate.reason)
        elif is_whole or self._size:
            self.fault.record_no_change(self._size)


class FaultPlan:
    """One unit under faults.

    Args:
        parts: in the order of placing.
        record: of the request or the exchange; it gets the names of the faults that have struck.

    Attributes:
        has_begun: it has acted already: on the first piece, or before execution.
        has_struck: a fault has changed something.
        has_ended: a fault has ended the connection: nothing more of the unit is sent.
    """

    __slots__ = (
        "_before",
        "_is_finished",
        "_parts",
        "_record",
        "has_begun",
        "has_ended",
        "has_struck",
    )

    def __init__(self, parts: Sequence[PlanPart], record: Record | None = None) -> None:
        self._parts = sorted(parts, key=lambda part: part.fault.number)
        self._record = record
        self._before = [part for part in self._parts if part.fault.when == "before"]
        self.has_begun: bool = False
        self.has_struck: bool = False
        self.has_ended: bool = False
        self._is_finished = False

    @classmethod
    def of(cls, *faults: Fault, record: Record | None = None) -> Self:
        """Return the plan of faults that have selected the unit; those that can claim it do."""
        parts = (part_of(fault) for fault in faults)
        return cls([part for part in parts if part is not None], record)

    def include(self, of_connection: Sequence[PlanPart]) -> None:
        """Have the parts act too that take the connection as one unit, each in its place.

        Args:
            of_connection: from `ConnectionFaults.parts`; those of the last call no longer act.
        """
        own = (part for part in self._parts if not part.fault.strikes_connections)
        self._parts = sorted((*own, *of_connection), key=lambda part: part.fault.number)

    @property
    def strikes_before(self) -> bool:
        """Whether a fault strikes before the request is executed; see `before`."""
        return bool(self._before)

    def before(self) -> list[Action]:
        """Return the actions in place of executing the request, or before it (``latency``)."""
        self.has_begun = True
        actions: list[Action] = []
        for part in self._before:
            self._note_strike(part)
            if part.fault.kind == "latency":
                actions.append(Pause(part.fault.next_delay()))
            else:
                actions += merge_sends(effect_of(part.fault).feed(Piece(b"")))
            if part.fault.type.ends:
                self.has_ended = True
                break
        self._leave_before()
        return actions

    def delay_before(self) -> float | None:
        """Return how many seconds a datagram waits before it is executed; ``None``: it is lost."""
        delay = 0.0
        for part in self._before:
            self._note_strike(part)
            if part.fault.kind == "drop":
                self._leave_before()
                return None
            delay += part.fault.next_delay()
        self._leave_before()
        return delay

    def _leave_before(self) -> None:
        """What strikes before has acted, or gives its claim back: an earlier end was first."""
        for part in self._before:
            part.finish(is_whole=False)
        self._parts = [part for part in self._parts if part not in self._before]

    def datagram(self, datagram: bytes, pad: Callable[[bytes, int], bytes]) -> DatagramPlan:
        """Return what to send in place of a datagram.

        Args:
            pad: makes a datagram so many bytes long.
        """
        self.has_begun = True
        plan = DatagramPlan((datagram,))
        for part in self._parts:
            if part not in self._before and plan.datagrams and part.opens_for(datagram):
                before, plan = plan, apply_fault(part.fault, plan, pad)
                if plan != before:
                    self._note_strike(part)
        self.finish()
        return plan

    def line(self, line: bytes, *, final: bool) -> list[Action]:
        """Return the actions in place of sending a line; ``final``: it ends the reply."""
        actions = self.feed(
            Piece(line, is_frame=True, ends_frame=True, ends_unit=final, terminator=1)
        )
        if final:
            self.finish()
        return actions

    def feed(self, piece: Piece) -> list[Action]:
        """Return the actions in place of sending a piece of the unit."""
        self.has_begun = True
        if self.has_ended:
            return []
        first = self._first_end(piece)
        if first is None or piece.is_frame or first.seen == len(piece.data):
            return self._feed(piece, first)
        # No fault acts on what comes after the end, however much of it was read together.
        actions = self._feed(Piece(piece.data[: first.seen]), first)
        if not self.has_ended:  # an earlier part has changed what it was to find
            actions += self.feed(attrs.evolve(piece, data=piece.data[first.seen :]))
        return merge_sends(actions)

    def _first_end(self, piece: Piece) -> EndPlace | None:
        """Return which part ends the connection within a piece, if any does."""
        while ends := [end for part in self._parts if (end := part.end_in(piece)) is not None]:
            first = min(ends, key=lambda end: end.passing)
            if first.part.confirm():
                return first
        return None

    def _feed(self, piece: Piece, end: EndPlace | None) -> list[Action]:
        """Let all parts act on a piece; of those that end the connection one, if any."""
        actions: list[Action] = [Send(piece.data)]
        for part in self._parts:
            if end is None or end.part is part or not part.ends:
                actions = self._through(part, actions, piece)
        for position, action in enumerate(actions):
            if _ends(action):
                self.has_ended = True
                return merge_sends(actions[: position + 1])
        return merge_sends(actions)

    def finish(self, *, is_whole: bool = True) -> None:
        """The unit has ended: what has not struck it says why.

        Args:
            is_whole: it has come as a whole; otherwise the connection has ended within it.
        """
        if self._is_finished:
            return
        self._is_finished = True
        for part in self._parts:
            if not part.fault.strikes_connections:
                # After the end that another fault has made a part has seen nothing of the rest.
                part.finish(is_whole=is_whole and not self.has_ended)

    def _through(self, part: PlanPart, actions: Iterable[Action], piece: Piece) -> list[Action]:
        """Let one part act on what the parts before it have left."""
        left = list(actions)
        with_bytes = [action for action in left if isinstance(action, Send | Hold)]
        result: list[Action] = []
        for action in left:
            if not isinstance(action, Send | Hold):
                result.append(action)
                if _ends(action):
                    break
                continue
            if part.fault.strikes_connections:
                result += part.feed(Piece(action.data), self._note_strike)
                continue
            # Of a frame that an earlier part has cut only the last piece ends it.
            is_last, is_whole = action is with_bytes[-1], len(with_bytes) == 1
            cut = Piece(
                action.data,
                is_frame=piece.is_frame and is_whole,
                ends_frame=piece.ends_frame and is_last,
                ends_unit=piece.ends_unit and is_last,
                terminator=piece.terminator if is_last else 0,
            )
            found = part.feed(cut, self._note_strike)
            result += _held_as(action, found) if isinstance(action, Hold) else found
        return result

    def _note_strike(self, part: PlanPart) -> None:
        self.has_struck = part.has_struck = True
        part.fault.record_strike()
        if self._record is not None:
            noted, name = self._record.fault, str(part.fault)
            if f"; {name}; " not in f"; {noted}; ":
                self._record.fault = f"{noted}; {name}" if noted else name


def _held_as(hold: Hold, actions: Iterable[Action]) -> Iterator[Action]:
    """Hold back what a later part has made of bytes that an earlier one holds back."""
    merged = merge_sends(list(actions))
    last = next((action for action in reversed(merged) if isinstance(action, Send)), None)
    for action in merged:
        if isinstance(action, Send):
            yield attrs.evolve(hold, data=action.data, final=hold.final and action is last)
        else:
            yield action


def _ends(action: Action) -> bool:
    """Whether nothing more of the unit passes."""
    return isinstance(action, OtherWay) or (isinstance(action, End) and action.how != "deaf")


def part_of(fault: Fault, gate: Gate | None = None, *, number: int = 1) -> PlanPart | None:
    """Return a fault at work on a target that it has selected, if it can claim it.

    One that may begin to act later, at an offset or where something is found, claims it then.

    Args:
        number: of the exchange; what the server says first, exchange 0, is not counted.
    """
    if gate is None and fault.reply_match is not None:
        gate = Gate(fault.reply_match, fault.selects_reply if number else lambda: True)
    claims = gate is None and not fault.offset
    if claims and not fault.claim():
        return None
    effect = effect_of(fault)
    if fault.when == "before" and (fault.type.ends or fault.kind == "deaf"):
        effect = _InPlaceOfRequest(effect)
    return PlanPart(fault, effect, gate, fault.offset, claims)


@attrs.define
class _InPlaceOfRequest:
    """Performs an end towards the client, or deafness, and lets nothing of the request pass."""

    _effect: Effect
    _is_over: bool = False

    def feed(self, _: Piece) -> list[Action]:
        if self._is_over:
            return []
        self._is_over = True
        return [OtherWay(tuple(merge_sends(self._effect.feed(Piece(b"")))))]
