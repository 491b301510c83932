"""Placed faults: which request or connection each one hits, by number and by chance.

This module decides and performs nothing: a `FaultRegistry` is shown every unit and says which
`Fault` hits it; `esps_portal.faults.plan` says what that makes of a reply, and writers perform it.
A fault has struck when the first of it is done.
"""

from __future__ import annotations

import enum
import random
import secrets
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from esps_portal.faults.fault_types import (
    VOCABULARY,
    check_chance,
    check_key,
    check_transport,
    check_when,
    checked_numbers,
    checked_parameters,
    checked_service,
    checked_times,
    known,
)
from esps_portal.journal.records import RecordedCall, RecordedConnection
from esps_portal.journal.waiters import Waiters
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Of the faults that were removed, those that a report still needs are kept, this many.
_MOST_REMOVED = 100
# Of the services that a fault has let pass, this many are kept: the nearest is among them.
_MOST_PASSED = 64


@attrs.frozen
class Unit:
    """What a fault may hit: a request with its reply, or a connection as it is accepted.

    Attributes:
        connection: tells connections apart; over UDP the client's address does.
        service: the one that is called; ``None`` for another request.
        record: the journal's, for a report.
        is_connection: it is one, and no request.
    """

    transport: str
    connection: Hashable
    service: bytes | None = None
    record: RecordedCall | RecordedConnection | None = None
    is_connection: bool = False


class Obstacle(enum.IntEnum):
    """What kept a fault from a unit, in the order in which it is asked: the last is the nearest."""

    TRANSPORT = 1
    SERVICE = 2
    CONNECTION = 3
    REQUEST = 4
    #: An earlier fault took the unit.
    TAKEN = 5
    #: The fault took it, and no reply was sent that it could change.
    NO_REPLY = 6
    #: The reply is such that the fault changes nothing in it.
    NO_CHANGE = 7


@attrs.frozen
class NearMiss:
    """A unit that a fault did not strike, and why.

    Attributes:
        number: of its connection, as the fault counts them; 0 where it does not.
    """

    obstacle: Obstacle
    unit: Unit
    number: int = 0


@attrs.define(eq=False)
class Fault:
    """One placed fault: its kind, its parameters, and what it hits.

    Attributes:
        service, transport, connection, request: selectors; ``None`` is any. The two last are
            numbers, counted from 1 when it is placed among what the other selectors match.
        when: ``before``: the request is not executed; ``after``: it is, and the reply affected.
        times: how often it strikes at most; ``None`` is always.
        chance: how likely it strikes, 0 to 1, by ``seed``, as jitter is.
        is_optional: it need not strike.
        selected: how many units its selectors picked.
        happened: how often it struck.
        nearest: the unit that came nearest to being struck, as long as none was.
    """

    kind: str
    parameters: dict[str, Any]
    when: str = "after"
    service: str | None = None
    transport: str | None = None
    connection: frozenset[int] | None = None
    request: frozenset[int] | None = None
    times: int | None = None
    chance: float | None = None
    seed: int | None = None
    is_optional: bool = False
    selected: int = 0
    happened: int = 0
    nearest: NearMiss | None = None
    #: Called each time it strikes.
    on_strike: Callable[[Fault], None] | None = None
    #: The first call of each service that it let pass because it is for another.
    passed: dict[bytes, Unit] = attrs.field(factory=dict)
    #: How many connections, and requests, the selectors before their numbers matched.
    connections_matched: int = 0
    requests_matched: int = 0
    _taken: int = 0
    _connections: dict[Hashable, int] = attrs.field(factory=dict)
    _random: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - chance for tests, not secrets

    @classmethod
    def of(cls, kind: str, /, **given: Any) -> Fault:  # noqa: ANN401 - checked here, each by its name
        """Make a fault from selectors and parameters, as a test, a file or a command line has them.

        Raises:
            FaultError: there is no such fault, or one of the values makes no sense.
        """
        word = known(kind)
        for key in given:
            check_key(kind, word, key)
        when = given.get("when", "after")
        check_when(kind, word, when)
        check_transport(given.get("transport"), kind, word)
        chance, seed = given.get("chance"), given.get("seed")
        is_random = chance is not None or bool(given.get("jitter"))
        check_chance(chance, seed, word, is_random=is_random)
        if is_random and seed is None:
            # Where the kind has a seed of its own it is the same one: one number is enough to
            # reproduce the fault.
            seed = secrets.randbits(32)
            given |= {"seed": seed}
        return cls(
            kind=kind,
            when=when,
            service=checked_service(given.get("service")),
            transport=given.get("transport"),
            connection=checked_numbers("connection", given.get("connection")),
            request=checked_numbers("request", given.get("request")),
            times=checked_times(given.get("times")),
            chance=chance,
            seed=seed,
            parameters=checked_parameters(kind, word, given),
        )

    @property
    def must_strike(self) -> bool:
        """Whether a strict test fails if it never strikes."""
        return not self.is_optional and self.chance is None

    def picks(self, unit: Unit) -> bool:
        """Count one unit; return whether the selectors pick it."""
        hits_connections = VOCABULARY[self.kind].hits_connections
        if hits_connections and not unit.is_connection:
            return False
        obstacle = self._obstacle(unit)
        if hits_connections is not unit.is_connection:
            return False  # it was counted, for the requests that come on it
        if obstacle is None:
            self.selected += 1
            return True
        self.note(obstacle, unit)
        return False

    def takes(self) -> bool:
        """Whether it hits what was picked: ``times`` and ``chance`` say so."""
        if self.times is not None and self._taken >= self.times:
            return False
        if self.chance is not None and self._random.random() >= self.chance:
            return False
        self._taken += 1
        return True

    def strike(self) -> None:
        """Note that it acts on a unit that it took: its first action begins."""
        self.happened += 1
        if self.on_strike is not None:
            self.on_strike(self)

    def note(self, obstacle: Obstacle, unit: Unit) -> None:
        """Note why it does not strike a unit; the nearest one is kept."""
        if self.happened:
            return
        if obstacle is Obstacle.SERVICE and unit.service and len(self.passed) < _MOST_PASSED:
            self.passed.setdefault(unit.service, _for_report(unit))
        if self.nearest is None or obstacle > self.nearest.obstacle:
            number = self._connections.get(unit.connection, 0)
            self.nearest = NearMiss(obstacle, _for_report(unit), number)

    def note_no_change(self, size: int) -> None:
        """Note that it changes nothing in a reply of that many bytes."""
        if not self.happened and self.nearest is not None:
            self.nearest = NearMiss(Obstacle.NO_CHANGE, self.nearest.unit, size)

    def lateness(self) -> float:
        """Return for how long a reply is late this time, in seconds."""
        seconds: float = self.parameters["seconds"]
        return seconds + self._random.random() * float(self.parameters["jitter"])

    def _obstacle(self, unit: Unit) -> Obstacle | None:
        """Return which selector does not match, if any, and count what those before it match."""
        transports = (self.transport,) if self.transport else VOCABULARY[self.kind].transports
        if unit.transport not in transports:
            return Obstacle.TRANSPORT
        if self.service is not None and self.service.encode() != unit.service:
            return Obstacle.SERVICE
        if self.connection is not None and self._number(unit.connection) not in self.connection:
            return Obstacle.CONNECTION
        if unit.is_connection:
            return None
        self.requests_matched += 1
        if self.request is not None and self.requests_matched not in self.request:
            return Obstacle.REQUEST
        return None

    def _number(self, connection: Hashable) -> int:
        """Return the number of a connection; it gets the next one when it is first seen."""
        number = self._connections.get(connection)
        if number is None:
            self.connections_matched += 1
            number = self._connections[connection] = self.connections_matched
        return number

    def forget(self, connection: Hashable) -> None:
        """A connection is gone. Its number stays taken."""
        self._connections.pop(connection, None)

    def __str__(self) -> str:
        words = [self.kind, *(f"{key}={value}" for key, value in self.parameters.items())]
        if self.when != "after":
            words.append(f"when={self.when}")
        for key in ("service", "transport", "times", "chance", "seed"):
            value = getattr(self, key)
            if value is not None and not (key == "seed" and "seed" in self.parameters):
                words.append(f"{key}={value}")
        for key, numbers in (("connection", self.connection), ("request", self.request)):
            if numbers is not None:
                words.append(f"{key}={','.join(map(str, sorted(numbers)))}")
        return " ".join(words)


def _for_report(unit: Unit) -> Unit:
    """Return a unit without its connection, which must not outlive its end for a report's sake."""
    return attrs.evolve(unit, connection=None)


class FaultRegistry:
    """The faults that were placed, in that order: the first in force that fits strikes."""

    def __init__(self) -> None:
        #: Looked at for every request: where it is empty there is nothing to ask.
        self.in_force: list[Fault] = []
        # Those that were removed, as long as a report still needs them.
        self._removed: list[Fault] = []
        #: Who waits for a fault to strike; its subject is the fault.
        self.waiters: Waiters = Waiters()

    def place(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        fault.on_strike = self.waiters.see
        self.in_force.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault; requests that it took stay as they are. It may have ended already."""
        if fault not in self.in_force:
            return
        self.in_force.remove(fault)
        if fault.chance is not None or (fault.must_strike and not fault.happened):
            self._removed.append(fault)
            del self._removed[:-_MOST_REMOVED]

    def clear(self) -> None:
        """End all faults, and forget them."""
        self.in_force.clear()
        self._removed.clear()

    @property
    def never_struck(self) -> list[Fault]:
        """The faults that were to strike, and have not; removing one changes nothing."""
        placed = (*self._removed, *self.in_force)
        return [fault for fault in placed if fault.must_strike and not fault.happened]

    @property
    def by_chance(self) -> list[Fault]:
        """The faults whose seed a report needs: without it a failure cannot be reproduced."""
        placed = (*self._removed, *self.in_force)
        return [fault for fault in placed if fault.chance is not None]

    def for_unit(self, unit: Unit) -> Fault | None:
        """Show one unit to every fault; return the one that takes it."""
        # All of them count, before the first that can takes it.
        picked = [fault for fault in self.in_force if fault.picks(unit)]
        taker = next((fault for fault in picked if fault.takes()), None)
        if taker is not None:
            for fault in picked:
                fault.note(Obstacle.NO_REPLY if fault is taker else Obstacle.TAKEN, unit)
            if unit.is_connection:
                taker.strike()  # there is nothing to wait for
        return taker

    def forget(self, connection: Hashable) -> None:
        """A connection is gone."""
        for fault in self.in_force:
            fault.forget(connection)
