"""The exchanges of one connection, in the journal and under faults. Sans-I/O.

The code that reads the connection passes in what arrives, and performs the actions that come back.
It also decides how bytes become units: a proxy's (`esps_portal.proxy.unframed` and
`esps_portal.proxy.framed`) or a peer's. All of them use the `ExchangeTracker`, which keeps the
journal and asks the faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, LiveExchange, SideActions, piece_of
from esps_portal.faults.actions import End, Hold, Note, OtherWay, Pause
from esps_portal.faults.effects import Piece
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.plan_part import PlanPart
from esps_portal.faults.target import FaultTarget, MissReason, Stage
from esps_portal.framings.framing import Frame
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection


class ExchangeTracker:
    """The exchanges of one connection, or of one client over UDP, in the journal and under faults.

    Args:
        faults: those that strike.
        journal: has the exchanges.
        connection: what the journal has of the connection, or its record of the client.
        now: when it was accepted, in seconds; as everywhere on the clock of the journal.
        transport: ``tcp`` or ``udp``.
        service_of: returns the service that a request calls, from its bytes; ``None``: the protocol
            has none.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        faults: FaultRegistry,
        journal: Journal,
        connection: RecordedConnection,
        now: float,
        *,
        transport: str = "tcp",
        service_of: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self._transport = transport
        self.faults: FaultRegistry = faults
        self.journal: Journal = journal
        self.connection: RecordedConnection = connection
        self.opened: float = now
        self._service_of = service_of
        self._number = 0
        # Faults that take the connection as one unit and were asked about it; and the version of
        # the faults at that time.
        self._asked: set[Fault] = set()
        self._faults_version = -1
        # By side: the text of the fault that lets nothing more reach it.
        self.cut_off: dict[str, str] = {}
        #: Whether a fault stops reading the client; bytes read together with its unit do not count.
        self.is_deaf: bool = False
        # Whether a fault waits for the connection to reach an age.
        self._has_younger = False
        # By side: the faults that take all that is sent towards it as one unit.
        self._connection_parts: dict[str, list[PlanPart]] = {CLIENT: [], SERVER: []}

    def is_plain_towards(self, side: str) -> bool:
        """Whether no fault can strike what goes to a side, and none has cut it off."""
        if self._connection_parts[side] or side in self.cut_off:
            return False
        in_force = self.faults.in_force
        return not in_force or not any(_is_about(fault, side) for fault in in_force)

    def look_for_faults(self, current: LiveExchange | None, now: float) -> None:
        """Find the faults that take the connection as one unit, if faults have changed.

        They act from now on, in the current exchange too. Some need the connection to have an age.
        """
        if self._faults_version == self.faults.version and not self._has_younger:
            return
        self._faults_version = self.faults.version
        in_force = self.faults.in_force
        for parts in self._connection_parts.values():
            parts[:] = [part for part in parts if part.has_struck or part.fault in in_force]
        new = self.faults.parts_of_connection(
            self.connection_target(Stage.CONNECTION, now - self.opened), self._asked
        )
        self._has_younger = any(
            fault.strikes_whole_connections and fault not in self._asked for fault in in_force
        )
        for part in new:
            self._connection_parts[part.fault.to].append(part)
        if new and current is not None:
            current.request_plan = self.plan(SERVER, current.request_parts, current)
            current.reply_plan = self.plan(CLIENT, current.reply_parts, current)

    def is_refused(self) -> bool:
        """Whether a fault closes the connection as it is accepted, which the journal then has."""
        if not self.faults.in_force:
            return False
        fault = self.faults.strike_connection(self.connection_target(Stage.CONNECTION, 0.0))
        if fault is not None:
            self.connection.fault = str(fault)
        return fault is not None

    def certificate_problem(self) -> str:
        """Return the problem that a fault gives the certificate of a handshake; empty: none."""
        if not self.faults.in_force:
            return ""
        fault = self.faults.strike_connection(self.connection_target(Stage.HANDSHAKE, 0.0))
        if fault is None:
            return ""
        self.connection.fault = str(fault)
        return str(fault.parameters["problem"])

    def note_failed_handshake(self, reason: str) -> None:
        """Note why the TLS handshake has failed."""
        self.connection.failed_handshake = reason

    def connection_target(self, stage: Stage, age: float) -> FaultTarget:
        """Return the `FaultTarget` for the connection; ``age`` in seconds."""
        record = self.connection
        return FaultTarget(self._transport, record, record=record, stage=stage, age=age)

    def explain(self, current: LiveExchange | None = None) -> None:
        """Let faults record why they have not struck what is still going on."""
        parts = [part for parts in self._connection_parts.values() for part in parts]
        if current is not None:
            parts += [*current.request_parts, *current.reply_parts]
            for fault in current.waiting:
                fault.record_miss(MissReason.MATCH, self.exchange_target(current, Stage.REQUEST))
        for part in parts:
            part.explain()

    def closed(self) -> None:
        """The connection has ended: let faults that take it as one unit record why they missed."""
        for parts in self._connection_parts.values():
            for part in parts:
                part.finish(is_whole=True)
        self.faults.forget(self.connection)

    # -- exchanges

    def begin(self, now: float, *, sent_by: str) -> LiveExchange:
        """Begin the next exchange; what the server sends before its client does is exchange 0."""
        if sent_by == CLIENT or self._number:
            self._number += 1
        remote = self.connection.remote
        record = self.journal.began(self._transport, remote, self.connection, self._number, now)
        record.overlapped = self.connection.overlapped
        return LiveExchange(record, is_unsolicited=sent_by == SERVER)

    def mark_overlapped(self, exchange: LiveExchange) -> None:
        """Note that the client has sent bytes while a reply was under way."""
        self.connection.overlapped = exchange.record.overlapped = True

    def end(self, exchange: LiveExchange, now: float, *, complete: bool) -> None:
        """End an exchange; let faults record why they have not struck it."""
        record, complete = exchange.record, complete and exchange.is_whole
        for part in exchange.request_parts:
            part.finish(is_whole=complete)
        for fault in exchange.waiting:
            fault.record_miss(MissReason.MATCH, self.exchange_target(exchange, Stage.REQUEST))
        for part in exchange.reply_parts:
            part.finish(is_whole=complete)
        is_unanswered = exchange.is_whole and record.number and record.answered is None
        if is_unanswered and self.faults.in_force:
            self.faults.count_unanswered(self.exchange_target(exchange, Stage.REPLY))
        self.journal.exchange_ended(record, now, complete=complete)

    # -- faults

    def note_begun(self, exchange: LiveExchange, stage: Stage) -> None:
        """Let faults record that a side of an exchange had begun before they were placed."""
        if self.faults.in_force:
            self.faults.note_begun(self.exchange_target(exchange, stage))

    def exchange_target(
        self,
        exchange: LiveExchange,
        stage: Stage,
        request_data: bytes | None = None,
        now: float | None = None,
    ) -> FaultTarget:
        """Return the `FaultTarget` for one side of an exchange.

        Args:
            request_data: what the client sent; by default all of the exchange so far.
            now: when the unit came; by default when the exchange began.
        """
        record = exchange.record
        came = self.journal.start + record.started if now is None else now
        return FaultTarget(
            self._transport,
            self.connection,
            service=None if self._service_of is None else self._service_of(record.request),
            record=record,
            stage=stage,
            request_data=record.request if request_data is None else request_data,
            number=record.number,
            is_unsolicited=exchange.is_unsolicited,
            age=came - self.opened,
            counted=exchange.counted,
        )

    def parts(
        self,
        exchange: LiveExchange,
        stage: Stage,
        request_data: bytes | None = None,
        *,
        now: float | None = None,
        without_match: bool = False,
    ) -> list[PlanPart]:
        """Return the faults that strike one side of an exchange; none if that side is cut off.

        Args:
            request_data, now: see `exchange_target`.
            without_match: only those that select nothing by what the client sends.
        """
        to = _receiver(stage)
        if to in self.cut_off:
            exchange.record.fault = exchange.record.fault or self.cut_off[to]
            return []
        target = self.exchange_target(exchange, stage, request_data, now)
        return self.faults.parts(target, without_match=without_match)

    def feed(
        self, plan: FaultPlan, piece: Piece, exchange: LiveExchange, *, to: str
    ) -> list[SideActions]:
        """Feed a plan; return its actions by side, for some of them go the other way."""
        found: list[SideActions] = []
        other = SERVER if to == CLIENT else CLIENT
        for action in plan.feed(piece):
            if isinstance(action, OtherWay):
                step = SideActions(other, list(action.actions))
            else:
                step = SideActions(to, [action])
            found.append(step)
            for each in step.actions:
                if isinstance(each, End) and each.how in ("stall", "half-close"):
                    self.cut_off[step.to] = exchange.record.fault
                self.is_deaf = self.is_deaf or (isinstance(each, End) and each.how == "deaf")
        if to == CLIENT and any(
            isinstance(a, Pause | Hold) for step in found for a in step.actions
        ):
            found.append(SideActions(to, [Note(partial(self.journal.delivered, exchange.record))]))
        return found

    def plan_of_unit(
        self, exchange: LiveExchange, stage: Stage, now: float | None = None
    ) -> FaultPlan | None:
        """Return the plan of the faults for a whole frame or datagram; ``None``: none strikes it.

        Args:
            now: when it came; by default when the exchange began.
        """
        to = _receiver(stage)
        if self.is_plain_towards(to):
            return None
        return self.plan(to, self.parts(exchange, stage, exchange.payload, now=now), exchange)

    def strike_frame(
        self, frame: Frame, exchange: LiveExchange, stage: Stage, now: float | None = None
    ) -> list[SideActions] | None:
        """Return what to do instead of passing a frame on; ``None``: pass it on.

        Args:
            now: see `plan_of_unit`.
        """
        plan = self.plan_of_unit(exchange, stage, now)
        if plan is None:
            return None
        found = self.feed(plan, piece_of(frame), exchange, to=_receiver(stage))
        plan.finish()
        return found

    def plan(self, to: str, parts: Iterable[PlanPart], exchange: LiveExchange) -> FaultPlan | None:
        """Return the plan of faults for bytes towards a side, with those of the connection."""
        all_parts = [*self._connection_parts[to], *parts]
        return FaultPlan(all_parts, exchange.record) if all_parts else None


def _receiver(stage: Stage) -> str:
    """Return the side that gets what is sent at a stage of an exchange."""
    return CLIENT if stage is Stage.REPLY else SERVER


def _is_about(fault: Fault, side: str) -> bool:
    """Whether a fault is decided by what goes to a side."""
    if fault.unit:
        return fault.to == side
    return fault.strikes_requests is (side == SERVER)
