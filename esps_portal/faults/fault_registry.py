"""The faults that are placed: which of them strikes a request or a connection."""

from __future__ import annotations

from collections.abc import Hashable

from esps_portal.faults.fault import Fault, FaultTarget, MissReason
from esps_portal.journal.waiters import Waiters

# Removed faults that a report still needs: so many are kept.
_MAX_REMOVED = 100


class FaultRegistry:
    """The placed faults, in that order: the first that selects and claims a target strikes it."""

    def __init__(self) -> None:
        #: Those that may strike. While it is empty, nobody need call `for_target`.
        self.in_force: list[Fault] = []
        # Removed faults that a report still needs.
        self._removed: list[Fault] = []
        #: Those who wait for a fault to strike; the subject is the fault.
        self.waiters: Waiters = Waiters()

    def place(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        fault.on_strike = self.waiters.notify
        self.in_force.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault; what it has claimed is still struck. Removing it again does nothing."""
        if fault not in self.in_force:
            return
        self.in_force.remove(fault)
        if fault.chance is not None or (fault.must_strike and not fault.happened):
            self._removed.append(fault)
            del self._removed[:-_MAX_REMOVED]

    def clear(self) -> None:
        """End all faults, and forget them."""
        self.in_force.clear()
        self._removed.clear()

    @property
    def never_struck(self) -> list[Fault]:
        """The faults that must strike and have not, removed ones included."""
        placed = (*self._removed, *self.in_force)
        return [fault for fault in placed if fault.must_strike and not fault.happened]

    @property
    def by_chance(self) -> list[Fault]:
        """The faults by chance: a failure can be reproduced only with their seeds."""
        placed = (*self._removed, *self.in_force)
        return [fault for fault in placed if fault.chance is not None]

    def for_target(self, target: FaultTarget) -> Fault | None:
        """Ask every fault about a target; return the one that strikes it."""
        # All faults count the target before the first of them claims it.
        selecting = [fault for fault in self.in_force if fault.selects(target)]
        striking = next((fault for fault in selecting if fault.claim()), None)
        if striking is not None:
            for fault in selecting:
                reason = MissReason.NO_REPLY if fault is striking else MissReason.CLAIMED
                fault.record_miss(reason, target)
            if target.is_connection:
                striking.record_strike()  # it acts at once
        return striking

    def forget(self, connection: Hashable) -> None:
        """Forget a connection that has ended."""
        for fault in self.in_force:
            fault.forget(connection)
