"""The failure of a test whose portal was not used as expected."""

from __future__ import annotations

import attrs

from esps_portal.mock.verification import find_problems as find_problems  # noqa: PLC0414 - a test's verdict
from esps_portal.mock.verification import report as report  # noqa: PLC0414 - and its reasons


class VerificationError(AssertionError):
    """The portal was not used as expected. Its text is the report."""


@attrs.frozen
class Review:
    """What a test's end finds.

    Attributes:
        problems: what is wrong, a line each; nothing where all is well.
        text: that, the seed of each fault by chance, and all that happened, for a person.
    """

    problems: list[str]
    text: str
