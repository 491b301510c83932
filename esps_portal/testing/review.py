"""The verdict at a test's end: whether its portal, proxy or peer was used as expected."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import attrs

from esps_portal.testing.portal_loop import PortalEndedError, PortalLoop
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class VerificationError(AssertionError):
    """The portal, or the proxy, was not used as expected. Its text is the report."""


@attrs.frozen
class Review:
    """What was found.

    Attributes:
        problems: what is wrong, each in a few lines; empty where nothing is.
        text: the problems, the seed of each fault by chance, and the transcript.
    """

    problems: list[str]
    text: str


@attrs.frozen
class Reviewer:
    """Reviews a portal or a proxy.

    Args:
        loop: where that is done, once what clients have sent is answered.
        find_problems: returns a text for each problem.
        report: returns the problems that it gets, and what happened.
    """

    _loop: PortalLoop
    _find_problems: Callable[[], list[str]]
    _report: Callable[[list[str]], str]

    def problems(self) -> list[str]:
        """Return what is wrong, each in a few lines."""
        return self._loop.run_when_quiet(self._find_problems)

    def verify(self) -> None:
        """Raise `VerificationError` if anything is wrong."""
        report = self._loop.run_when_quiet(self._report_of_problems)
        if report:
            raise VerificationError(report)

    def _report_of_problems(self) -> str:
        """Return the report if anything is wrong; a journal of 10,000 calls makes a long one."""
        problems = self._find_problems()
        return self._report(problems) if problems else ""

    def review(self) -> Review:
        """Return the problems and the whole report, even if the loop has ended."""
        try:
            return self._loop.run_when_quiet(self.now)
        except PortalEndedError as error:
            return self._after_end(error)

    def now(self) -> Review:
        """Return what `review` does; call it in the loop."""
        return self._review([])

    def _after_end(self, ended: PortalEndedError) -> Review:
        """Review what has ended, and its thread too: any thread may read the journal."""
        cause = ended.__cause__
        details = "" if cause is None else "\n" + "".join(traceback.format_exception(cause))
        return self._review([f"{ended}{details}".rstrip()])

    def _review(self, before: list[str]) -> Review:
        problems = [*before, *self._find_problems()]
        return Review(problems, self._report(problems))
