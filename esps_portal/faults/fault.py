"""A fault: which requests, replies or connections it strikes, by number, by content and by chance.

A fault selects a `FaultTarget` and claims it; it has struck the target once its first action
begins. Nothing is performed here: `esps_portal.faults.plan` has the plan of actions for a unit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from esps_portal.faults.fault_types import FAULT_TYPES, TCP, TIMED, FaultType
from esps_portal.faults.matching import Match
from esps_portal.faults.near_misses import NearMisses
from esps_portal.faults.selectors import checked_options
from esps_portal.faults.target import FaultTarget, MissReason, NearMiss, Stage
from esps_portal.faults.target_counts import TargetCounts
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.define(eq=False)
class Fault:
    """One placed fault: its kind, its parameters, and what it strikes.

    Attributes:
        kind: the name of its `FaultType`.
        service, transport, connection, request, reply: selectors; ``None`` matches any. The last
            three are numbers from 1, counted from when the fault is placed, among the connections,
            requests and replies that the other selectors match; reply 0 is what a server sends
            before its client.
        match: of what the client sent; ``reply_match``: of the struck unit's own bytes.
        offset: how many bytes of the unit pass first.
        to: the side that sees the fault: ``client`` or ``server``.
        unit: ``connection``: all that is sent on a connection is one unit.
        age: strikes only on connections that are that old, in seconds. Without a selector of units
            a fault that ends the connection strikes at that age.
        when: ``before``: the request is not executed; ``after``: it is, and its reply is changed.
        times: the most times that it strikes; ``None``: no limit.
        chance: the probability that it strikes, 0 to 1; ``None``: always.
        seed: of the random numbers for ``chance`` and jitter.
        given: the names of the parameters and selectors that were given, rather than defaults.
        is_optional: a strict test does not fail if it never strikes.
        number: counts the faults of a registry, in the order of placing.
        selected: how many targets its selectors matched.
        happened: how often it struck.
        misses: the targets that it did not strike, until it first strikes.
        counts: how many connections, requests and replies its selectors matched.
        failure: the first exception of its predicate, as text; empty: there was none.
    """

    kind: str
    parameters: dict[str, Any]
    when: str = "after"
    service: str | None = None
    transport: str | None = None
    connection: frozenset[int] | None = None
    request: frozenset[int] | None = None
    reply: frozenset[int] | None = None
    match: Match | None = None
    reply_match: Match | None = None
    offset: int = 0
    to: str = "client"
    unit: str | None = None
    age: float | None = None
    times: int | None = None
    chance: float | None = None
    seed: int | None = None
    given: frozenset[str] = frozenset()
    is_optional: bool = False
    number: int = 0
    selected: int = 0
    happened: int = 0
    misses: NearMisses = attrs.field(factory=NearMisses)
    counts: TargetCounts = attrs.field(factory=TargetCounts)
    failure: str = ""
    #: Called each time it strikes.
    on_strike: Callable[[Fault], None] | None = None
    _claimed: int = 0
    _random: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - for tests, not secrets
        if self.match is not None:
            self.match = self.match.guarded(self._note_failure)
        if self.reply_match is not None:
            self.reply_match = self.reply_match.guarded(self._note_failure)

    def _note_failure(self, error: BaseException) -> None:
        self.failure = self.failure or f"{type(error).__name__}: {error}"

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
        return cls(kind=kind, **checked_options(kind, options))

    @property
    def type(self) -> FaultType:
        """Its type."""
        return FAULT_TYPES[self.kind]

    @property
    def transports(self) -> frozenset[str]:
        """Where it may strike."""
        if self.transport:
            return frozenset({self.transport})
        # A datagram is sent as a whole, and belongs to no connection.
        return self.type.transports & TCP if self.offset or self.unit else self.type.transports

    @property
    def strikes_requests(self) -> bool:
        """Whether it is decided when a request comes, rather than when its reply does."""
        return self.when == "before" or self.to == "server"

    @property
    def strikes_connections(self) -> bool:
        """Whether it is decided for a connection as a whole."""
        return self.type.precedes_requests or self.strikes_whole_connections

    @property
    def is_decided_at_once(self) -> bool:
        """Whether it is decided when a connection is accepted."""
        return self.strikes_connections and not self.type.at_handshake

    @property
    def strikes_whole_connections(self) -> bool:
        """Whether all that is sent on a connection is one unit."""
        return self.unit == "connection" and not self.strikes_at_age

    @property
    def strikes_at_age(self) -> bool:
        """Whether it is a timer: it strikes connections at an age, whatever is sent on them."""
        if self.age is None or self.kind not in TIMED or self.when == "before":
            return False
        return not any((self.service, self.request, self.reply, self.match, self.reply_match))

    @property
    def nearest(self) -> NearMiss | None:
        """The nearest miss, as long as it has not struck."""
        return self.misses.nearest

    @property
    def must_strike(self) -> bool:
        """Whether a strict test fails if it never strikes."""
        return not self.is_optional and self.chance is None

    def selects(self, target: FaultTarget) -> bool:
        """Count one target; return whether the selectors match it."""
        if not self._is_about(target):
            return False
        if self._is_other_greeting(target):
            self.record_miss(MissReason.GREETING, target)
            return False
        if target.stage is Stage.CONNECTION and not self.is_decided_at_once:
            self._count_connection(target)
            return False
        reason = self._mismatch(target)
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

    def release_claim(self) -> None:
        """Give back a claim: the target has ended, and was not struck."""
        self._claimed -= 1

    def record_strike(self) -> None:
        """Count a strike: the first action on a claimed target begins."""
        self.happened += 1
        if self.on_strike is not None:
            self.on_strike(self)

    def record_miss(self, reason: MissReason, target: FaultTarget) -> None:
        """Note why it does not strike a target."""
        if not self.happened:
            self.misses.add(reason, target, self.counts.known_connection(target.connection))

    def record_begun(self, target: FaultTarget) -> None:
        """Note that it does not strike a target which had begun before it was placed."""
        if not self._is_about(target):
            return
        reason = MissReason.BEGUN
        if self._is_other_greeting(target):
            reason = MissReason.GREETING
        elif target.number and self.reply == frozenset({0}):
            reason = MissReason.REPLY
        elif self.match is not None and not self.match.matches(target.request_data):
            reason = MissReason.MATCH
        self.record_miss(reason, target)

    def record_found(self, target: FaultTarget, data: bytes) -> None:
        """Note if what has come of such a target since then has what it is to find."""
        is_sought = self.reply_match is not None and self.reply_match.matches(data)
        if not is_sought or not self._is_about(target) or self._is_other_greeting(target):
            return
        if self.match is None or self.match.matches(target.request_data):
            self.record_miss(MissReason.FOUND_BEGUN, target)

    def record_no_change(self, size: int, found_at: int) -> None:
        """Note that it changes nothing in a reply of ``size`` bytes; see `NearMiss`."""
        if not self.happened:
            self.misses.add_no_change(size, self.offset, found_at)

    def record_why(self, reason: MissReason) -> None:
        """Note why it does not strike the target that it has selected."""
        if not self.happened:
            self.misses.explain(reason)

    def next_delay(self) -> float:
        """Return the delay of the next reply in seconds: ``seconds`` and some of ``jitter``."""
        seconds: float = self.parameters["seconds"]
        return seconds + self._random.random() * float(self.parameters["jitter"])

    def _is_other_greeting(self, target: FaultTarget) -> bool:
        """Whether the target is a greeting, and the fault is for other replies."""
        if target.is_connection or target.number:
            return False
        return self.reply is None or 0 not in self.reply

    def _is_about(self, target: FaultTarget) -> bool:
        """Whether it can strike targets of this stage at all."""
        if target.stage is Stage.CONNECTION:
            return True
        if self.type.at_handshake or target.stage is Stage.HANDSHAKE:
            return self.type.at_handshake and target.stage is Stage.HANDSHAKE
        if self.strikes_at_age or target.stage is Stage.AGE:
            return self.strikes_at_age and target.stage is Stage.AGE
        if self.strikes_connections or target.stage is Stage.WHOLE:
            return not self.strikes_connections
        return self.strikes_requests is (target.stage is Stage.REQUEST)

    def _count_connection(self, target: FaultTarget) -> None:
        """Count a connection for the requests that come on it, if any request on it would match."""
        if self.connection is None or self.service is not None or self.match is not None:
            return
        if target.transport in self.transports:
            self.counts.connection(target.connection)

    def count_unanswered(self, target: FaultTarget) -> None:
        """Count the request of an exchange that has ended without a reply."""
        if self._is_about(target) and self._mismatch_of_content(target) is None:
            self.counts.request(target)

    def _mismatch(self, target: FaultTarget) -> MissReason | None:
        """Return the first selector that does not match; count what the ones before it match."""
        reason = self._mismatch_of_content(target)
        if reason is not None or target.is_connection:
            return reason
        if target.number == 0:
            return None
        number = None if target.is_unsolicited else self.counts.request(target)
        if self.request is not None and number not in self.request:
            return MissReason.REQUEST
        if target.stage is Stage.REQUEST or self.reply_match is not None or self.selects_reply():
            return None
        return MissReason.REPLY

    def selects_reply(self) -> bool:
        """Count one reply; return whether its number is selected.

        A fault with ``reply_match`` is asked once that is found: only replies that match count.
        """
        number = self.counts.reply()
        return self.reply is None or number in self.reply

    def _mismatch_of_content(self, target: FaultTarget) -> MissReason | None:
        """Return which selector does not match; numbers of requests and replies are not checked."""
        if target.transport not in self.transports:
            return MissReason.TRANSPORT
        if self.service is not None and self.service.encode() != target.service:
            return MissReason.SERVICE
        if self.match is not None and not self.match.matches(target.request_data):
            return MissReason.MATCH
        if (
            self.connection is not None
            and self.counts.connection(target.connection) not in self.connection
        ):
            return MissReason.CONNECTION
        if self.age is not None and target.age < self.age:
            return MissReason.AGE
        return None

    def forget(self, connection: Hashable) -> None:
        """Forget a connection that has ended. Its number is not given again."""
        self.counts.forget(connection)

    def __str__(self) -> str:
        # With ``every`` the parameter ``at`` is not used.
        unused = {"at"} if self.parameters.get("every") else set()
        given = {key: self.parameters[key] for key in self.parameters if key not in unused}
        parts = [self.kind, *(f"{key}={given[key]}" for key in given if given[key] is not None)]
        if self.when != "after":
            parts.append(f"when={self.when}")
        for key in ("service", "match", "reply_match", "transport", "unit", "age"):
            value = getattr(self, key)
            if value is not None:
                parts.append(f"{key}={value:g}" if key == "age" else f"{key}={value}")
        if self.offset:
            parts.append(f"offset={self.offset}")
        if self.to != "client":
            parts.append(f"to={self.to}")
        for key in ("times", "chance", "seed"):
            value = getattr(self, key)
            if value is not None and not (key == "seed" and "seed" in self.parameters):
                parts.append(f"{key}={value}")
        for key in ("connection", "request", "reply"):
            numbers = getattr(self, key)
            if numbers is not None:
                parts.append(f"{key}={','.join(map(str, sorted(numbers)))}")
        return " ".join(parts)
