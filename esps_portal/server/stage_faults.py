"""Faults that strike a TCP connection itself rather than one of its requests.

They refuse it, show a wrong certificate, change the greeting, or strike when it reaches an age.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from esps_portal.faults.connection_faults import ConnectionFaults
from esps_portal.faults.lazy_plan import plan_of
from esps_portal.faults.target import FaultTarget, Stage
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.server.observer import ConnectionObserver, PortalExchange

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.fault_registry import FaultRegistry


class StageFaults:
    """Asks the faults at each stage of one connection; the `Answerer` asks about its requests.

    Args:
        faults: `None`: there are none.
        observer: notes which have struck; `None`: nothing is noted.
        opened: when the connection was accepted; seconds on trio's clock.
    """

    __slots__ = ("_faults", "_observer", "_opened", "_protocol")

    def __init__(
        self,
        faults: FaultRegistry | None,
        protocol: ServerConnection,
        observer: ConnectionObserver | None,
        opened: float,
    ) -> None:
        self._faults = faults
        self._protocol = protocol
        self._observer = observer
        self._opened = opened

    def is_refused(self) -> bool:
        """Whether a fault strikes the connection itself, before any request."""
        return self._strike(Stage.CONNECTION) is not None

    def certificate_problem(self) -> str:
        """Return the problem that a fault gives the certificate of a handshake; empty: none."""
        fault = self._strike(Stage.HANDSHAKE)
        return "" if fault is None else str(fault.parameters["problem"])

    def greeting(self) -> PortalExchange | None:
        """Return the exchange whose plan changes the greeting; `None`: there are no faults."""
        if self._faults is None or not self._faults.in_force:
            return None
        target = self._as_target(Stage.WHOLE)
        plan = self._faults.plan(target)
        return PortalExchange(plan or plan_of((), target.record))

    def connection_faults(self) -> ConnectionFaults | None:
        """Return the faults that take all that is sent as one unit; `None`: there are none."""
        if self._faults is None:
            return None
        return ConnectionFaults(self._faults, partial(self._as_target, Stage.CONNECTION))

    def as_aged(self, age: float) -> FaultTarget:
        """Return the `FaultTarget` for the connection at an age in seconds."""
        return attrs.evolve(self._as_target(Stage.AGE), age=age)

    def note_struck(self, fault: Fault) -> None:
        """Record a fault that has struck at an age, maybe after others."""
        if self._observer is not None:
            record = self._observer.record
            record.fault = "; ".join(filter(None, (record.fault, str(fault))))

    def _strike(self, stage: Stage) -> Fault | None:
        """Let the first fault of this stage strike, and record it."""
        if self._faults is None or self._observer is None:
            return None
        record = self._observer.record
        target = FaultTarget("tcp", self._protocol, record=record, stage=stage)
        fault = self._faults.strike_connection(target)
        if fault is not None:
            record.fault = str(fault)
        return fault

    def _as_target(self, stage: Stage) -> FaultTarget:
        """Return the `FaultTarget` for the connection; the greeting is that of Stage.WHOLE."""
        return FaultTarget(
            "tcp",
            self._protocol,
            record=None if self._observer is None else self._observer.record,
            stage=stage,
            number=0,
            age=trio.current_time() - self._opened,
        )
