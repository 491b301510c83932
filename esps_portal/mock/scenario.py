"""A scenario: stubs, faults and limits of a portal, proxies and peers, as a file can hold them.

It is a TOML file, a JSON object on the control port, or the dump of a running portal.
`esps_portal.mock.scenario_reading` reads one from values, `esps_portal.mock.scenario_writing`
writes one as values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS
from esps_portal.faults.matching import Match
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.place import Place
from esps_portal.journal.values import ScenarioError, join_path
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.matching import ANY_ARGS, Matcher
from esps_portal.mock.planned_peer import PlannedPeer
from esps_portal.mock.planned_proxy import PlannedProxy
from esps_portal.mock.stubs import Stub, StubAnswer
from esps_portal.protocol.escape import shorten
from esps_portal.protocol.limits import Limits
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.mock.scripted import ScriptedPortal

__tracebackhide__ = hides_frame

# Selectors that are never None.
_DEFAULTS = {"when": "after", "to": "client", "offset": 0}
# Characters of an error that quotes a value.
_MAX_ERROR_TEXT = 300


@attrs.frozen
class PlannedStub:
    """The plan of a stub; see `esps_portal.mock.stubs`."""

    service: str
    args: tuple[Matcher, ...] = ()
    answers: tuple[StubAnswer, ...] = ()
    optional: bool = False

    @classmethod
    def of(cls, stub: Stub) -> PlannedStub:
        """Return the plan of a placed stub; its uses do not count."""
        matcher = stub.args_matcher
        rest: tuple[Matcher, ...] = (ANY_ARGS,) if matcher.allows_more_args else ()
        answers = tuple(_copy(answer) for answer in stub.answers)
        return cls(stub.service, (*matcher.matchers, *rest), answers, stub.is_optional)

    def make(self, max_line: int, path: str = "") -> Stub:
        """Return a new stub.

        Args:
            max_line: the portal's limit, in bytes.
            path: of the stub in the scenario, for an error.

        Raises:
            ScenarioError: a line of an answer would be longer.
        """
        stub = Stub(self.service, self.args, max_line=max_line)
        stub.is_optional = self.optional
        for number, answer in enumerate(self.answers):
            try:
                stub.add(_copy(answer))
            except StubError as error:
                key = f"answers[{number}]" if len(self.answers) > 1 else ""
                raise ScenarioError(join_path(path, key), str(error)) from error
        return stub


@attrs.frozen
class PlannedFault:
    """The plan of a fault.

    Attributes:
        options: selectors and parameters, for `Fault.create`; without those that are defaults.
        optional: a strict test does not fail if it never strikes.
    """

    kind: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    optional: bool = False

    @classmethod
    def of(cls, fault: Fault) -> PlannedFault:
        """Return the plan of a placed fault; its strikes do not count."""
        options: dict[str, Any] = {}
        for selector in SELECTORS:
            value = getattr(fault, selector)
            if isinstance(value, frozenset):
                value = sorted(value)
            if isinstance(value, Match):
                value = value.given
            if value is not None and _DEFAULTS.get(selector) != value:
                options[selector] = value
        known = FAULT_TYPES[fault.kind].parameters
        given = fault.parameters.items()
        options |= {name: value for name, value in given if value != known[name].default}
        return cls(fault.kind, options, fault.is_optional)

    def make(self, path: str = "", where: Place | None = None) -> Fault:
        """Return a new fault. A fault by chance without a seed gets one.

        Args:
            path: of the fault in the scenario, for an error.
            where: it has to make sense there; ``None``: that is checked later.

        Raises:
            ScenarioError: an option is unknown, its value is wrong, or makes no sense.
        """

        def make(**options: Any) -> Fault:  # noqa: ANN401 - `create` checks each by its name
            made = Fault.create(self.kind, **options)
            if where is not None:
                where.check(made)
            return made

        try:
            fault = make(**self.options)
        except FaultError as error:
            key = offending_key(make, self.options, error)
            raise ScenarioError(
                join_path(path, key), shorten(str(error), _MAX_ERROR_TEXT)
            ) from error
        fault.is_optional = self.optional
        return fault


def make_faults(plans: Iterable[PlannedFault], path: str, where: Place) -> list[Fault]:
    """Return new faults for a server, which are not placed.

    Args:
        path: of the server in the scenario, for an error.

    Raises:
        ScenarioError: as `PlannedFault.make` does.
    """
    return [p.make(join_path(path, f"faults[{n}]"), where) for n, p in enumerate(plans)]


@attrs.frozen
class Scenario:
    """The stubs, faults and limits of a portal, and what is started beside it.

    Attributes:
        limits: those that differ from the defaults of `Limits`, by name.
        proxies: in front of other servers; a portal leaves them to whoever starts such.
        peers: they play other servers; the same.
    """

    stubs: tuple[PlannedStub, ...] = ()
    faults: tuple[PlannedFault, ...] = ()
    limits: Mapping[str, int | float] = attrs.field(factory=dict)
    proxies: tuple[PlannedProxy, ...] = ()
    peers: tuple[PlannedPeer, ...] = ()

    @classmethod
    def of(cls, portal: ScriptedPortal) -> Scenario:
        """Return the scenario of a portal, as if none of it had been used.

        Services of a program are not part of it.
        """
        return attrs.evolve(
            cls.without_stubs(portal),
            stubs=tuple(PlannedStub.of(stub) for stub in portal.script.stubs.all),
        )

    @classmethod
    def without_stubs(cls, portal: ScriptedPortal) -> Scenario:
        """Return the same but for the stubs, of which there may be many."""
        defaults, limits = attrs.asdict(Limits()), attrs.asdict(portal.limits)
        return cls(
            faults=tuple(PlannedFault.of(fault) for fault in portal.script.faults.in_force),
            limits={name: value for name, value in limits.items() if value != defaults[name]},
        )

    def apply(self, portal: ScriptedPortal, path: str = "") -> list[Fault]:
        """Add the stubs and faults to a portal that may be running: all of them, or none.

        Returns:
            The faults, with their seeds.

        Raises:
            ScenarioError: a line of an answer is longer than the portal's ``max_line``; or a fault
                makes no sense there; or the limits differ from the portal's, which it gets when it
                starts.
        """
        stubs, faults = self.make(portal, path)
        place_all(portal, stubs, faults)
        return faults

    def make(self, portal: ScriptedPortal, path: str = "") -> tuple[list[Stub], list[Fault]]:
        """Return new stubs and faults for a portal, which are not placed; any thread may do it.

        Raises:
            ScenarioError: as `apply` does.
        """
        actual = attrs.asdict(portal.limits)
        for name, value in self.limits.items():
            if actual[name] != value:
                raise ScenarioError(
                    join_path(path, f"limits.{name}"),
                    f"a portal gets its limits when it starts; this one has {actual[name]:g}",
                )
        longest, where = portal.limits.longest_reply, portal.script.faults.where
        return (
            [p.make(longest, join_path(path, f"stubs[{n}]")) for n, p in enumerate(self.stubs)],
            make_faults(self.faults, path, where),
        )


def place_all(portal: ScriptedPortal, stubs: Iterable[Stub], faults: Iterable[Fault]) -> None:
    """Add stubs and faults to a portal, which they were made for."""
    for stub in stubs:
        portal.script.stubs.place(stub)
    for fault in faults:
        portal.script.faults.place(fault)


def offending_key(
    make: Callable[..., object], options: Mapping[str, Any], error: ValueError
) -> str:
    """Return the key that makes ``make(**options)`` raise ``error``: without it, it does not.

    Of several it is the one that the error names: without a required key the error is another one.
    """
    keys = []
    for key in options:
        try:
            make(**{name: value for name, value in options.items() if name != key})
        except ValueError as another:
            if str(another) == str(error):
                continue
        keys.append(key)
    named = (key for key in keys if re.search(rf"\b{re.escape(key)}\b", str(error)))
    return next(named, keys[0] if keys else "")


def _copy(answer: StubAnswer) -> StubAnswer:
    """Return a copy of an answer that later methods of its stub do not change."""
    return attrs.evolve(answer, steps=list(answer.steps), done=True)
