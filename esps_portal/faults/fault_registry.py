"""The placed faults: which of them strikes a request or a connection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from esps_portal.faults.fault import Fault
from esps_portal.faults.place import PORTAL, Place
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.plan_part import PlanPart, part_of
from esps_portal.faults.target import FaultTarget, MissReason, Stage
from esps_portal.journal.waiters import Waiter, Waiters

# How many removed faults are kept that a report may still need.
_MAX_REMOVED = 100


class FaultRegistry:
    """The placed faults, in that order.

    Args:
        where: what kind of server has the faults.

    Attributes:
        in_force: the faults that may strike; always the same list. While there are none, nobody
            needs to ask.
        version: changes with `in_force`.
        placed: how many faults have been placed so far.
        on_change: each is called when `in_force` has changed.
        live: one for each open connection: lets its faults record why they have not struck so far.
    """

    def __init__(self, where: Place = PORTAL) -> None:
        self.where: Place = where
        self.in_force: list[Fault] = []
        self.version: int = 0
        self.placed: int = 0
        self.on_change: list[Callable[[], None]] = []
        self.live: set[Callable[[], None]] = set()
        # Removed faults that a report still needs.
        self._removed: list[Fault] = []
        #: Those who wait for a fault to strike; the subject is the fault.
        self.waiters: Waiters = Waiters()
        #: Each is called with a fault that has struck.
        self.on_strike: list[Callable[[Fault], None]] = []

    def place(self, fault: Fault) -> Fault:
        """Put a fault in force.

        Raises:
            FaultError: it makes no sense here.
        """
        self.where.check(fault)
        fault.on_strike = self._note_strike
        self.placed += 1
        fault.number = self.placed
        self.in_force.append(fault)
        self._note_change()
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault; what it has claimed is still struck. Removing it again does nothing."""
        if fault not in self.in_force:
            return
        self.in_force.remove(fault)
        self._keep(fault)
        self._note_change()

    def remove_all(self) -> None:
        """End all faults in force; what they have claimed is still struck."""
        removed = self.in_force[:]
        self.in_force.clear()
        for fault in removed:
            self._keep(fault)
        self._note_change()

    def _keep(self, fault: Fault) -> None:
        """Keep a removed fault if a report may need it."""
        if fault.failure or fault.chance is not None or (fault.must_strike and not fault.happened):
            self._removed.append(fault)
            del self._removed[:-_MAX_REMOVED]

    def clear(self) -> None:
        """End all faults, and forget them."""
        self.in_force.clear()
        self._removed.clear()
        self._note_change()

    def add_waiter(self, fault: Fault, count: int, met: Callable[[], None]) -> Waiter:
        """Have ``met`` called, once, when a fault has struck ``count`` times; see `Waiter`."""
        return self.waiters.add(Waiter(fault, count, met, fault.happened))

    def _note_strike(self, fault: Fault) -> None:
        self.waiters.notify(fault)
        for call in self.on_strike:
            call(fault)

    def _note_change(self) -> None:
        self.version += 1
        for call in self.on_change:
            call()

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""
        for explain in self.live:
            explain()

    @property
    def _reported(self) -> list[Fault]:
        """The faults that a report may be about."""
        return [*self._removed, *self.in_force]

    @property
    def never_struck(self) -> list[Fault]:
        """The faults that must strike and have not, removed ones included."""
        return [fault for fault in self._reported if fault.must_strike and not fault.happened]

    @property
    def failed(self) -> list[Fault]:
        """The faults whose predicate has raised."""
        return [fault for fault in self._reported if fault.failure]

    @property
    def by_chance(self) -> list[Fault]:
        """The faults by chance: a failure can be reproduced only with their seeds."""
        return [fault for fault in self._reported if fault.chance is not None]

    def plan(self, target: FaultTarget) -> FaultPlan | None:
        """Ask every fault about a request or a reply; return the plan of those that strike it.

        Those that shape it act one after another; of those that end it only one does.
        """
        parts = self.parts(target)
        return FaultPlan(parts, target.record) if parts else None

    def parts(self, target: FaultTarget, *, without_match: bool = False) -> list[PlanPart]:
        """Return each fault that strikes a target, in the order of placing.

        Args:
            without_match: ask only those that select nothing by what the client sends; and those of
                another transport, which no bytes can select.
        """
        asked = self.in_force
        if without_match:
            asked = [f for f in asked if f.match is None or target.transport not in f.transports]
        # All faults count the target before the first of them claims it.
        selecting = [fault for fault in asked if fault.selects(target)]
        parts: list[PlanPart] = []
        ends_at_once = False
        for fault in selecting:
            part = (
                None if ends_at_once and fault.type.ends else part_of(fault, number=target.number)
            )
            if part is not None:
                parts.append(part)
                ends_at_once = ends_at_once or part.ends_at_once
            fault.record_miss(MissReason.NO_REPLY if part else MissReason.CLAIMED, target)
        return parts

    def note_begun(self, target: FaultTarget) -> None:
        """Note that a request or a reply goes on: it strikes none that it began before."""
        for fault in self.in_force:
            fault.record_begun(target)

    def note_found(self, target: FaultTarget, data: bytes, placed: int) -> None:
        """Note what came of a reply since faults were placed that strike none of it.

        Args:
            placed: how many faults had been placed when it began.
        """
        for fault in self.in_force:
            if fault.number > placed:
                fault.record_found(target, data)

    def count_unanswered(self, target: FaultTarget) -> None:
        """Count a request that has got no reply, for the faults that count requests."""
        for fault in self.in_force:
            fault.count_unanswered(target)

    def strike_connection(self, target: FaultTarget) -> Fault | None:
        """Return the fault that strikes a connection before any request; it has struck already.

        Args:
            target: the connection, as it is accepted or as its TLS handshake begins.
        """
        if target.stage is Stage.HANDSHAKE:
            asked = [fault for fault in self.in_force if fault.type.at_handshake]
            return _strike_first(asked, target)
        for fault in self.in_force:
            if not fault.is_decided_at_once:
                fault.selects(target)  # it counts connections
        return _strike_first(
            [f for f in self.in_force if f.type.precedes_requests and not f.type.at_handshake],
            target,
        )

    def strike_at_age(self, target: FaultTarget, reached: set[Fault]) -> Fault | None:
        """Return the fault that strikes a connection at its age; it has struck already.

        Args:
            reached: faults whose age the connection has reached before; they are not asked again.
                Those whose age it reaches now are added.
        """
        asked = [f for f in self.in_force if f.strikes_at_age and f not in reached]
        reached.update(fault for fault in asked if target.age >= (fault.age or 0.0))
        return _strike_first(asked, target)

    def parts_of_connection(self, target: FaultTarget, known: set[Fault]) -> list[PlanPart]:
        """Return the faults that take all that is sent on a connection as one unit.

        Args:
            known: faults that were asked about this connection before; those asked now are added.
        """
        new = [
            fault
            for fault in self.in_force
            if fault.strikes_whole_connections
            and fault not in known
            and target.age >= (fault.age or 0.0)
        ]
        known.update(new)
        parts: list[PlanPart] = []
        for fault in new:
            if fault.selects(target):
                part = part_of(fault)
                if part is not None:
                    parts.append(part)
                fault.record_miss(MissReason.NO_REPLY if part else MissReason.CLAIMED, target)
        return parts

    def forget(self, connection: Hashable) -> None:
        """Forget a connection that has ended."""
        for fault in self.in_force:
            fault.forget(connection)


def _strike_first(faults: Iterable[Fault], target: FaultTarget) -> Fault | None:
    """Ask all of these faults about a target; let the first that can claim it strike at once."""
    selecting = [fault for fault in faults if fault.selects(target)]
    striking = next((fault for fault in selecting if fault.claim()), None)
    if striking is not None:
        for fault in selecting:
            fault.record_miss(MissReason.CLAIMED, target)
        striking.record_strike()
    return striking
