"""A scenario: the stubs, faults and limits of a portal as values that a file can hold.

The same scenario is a TOML file, a JSON object on the control port, and what a running portal is
dumped as. `esps_portal.mock.scenario_reading` makes one of plain values,
`esps_portal.mock.scenario_writing` makes plain values of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import SELECTORS, VOCABULARY, FaultError
from esps_portal.journal.values import ScenarioError
from esps_portal.mock.matching import ANY_ARGS, Matcher
from esps_portal.mock.stubs import Answer, Stub, StubError
from esps_portal.protocol.limits import Limits
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.mock.scripted import ScriptedPortal

__tracebackhide__ = hides_frame

# Characters shown of an error that quotes a value.
_SHOWN = 300


@attrs.frozen
class PlannedStub:
    """One stub; `esps_portal.mock.stubs` says what each part means."""

    service: str
    args: tuple[Matcher, ...] = ()
    answers: tuple[Answer, ...] = ()
    optional: bool = False

    @classmethod
    def of(cls, stub: Stub) -> PlannedStub:
        """Return the plan of a stub that was placed, as if it had never been used."""
        pattern = stub.pattern
        rest: tuple[Matcher, ...] = (ANY_ARGS,) if pattern.open_ended else ()
        answers = tuple(_copied(answer) for answer in stub.answers)
        return cls(stub.service, (*pattern.wanted, *rest), answers, stub.is_optional)

    def make(self, max_line: int, path: str = "") -> Stub:
        """Return a new stub for a portal whose lines are at most ``max_line`` bytes.

        Raises:
            ScenarioError: an answer does not fit.
        """
        stub = Stub(self.service, self.args, max_line=max_line)
        stub.is_optional = self.optional
        for number, answer in enumerate(self.answers):
            try:
                stub.add(_copied(answer))
            except StubError as error:
                below = f"answers[{number}]" if len(self.answers) > 1 else ""
                raise ScenarioError(_below(path, below), str(error)) from error
        return stub


@attrs.frozen
class PlannedFault:
    """One fault: its kind, its other keys (`Fault.of`), defaults left out, and its strictness."""

    kind: str
    said: Mapping[str, Any] = attrs.field(factory=dict)
    optional: bool = False

    @classmethod
    def of(cls, fault: Fault) -> PlannedFault:
        """Return the plan of a fault that was placed, as if it had never happened."""
        said: dict[str, Any] = {}
        for selector in SELECTORS:
            value = getattr(fault, selector)
            if isinstance(value, frozenset):
                value = sorted(value)
            if value is not None and (selector, value) != ("when", "after"):
                said[selector] = value
        takes = VOCABULARY[fault.kind].parameters
        given = fault.parameters.items()
        said |= {name: value for name, value in given if value != takes[name].default}
        return cls(fault.kind, said, fault.is_optional)

    def make(self, path: str = "") -> Fault:
        """Return a new fault. One by chance without a seed draws one.

        Raises:
            ScenarioError: it makes no sense.
        """
        try:
            fault = Fault.of(self.kind, **self.said)
        except FaultError as error:
            key = offending_key(partial(Fault.of, self.kind), self.said, error)
            words = str(error)
            words = words if len(words) <= _SHOWN else f"{words[: _SHOWN - 3]}..."
            raise ScenarioError(_below(path, key), words) from error
        fault.is_optional = self.optional
        return fault


@attrs.frozen
class Scenario:
    """What is to happen.

    Attributes:
        limits: those that differ from the defaults of `Limits`, by name.
    """

    stubs: tuple[PlannedStub, ...] = ()
    faults: tuple[PlannedFault, ...] = ()
    limits: Mapping[str, int | float] = attrs.field(factory=dict)

    @classmethod
    def of(cls, portal: ScriptedPortal) -> Scenario:
        """Return what a portal was given, as if none of it had been used yet.

        Services that a program declared are not either.
        """
        defaults, limits = attrs.asdict(Limits()), attrs.asdict(portal.limits)
        return cls(
            tuple(PlannedStub.of(stub) for stub in portal.script.stubs.all),
            tuple(PlannedFault.of(fault) for fault in portal.script.faults.in_force),
            {name: value for name, value in limits.items() if value != defaults[name]},
        )

    def apply(self, portal: ScriptedPortal, path: str = "") -> list[Fault]:
        """Add the stubs and faults to a portal that may be running: all of them, or none.

        Returns:
            The faults, with the seeds that were drawn.

        Raises:
            ScenarioError: an answer does not fit the portal's lines, or the limits are not those
                that it has: a portal takes its limits when it starts.
        """
        has = attrs.asdict(portal.limits)
        for name, value in self.limits.items():
            if has[name] != value:
                raise ScenarioError(
                    _below(path, f"limits.{name}"),
                    f"a portal takes its limits when it starts; this one has {has[name]:g}",
                )
        stubs = [
            plan.make(portal.limits.max_line, _below(path, f"stubs[{number}]"))
            for number, plan in enumerate(self.stubs)
        ]
        faults = [
            plan.make(_below(path, f"faults[{number}]")) for number, plan in enumerate(self.faults)
        ]
        for stub in stubs:
            portal.script.stubs.place(stub)
        for fault in faults:
            portal.script.faults.place(fault)
        return faults


def offending_key(make: Callable[..., object], said: Mapping[str, Any], error: ValueError) -> str:
    """Return the key that makes ``make(**said)`` fail: without it there is no such error."""
    for key in said:
        try:
            make(**{other: value for other, value in said.items() if other != key})
        except ValueError as another:
            if str(another) == str(error):
                continue
        return key
    return ""


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _copied(answer: Answer) -> Answer:
    """Return a copy of an answer, which the chain it came from cannot change."""
    return attrs.evolve(answer, steps=list(answer.steps), done=True)
