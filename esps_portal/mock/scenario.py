"""A scenario: stubs, faults and limits of a portal, proxies and peers, as a file can hold them.

It is a TOML file, a JSON object on the control port, or the dump of a running portal.
`esps_portal.mock.scenario_reading` reads one from values, `esps_portal.mock.scenario_writing`
writes one as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ScenarioError, join_path
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.matching import ANY_ARGS, Matcher
from esps_portal.mock.planned_fault import PlannedFault, make_faults
from esps_portal.mock.planned_peer import PlannedPeer
from esps_portal.mock.planned_proxy import PlannedProxy
from esps_portal.mock.stubs import Stub, StubAnswer
from esps_portal.protocol.limits import Limits
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.mock.scripted import ScriptedPortal

__tracebackhide__ = hides_frame


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
class Scenario:
    """The stubs, faults and limits of a portal, and what is started beside it.

    Attributes:
        limits: those that differ from the defaults of `Limits`, by name.
        proxies: in front of other servers; `apply` leaves them out.
        peers: they play other servers; likewise.
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
        """Return the scenario of a portal but for its stubs, of which there may be many."""
        defaults, limits = attrs.asdict(Limits()), attrs.asdict(portal.limits)
        return cls(
            faults=tuple(PlannedFault.of(fault) for fault in portal.script.faults.in_force),
            limits={name: value for name, value in limits.items() if value != defaults[name]},
        )

    def apply(self, portal: ScriptedPortal) -> list[Fault]:
        """Add the stubs and faults to a portal that may be running: all of them, or none.

        Returns:
            The faults, with their seeds.

        Raises:
            ScenarioError: a line of an answer is longer than the portal's ``max_line``; or a fault
                makes no sense there; or the limits differ from the portal's, which it gets when it
                starts.
        """
        stubs, faults = self.make(portal)
        place_all(portal, stubs, faults)
        return faults

    def make(self, portal: ScriptedPortal) -> tuple[list[Stub], list[Fault]]:
        """Return new stubs and faults for a portal, which are not placed; any thread may do it.

        Raises:
            ScenarioError: as `apply` does.
        """
        actual = attrs.asdict(portal.limits)
        for name, value in self.limits.items():
            if actual[name] != value:
                raise ScenarioError(
                    f"limits.{name}",
                    f"a portal gets its limits when it starts; this one has {actual[name]:g}",
                )
        longest, where = portal.limits.longest_reply, portal.script.faults.where
        return (
            [p.make(longest, f"stubs[{n}]") for n, p in enumerate(self.stubs)],
            make_faults(self.faults, "", where),
        )


def place_all(portal: ScriptedPortal, stubs: Iterable[Stub], faults: Iterable[Fault]) -> None:
    """Add stubs and faults to a portal, which they were made for."""
    for stub in stubs:
        portal.script.stubs.place(stub)
    for fault in faults:
        portal.script.faults.place(fault)


def _copy(answer: StubAnswer) -> StubAnswer:
    """Return a copy of an answer that later methods of its stub do not change."""
    return attrs.evolve(answer, steps=list(answer.steps), done=True)
