"""Placed faults: which request or connection each one hits, by number and by chance.

This module decides and performs nothing: a `FaultBook` is shown every connection and every request
and says which `Fault` hits it; `esps_portal.portal.wreckage` says what that makes of a reply, and
the carriers do it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Hashable
from typing import Any

import attrs

from esps_portal.portal.vocabulary import (
    VOCABULARY,
    FaultError,
    check_chance,
    check_transport,
    check_when,
    checked_numbers,
    checked_parameters,
    checked_request,
    checked_service,
    known,
)


@attrs.define(eq=False)
class Fault:
    """One placed fault: its kind, its parameters, and what it hits.

    Attributes:
        service, transport, connection, request: selectors; ``None`` is any. The two last are
            numbers, counted from 1 when it is placed among what the other selectors match.
        when: ``before``: the request is not executed; ``after``: it is, and the reply affected.
        times: how often it happens; ``None`` is always.
        chance: how likely it happens, 0 to 1, drawn from ``seed``, as jitter is.
        happened: how often it did.
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
    happened: int = 0
    _requests: int = 0
    _counted: int = 0
    _connections: dict[Hashable, int] = attrs.field(factory=dict)
    _chance: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - chance for tests, not secrets

    @classmethod
    def of(cls, kind: str, /, **said: Any) -> Fault:  # noqa: ANN401 - checked here, each by its name
        """Make a fault from selectors and parameters, as a test, a file or a command line has them.

        Raises:
            FaultError: there is no such fault, or one of the values makes no sense.
        """
        word = known(kind)
        when = said.pop("when", "after")
        check_when(kind, word, when)
        transport, times = said.pop("transport", None), said.pop("times", None)
        check_transport(transport, kind, word)
        if times is not None and (type(times) is not int or times < 1):
            raise FaultError(f"times is a number from 1 on, not {times!r}")
        chance, seed = said.pop("chance", None), said.get("seed")
        draws = chance is not None or bool(said.get("jitter"))
        check_chance(chance, seed, word, draws=draws)
        if draws and seed is None:
            # Where the kind has a seed of its own it is the same one: one number is enough to
            # reproduce the fault.
            said["seed"] = seed = secrets.randbits(32)
        if "seed" not in word.parameters:
            said.pop("seed", None)
        return cls(
            kind=kind,
            when=when,
            service=checked_service(said.pop("service", None), kind),
            transport=transport,
            connection=checked_numbers("connection", said.pop("connection", None)),
            request=checked_request(said.pop("request", None), kind),
            times=times,
            chance=chance,
            seed=seed,
            parameters=checked_parameters(kind, word, said),
        )

    def picks_request(self, service: bytes | None, transport: str, connection: Hashable) -> bool:
        """Count one request; return whether the selectors pick it."""
        if self.kind == "accept-close" or not self._concerns(service, transport):
            return False
        if not self._picks_connection(connection):
            return False
        self._requests += 1
        return self.request is None or self._requests in self.request

    def picks_accepted(self, connection: Hashable) -> bool:
        """Count one accepted connection; return whether it is picked at once."""
        if not self._concerns(None, "tcp"):
            return False
        return self._picks_connection(connection) and self.kind == "accept-close"

    def happens(self) -> bool:
        """Whether it happens to what was picked: ``times`` and ``chance`` say so."""
        if self.times is not None and self.happened >= self.times:
            return False
        if self.chance is not None and self._chance.random() >= self.chance:
            return False
        self.happened += 1
        return True

    def lateness(self) -> float:
        """Return for how long a reply is late this time, in seconds."""
        seconds: float = self.parameters["seconds"]
        return seconds + self._chance.random() * float(self.parameters["jitter"])

    def _picks_connection(self, connection: Hashable) -> bool:
        if self.connection is None:
            return True
        number = self._connections.get(connection)
        if number is None:
            self._counted += 1
            number = self._connections[connection] = self._counted
        return number in self.connection

    def _concerns(self, service: bytes | None, transport: str) -> bool:
        if transport not in VOCABULARY[self.kind].transports:
            return False
        if self.transport is not None and transport != self.transport:
            return False
        return self.service is None or self.service.encode() == service

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


class FaultBook:
    """The faults in force, in the order in which they were placed: the first that fits happens."""

    def __init__(self) -> None:
        #: Looked at for every request: where it is empty there is nothing to ask.
        self.in_force: list[Fault] = []

    def place(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        self.in_force.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Lift a fault; requests that it has hit stay as they are. It may be gone already."""
        if fault in self.in_force:
            self.in_force.remove(fault)

    def clear(self) -> None:
        """Lift all faults."""
        self.in_force.clear()

    def for_request(
        self, service: bytes | None, transport: str, connection: Hashable
    ) -> Fault | None:
        """Show one request to every fault; return the one that happens to it."""
        # All of them count, before the first that can happens.
        picked = [f for f in self.in_force if f.picks_request(service, transport, connection)]
        return next((fault for fault in picked if fault.happens()), None)

    def for_connection(self, connection: Hashable) -> Fault | None:
        """Show one accepted connection to every fault; return the one that happens to it."""
        picked = [fault for fault in self.in_force if fault.picks_accepted(connection)]
        return next((fault for fault in picked if fault.happens()), None)

    def forget(self, connection: Hashable) -> None:
        """A connection is gone."""
        for fault in self.in_force:
            fault.forget(connection)
