"""The plan of faults for one unit: actions that a writer performs instead of sending it.

Nothing here sends or waits. The unit arrives in pieces: over TCP a reply of ESPS/1 line by line, a
frame as a whole, and an unframed exchange as it is read. Each fault is a part of the plan. The
parts act one after another, in the order in which the faults were placed. Only one part may end the
connection: the one that acts at the earliest byte, and among several at the same byte the one that
was placed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import attrs

from esps_portal.faults.actions import Action, End, Hold, OtherWay, Pause, Send, merge_sends
from esps_portal.faults.datagram_plan import DatagramPlan, apply_fault
from esps_portal.faults.effects import Piece, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.plan_part import EndPlace, PlanPart, part_of
from esps_portal.journal.records import RecordedCall, RecordedConnection, RecordedExchange

Record = RecordedCall | RecordedConnection | RecordedExchange


class FaultPlan:
    """One unit under faults.

    Args:
        parts: in the order of placing.
        record: of the request or the exchange; it gets the names of the faults that have struck.

    Attributes:
        has_begun: it has acted on a stream already: on the first piece, or before execution.
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
        """Add the parts that take the connection as one unit, in the order of placing.

        Args:
            of_connection: from `ConnectionFaults.parts`. They replace those of an earlier call.
        """
        own = (part for part in self._parts if not part.fault.strikes_connections)
        self._parts = sorted((*own, *of_connection), key=lambda part: part.fault.number)

    @property
    def strikes_before(self) -> bool:
        """Whether a fault strikes before the request is executed; see `before`."""
        return bool(self._before)

    def before(self) -> list[Action]:
        """Return the actions instead of executing the request, or before that (``latency``)."""
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
        """Drop the parts that strike before execution; those that did not act free their claims."""
        for part in self._before:
            part.finish(is_whole=False)
        self._parts = [part for part in self._parts if part not in self._before]

    def datagram(
        self,
        datagram: bytes,
        pad: Callable[[bytes, int], bytes],
        holds: Callable[[Fault], bool] = lambda _: False,
    ) -> DatagramPlan:
        """Return what to send in place of a datagram, after `delay_before`.

        Args:
            pad: pads a datagram to a length in bytes.
            holds: whether a fault holds another datagram back. Then it lets this one pass: if all
                waited for others, none would come before another.
        """
        plan = DatagramPlan((datagram,))
        for part in self._parts:
            if plan.datagrams and part.opens_for(datagram) and not holds(part.fault):
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
        """The unit has ended: let faults record why they have not struck it.

        Args:
            is_whole: it has come as a whole; otherwise the connection has ended within it.
        """
        if self._is_finished:
            return
        self._is_finished = True
        for part in self._parts:
            if not part.fault.strikes_connections:
                # A part has not seen what comes after the end that another fault has made.
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
            # If an earlier part has cut the frame, only its last piece ends it.
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
        self.has_struck = True
        part.note_strike()
        if self._record is not None:
            noted, name = self._record.fault, str(part.fault)
            if f"; {name}; " not in f"; {noted}; ":
                self._record.fault = f"{noted}; {name}" if noted else name


def _held_as(hold: Hold, actions: Iterable[Action]) -> Iterator[Action]:
    """Return actions of a later part as held back, since an earlier part holds their bytes."""
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
