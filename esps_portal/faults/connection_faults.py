"""The faults that take everything that is sent on one connection as one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.fault_registry import FaultRegistry
    from esps_portal.faults.plan_part import PlanPart
    from esps_portal.faults.target import FaultTarget


class ConnectionFaults:
    """The faults with ``unit="connection"`` that act on one connection.

    Each counts bytes from the connection's start, or from when it was placed. Once it is removed it
    acts no more.

    Args:
        faults: those that are placed; they are asked before each piece that is sent.
        target: returns the `FaultTarget` for the connection, with its present age.
    """

    __slots__ = ("_faults", "_known", "_parts", "_target")

    def __init__(self, faults: FaultRegistry, target: Callable[[], FaultTarget]) -> None:
        self._faults = faults
        self._target = target
        self._known: set[Fault] = set()
        self._parts: list[PlanPart] = []

    def parts(self) -> list[PlanPart]:
        """Return the parts of faults that act on what is sent now."""
        in_force = self._faults.in_force
        if self._parts:
            self._finish(part for part in self._parts if part.fault not in in_force)
            self._parts = [part for part in self._parts if part.fault in in_force]
        if any(f.strikes_whole_connections and f not in self._known for f in in_force):
            self._parts += self._faults.parts_of_connection(self._target(), self._known)
        return self._parts

    def finish(self) -> None:
        """The connection has ended: let faults record why they have not struck it."""
        self._finish(self._parts)
        self._parts = []

    def _finish(self, parts: Iterable[PlanPart]) -> None:
        for part in parts:
            part.finish(is_whole=True)
