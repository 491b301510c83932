"""An exchange in progress, and the actions that send its bytes to a side."""

from __future__ import annotations

import attrs

from esps_portal.faults.actions import Action, End
from esps_portal.faults.effects import Piece
from esps_portal.faults.fault import Fault
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.plan_part import PlanPart
from esps_portal.framings.framing import Frame
from esps_portal.journal.records import RecordedExchange

CLIENT, SERVER = "client", "server"


@attrs.frozen
class SideActions:
    """Actions to perform, in order, on the way to one side.

    Attributes:
        to: the side that sees it: client or server.
    """

    to: str
    actions: list[Action]

    @property
    def ends_connection(self) -> bool:
        """Whether a fault ends the connection with them."""
        return any(isinstance(a, End) and a.how in {"close", "reset"} for a in self.actions)


@attrs.define(eq=False)
class LiveExchange:
    """An exchange in progress.

    Attributes:
        record: what the journal has of it.
        request_plan, reply_plan: what faults do to each side; ``None``: none strikes it.
        request_parts, reply_parts: the faults in these plans that strike this exchange alone.
        payload: that of the request's frame, or its datagram; without framing faults look at the
            bytes of the request instead.
        counted: the number that each fault gave to its request.
        waiting: faults whose ``match`` has not been found in the request so far.
        is_unsolicited: the server sends without a request.
        is_whole: false once some of its bytes are known not to be a whole frame: faults do not
            count such a request, and the exchange is never complete.
    """

    record: RecordedExchange
    request_plan: FaultPlan | None = None
    reply_plan: FaultPlan | None = None
    request_parts: list[PlanPart] = attrs.field(factory=list)
    reply_parts: list[PlanPart] = attrs.field(factory=list)
    payload: bytes = b""
    counted: dict[object, int] = attrs.field(factory=dict)
    waiting: list[Fault] = attrs.field(factory=list)
    is_unsolicited: bool = False
    is_whole: bool = True


def piece_of(frame: Frame) -> Piece:
    """Return a frame that is a unit; what follows its payload only ends it."""
    has_terminator = frame.wire.startswith(frame.payload)
    return Piece(
        frame.wire,
        is_frame=True,
        ends_frame=True,
        ends_unit=True,
        terminator=len(frame.wire) - len(frame.payload) if has_terminator else 0,
    )
