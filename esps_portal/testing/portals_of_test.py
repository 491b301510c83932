"""The portals, proxies and peers of one test: those in use, their reviews, what fails the test.

A part of the plugin: no attrs here, and nothing that imports trio before a test asks for a portal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import pytest

from esps_portal.given_numbers import shown_value
from esps_portal.testing.settings import SETTINGS
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.testing.review import Review

__tracebackhide__ = hides_frame


class Reviewable(Protocol):
    """A portal or a proxy that a test uses."""

    @property
    def where(self) -> str:
        """What it is and where, for a report."""

    def review(self) -> Review:
        """Return the problems and the whole report, even if it has ended."""

    def release(self) -> Review:
        """Do `review` and reset it; from then on the test cannot use it."""

    def stop(self) -> None:
        """End the server at once."""


_Own = TypeVar("_Own", bound=Reviewable)


@dataclasses.dataclass
class PortalsOfTest:
    """The portals and proxies of one test.

    Attributes:
        is_strict: whether the marker, or the setting, says so.
        in_use: those that have not been reviewed yet.
        at_end: called when the test has run, before any fixture is torn down.
        has_passed: the test has run, and passed; its teardown may still fail.
        reports: of those that were reviewed; shown if the teardown fails.
        has_failed_test: pytest shows the reports already, as the test's failure.
        resets: for a portal a line on connections that were reset before the test; may be empty.
    """

    is_strict: bool
    in_use: list[Reviewable] = dataclasses.field(default_factory=list)
    at_end: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    has_passed: bool = False
    reports: list[str] = dataclasses.field(default_factory=list)
    has_failed_test: bool = False
    resets: dict[Reviewable, str] = dataclasses.field(default_factory=dict)

    def release(self, portal: Reviewable, *, strict: bool) -> str:
        """Review a portal that the test no longer uses; return the report if the test must fail."""
        from esps_portal.testing.portal_loop import PortalEndedError

        self.in_use.remove(portal)
        try:
            review = portal.release()
            must_fail = strict and bool(review.problems)
        except PortalEndedError:
            review, must_fail = portal.review(), True
        report = self.report(portal, review.text)
        self.reports.append(report)
        return report if must_fail else ""

    def report(self, portal: Reviewable, text: str) -> str:
        """Return a report with what explains it."""
        return f"{text}{self.resets.get(portal, '')}\n({portal.where})"

    def fail_test(self, report: str) -> None:
        """Fail a test that has passed so far, if there is something to report."""
        if report and self.has_passed:
            self.has_failed_test = True
            pytest.fail(report, pytrace=False)


PORTALS = pytest.StashKey[PortalsOfTest]()


def portals_of_test(request: pytest.FixtureRequest) -> PortalsOfTest:
    """Return the portals of a test; none before it asks for its first one."""
    item: pytest.Item = request.node
    portals = item.stash.get(PORTALS, None)
    if portals is None:
        portals = item.stash[PORTALS] = PortalsOfTest(_is_strict(item))
    return portals


def _is_strict(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("esps_portal")
    if mark is None:
        return item.config.stash[SETTINGS].strict
    strict = mark.kwargs.get("strict")
    if mark.args or set(mark.kwargs) != {"strict"} or not isinstance(strict, bool):
        keywords = [f"{key}={value!r}" for key, value in mark.kwargs.items()]
        pytest.fail(
            "the marker esps_portal takes only strict=True or strict=False:"
            f" @pytest.mark.esps_portal({', '.join([*map(repr, mark.args), *keywords])})",
            pytrace=False,
        )
    return strict


@dataclasses.dataclass
class StartedByTest(Generic[_Own]):
    """The portals, or proxies, that a test has started by a factory; they end with it."""

    portals: PortalsOfTest
    started: list[tuple[_Own, bool]] = dataclasses.field(default_factory=list)
    has_ended: bool = False

    def start(self, begin: Callable[[], _Own], *, strict: bool | None) -> _Own:
        """Start a server, which ends with the test.

        Raises:
            PortalEndedError: the test has ended: nobody would review it, or end it.
        """
        from esps_portal.inspection.bind_hints import BindOptions, bind_hint
        from esps_portal.net.bind import CannotBindError
        from esps_portal.testing.portal_loop import PortalEndedError

        if self.has_ended:
            raise PortalEndedError(
                "the test that asked for this fixture has ended: ask for it again"
            )
        if strict is not None and not isinstance(strict, bool):
            raise TypeError(f"strict must be True or False, got {shown_value(strict)}")
        try:
            own = begin()
        except CannotBindError as error:
            error.hint = bind_hint(error, BindOptions("port", "host", sign="="))
            raise
        self.started.append((own, self.portals.is_strict if strict is None else strict))
        self.portals.in_use.append(own)
        return own

    def end(self) -> None:
        """Review and end all of them."""
        self.has_ended = True
        reports = []
        for own, strict in self.started:
            reports.append(self.portals.release(own, strict=strict))
            own.stop()
        self.portals.fail_test("\n\n".join(filter(None, reports)))
