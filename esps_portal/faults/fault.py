"""A fault: which requests or connections it strikes, by number and by chance, and its nearest miss.

A fault selects a `FaultTarget`, claims it, and has struck it once its first action begins. Nothing
is performed here: `esps_portal.faults.plan` says what the fault makes of the reply.
"""

from __future__ import annotations

import enum
import random
import secrets
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from esps_portal.faults.fault_types import (
    FAULT_TYPES,
    check_chance,
    check_key,
    check_transport,
    check_when,
    checked_numbers,
    checked_parameters,
    checked_service,
    checked_times,
    find_fault_type,
)
from esps_portal.journal.records import RecordedCall, RecordedConnection
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Other services that were called: so many are kept, to find the most similar name among them.
_MAX_PASSED = 64


@attrs.frozen
class FaultTarget:
    """What a fault may strike: a request with its reply, or a connection as it is accepted.

    Attributes:
        connection: identifies the connection; over UDP the client's address does.
        service: the service that is called; ``None`` if the request calls none.
        record: the journal's record, for a report.
        is_connection: it is a connection, not a request.
    """

    transport: str
    connection: Hashable
    service: bytes | None = None
    record: RecordedCall | RecordedConnection | None = None
    is_connection: bool = False


class MissReason(enum.IntEnum):
    """Why a fault did not strike a target, in the order of the checks: the higher, the nearer."""

    TRANSPORT = 1
    SERVICE = 2
    CONNECTION = 3
    REQUEST = 4
    #: An earlier fault claimed the target.
    CLAIMED = 5
    #: The fault claimed it, and no reply was sent that it could change.
    NO_REPLY = 6
    #: The fault changes nothing in that reply.
    NO_CHANGE = 7


@attrs.frozen
class NearMiss:
    """A target that a fault did not strike, and why.

    Attributes:
        connection_number: as the fault counts connections; 0 where it does not.
        reply_size: of a reply that it does not change, in bytes.
    """

    reason: MissReason
    target: FaultTarget
    connection_number: int = 0
    reply_size: int = 0


@attrs.define(eq=False)
class Fault:
    """One placed fault: its kind, its parameters, and what it strikes.

    Attributes:
        kind: the name of its `FaultType`.
        service, transport, connection, request: selectors; ``None`` matches any. The last two
            are numbers from 1, counted from when the fault is placed, among the connections and
            requests that the other selectors match.
        when: ``before``: the request is not executed; ``after``: it is, and its reply is changed.
        times: the most times that it strikes; ``None``: no limit.
        chance: the probability that it strikes, 0 to 1; ``None``: always.
        seed: of the random numbers for ``chance`` and jitter.
        is_optional: a strict test does not fail if it never strikes.
        selected: how many targets its selectors matched.
        happened: how often it struck.
        nearest: the nearest miss, as long as it has not struck.
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
    #: The first call of each other service that its service selector let pass.
    passed: dict[bytes, FaultTarget] = attrs.field(factory=dict)
    #: How many connections, and requests, matched the selectors before their number.
    connections_matched: int = 0
    requests_matched: int = 0
    _claimed: int = 0
    _connections: dict[Hashable, int] = attrs.field(factory=dict)
    _random: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - for tests, not secrets

    @classmethod
    def create(cls, kind: str, /, **options: Any) -> Fault:  # noqa: ANN401 - checked here, each by its name
        """Make a fault from selectors and parameters, as a test, a file or a command line has them.

        Example: ``Fault.create("truncate", bytes=3, service="price", times=1)``.

        Args:
            kind: the name of a `FaultType`.
            options: its parameters, and selectors (`SELECTORS`).

        Raises:
            FaultError: there is no such fault or option, or a value is not allowed.
        """
        fault_type = find_fault_type(kind)
        for key in options:
            check_key(kind, fault_type, key)
        when = options.get("when", "after")
        check_when(kind, fault_type, when)
        check_transport(options.get("transport"), kind, fault_type)
        chance, seed = options.get("chance"), options.get("seed")
        is_random = chance is not None or bool(options.get("jitter"))
        check_chance(chance, seed, fault_type, is_random=is_random)
        if is_random and seed is None:
            # A kind with a seed parameter uses the same number: one seed reproduces the fault.
            seed = secrets.randbits(32)
            options |= {"seed": seed}
        return cls(
            kind=kind,
            when=when,
            service=checked_service(options.get("service")),
            transport=options.get("transport"),
            connection=checked_numbers("connection", options.get("connection")),
            request=checked_numbers("request", options.get("request")),
            times=checked_times(options.get("times")),
            chance=chance,
            seed=seed,
            parameters=checked_parameters(kind, fault_type, options),
        )

    @property
    def must_strike(self) -> bool:
        """Whether a strict test fails if it never strikes."""
        return not self.is_optional and self.chance is None

    def selects(self, target: FaultTarget) -> bool:
        """Count one target; return whether the selectors match it."""
        hits_connections = FAULT_TYPES[self.kind].hits_connections
        if hits_connections and not target.is_connection:
            return False
        reason = self._mismatch(target)
        if hits_connections is not target.is_connection:
            return False  # the connection is counted, for the requests that come on it
        if reason is None:
            self.selected += 1
            return True
        self.record_miss(reason, target)
        return False

    def claim(self) -> bool:
        """Claim a selected target, if ``times`` and ``chance`` allow it."""
        if self.times is not None and self._claimed >= self.times:
            return False
        if self.chance is not None and self._random.random() >= self.chance:
            return False
        self._claimed += 1
        return True

    def record_strike(self) -> None:
        """Count a strike: the first action on a claimed target begins."""
        self.happened += 1
        if self.on_strike is not None:
            self.on_strike(self)

    def record_miss(self, reason: MissReason, target: FaultTarget) -> None:
        """Note why it does not strike a target; the nearest miss is kept."""
        if self.happened:
            return
        if reason is MissReason.SERVICE and target.service and len(self.passed) < _MAX_PASSED:
            self.passed.setdefault(target.service, _for_report(target))
        if self.nearest is None or reason > self.nearest.reason:
            number = self._connections.get(target.connection, 0)
            self.nearest = NearMiss(reason, _for_report(target), number)

    def record_no_change(self, size: int) -> None:
        """Note that it changes nothing in a reply of ``size`` bytes."""
        if not self.happened and self.nearest is not None:
            self.nearest = NearMiss(MissReason.NO_CHANGE, self.nearest.target, reply_size=size)

    def next_delay(self) -> float:
        """Return the delay of the next reply in seconds: ``seconds`` and some of ``jitter``."""
        seconds: float = self.parameters["seconds"]
        return seconds + self._random.random() * float(self.parameters["jitter"])

    def _mismatch(self, target: FaultTarget) -> MissReason | None:
        """Return which selector does not match, if any; count what matches those before it."""
        transports = (self.transport,) if self.transport else FAULT_TYPES[self.kind].transports
        if target.transport not in transports:
            return MissReason.TRANSPORT
        if self.service is not None and self.service.encode() != target.service:
            return MissReason.SERVICE
        if self.connection is not None and self._number(target.connection) not in self.connection:
            return MissReason.CONNECTION
        if target.is_connection:
            return None
        self.requests_matched += 1
        if self.request is not None and self.requests_matched not in self.request:
            return MissReason.REQUEST
        return None

    def _number(self, connection: Hashable) -> int:
        """Return the number of a connection; a new one gets the next number."""
        number = self._connections.get(connection)
        if number is None:
            self.connections_matched += 1
            number = self._connections[connection] = self.connections_matched
        return number

    def forget(self, connection: Hashable) -> None:
        """Forget a connection that has ended. Its number is not given again."""
        self._connections.pop(connection, None)

    def __str__(self) -> str:
        parts = [self.kind, *(f"{key}={value}" for key, value in self.parameters.items())]
        if self.when != "after":
            parts.append(f"when={self.when}")
        for key in ("service", "transport", "times", "chance", "seed"):
            value = getattr(self, key)
            if value is not None and not (key == "seed" and "seed" in self.parameters):
                parts.append(f"{key}={value}")
        for key, numbers in (("connection", self.connection), ("request", self.request)):
            if numbers is not None:
                parts.append(f"{key}={','.join(map(str, sorted(numbers)))}")
        return " ".join(parts)


def _for_report(target: FaultTarget) -> FaultTarget:
    """Return a target without its connection: a report must not keep that in memory."""
    return attrs.evolve(target, connection=None)
