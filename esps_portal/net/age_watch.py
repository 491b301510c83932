"""Strikes connections that reach the age of a fault, idle or not.

One task watches over all connections of a server. It sleeps until the next of them is old enough,
until faults change, or, while there is a fault with an age, until a connection opens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from esps_portal.faults.target import FaultTarget
from esps_portal.net.connection_server import ConnectionHandler, ConnectionServer

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.fault_registry import FaultRegistry


class AgingConnection(Protocol):
    """A connection that a fault may strike at an age."""

    @property
    def opened(self) -> float:
        """When it was opened; seconds on trio's clock."""

    @property
    def is_ending(self) -> bool:
        """Whether it is already ending, so that a fault would not be noticed."""

    def as_aged(self, age: float) -> FaultTarget:
        """Return the `FaultTarget` for this connection at an age in seconds (``Stage.AGE``)."""

    def strike(self, fault: Fault) -> None:
        """Perform a fault that strikes at an age."""


class AgingHandler(ConnectionHandler, AgingConnection, Protocol):
    """What serves a connection that a fault may strike at an age."""


_Aging = TypeVar("_Aging", bound=AgingHandler)


def watch_ages(
    faults: FaultRegistry, server: ConnectionServer[_Aging], nursery: trio.Nursery
) -> None:
    """Have faults strike the connections of a server that reach an age."""
    watch = AgeWatch(faults, server.connections)
    server.on_open = watch.opened
    nursery.start_soon(watch.run)


class AgeWatch:
    """Watches over the connections of a server; `run` is its whole life.

    Args:
        faults: those in force are checked.
        connections: those that are open, in the order of opening, now and later.
    """

    def __init__(self, faults: FaultRegistry, connections: Iterable[AgingConnection]) -> None:
        self._faults = faults
        self._connections = connections
        # The faults whose age a connection has reached: each strikes it once, or never.
        self._reached: dict[AgingConnection, set[Fault]] = {}
        self._ages: list[tuple[float, Fault]] = []
        self._wake = trio.Event()

    def opened(self) -> None:
        """Call this when a connection has opened."""
        if self._ages:
            self._wake.set()

    async def run(self) -> None:
        """Strike connections, until cancelled."""
        self._faults.on_change.append(self._faults_changed)
        self._faults_changed()
        try:
            while True:
                self._wake = trio.Event()
                with trio.CancelScope(deadline=self._strike_due()):
                    await self._wake.wait()
        finally:
            self._faults.on_change.remove(self._faults_changed)

    def _faults_changed(self) -> None:
        had_ages = bool(self._ages)
        self._ages = [(f.age or 0.0, f) for f in self._faults.in_force if f.strikes_at_age]
        if self._ages or had_ages:
            self._wake.set()

    def _strike_due(self) -> float:
        """Strike each connection that is old enough; return when the next one is."""
        if not self._ages:
            self._reached.clear()
            return float("inf")
        now, due = trio.current_time(), float("inf")
        open_now = [c for c in self._connections if not c.is_ending]
        self._reached = {c: self._reached.get(c, set()) for c in open_now}
        for connection, reached in self._reached.items():
            while ages := [age for age, fault in self._ages if fault not in reached]:
                next_age = min(ages)
                if connection.opened + next_age > now:
                    due = min(due, connection.opened + next_age)
                    break
                # With the age of the fault, not the present one, so that each fault gets its turn.
                self._strike_at(next_age, connection, reached)
        return due

    def _strike_at(self, age: float, connection: AgingConnection, reached: set[Fault]) -> None:
        fault = self._faults.strike_at_age(connection.as_aged(age), reached)
        if fault is not None:
            connection.strike(fault)
