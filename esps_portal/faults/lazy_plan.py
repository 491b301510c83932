"""Makes plans and actions of faults, and imports the modules for that when a fault strikes.

So a server that no fault strikes starts without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esps_portal.faults.actions import Action
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.plan import FaultPlan, Record
    from esps_portal.faults.plan_part import PlanPart


def plan_of(parts: Sequence[PlanPart], record: Record | None = None) -> FaultPlan:
    """Return the plan of some parts; see `FaultPlan`."""
    from esps_portal.faults.plan import FaultPlan  # noqa: PLC0415 - see the module

    return FaultPlan(parts, record)


def actions_at_once(fault: Fault) -> list[Action]:
    """Return what a fault does that strikes a connection while nothing is sent."""
    from esps_portal.faults.effects import Piece, effect_of  # noqa: PLC0415 - see the module

    return effect_of(fault).feed(Piece(b""))
