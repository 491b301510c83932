"""The verdict at a test's end: whether its portal was used as expected."""

from __future__ import annotations

import traceback
from typing import Self

import attrs

from esps_portal.mock.scripted import Script
from esps_portal.mock.verification import find_problems, problem_report
from esps_portal.testing.portal_loop import PortalEndedError


class VerificationError(AssertionError):
    """The portal was not used as expected. Its text is the report."""


@attrs.frozen
class Review:
    """What was found.

    Attributes:
        problems: what is wrong, each in a few lines; empty where nothing is.
        text: the problems, the seed of each fault by chance, and the transcript.
    """

    problems: list[str]
    text: str

    @classmethod
    def of(cls, script: Script) -> Self:
        """Review a portal by its stubs, faults and journal; called in its loop."""
        problems = find_problems(script)
        return cls(problems, problem_report(script, problems))

    @classmethod
    def of_ended(cls, script: Script, ended: PortalEndedError) -> Self:
        """Review a portal that has ended, and its thread too: any thread may read the journal."""
        cause = ended.__cause__
        details = "" if cause is None else "\n" + "".join(traceback.format_exception(cause))
        problems = [f"{ended}{details}".rstrip(), *find_problems(script)]
        return cls(problems, problem_report(script, problems))
