"""Judges the lines of a server as they arrive."""

from __future__ import annotations

import attrs

from esps_portal.conformance.lines import fault_of
from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.pattern import described, line_matches
from esps_portal.conformance.steps import Expect, ExpectedLine
from esps_portal.conformance.template import Run

# Lines that a failed expectation names (own choice).
_MAX_DESCRIBED = 4


def judge_form(line: bytes) -> None:
    """Check the form that every line of a server has.

    Raises:
        MismatchError: it has another.
    """
    fault = fault_of(line)
    if fault:
        raise MismatchError("form", f"a line in its canonical form ({fault})", line)


@attrs.define(eq=False)
class Expectation:
    """The lines that a step waits for, less those that have come."""

    step: Expect
    run: Run
    _left: list[tuple[int, ExpectedLine]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """List the lines, with the number of the repetition of each."""
        repeats = range(1, self.run.count(self.step.repeat) + 1)
        self._left = [
            (number, line)
            for number in repeats
            for line in self.step.lines
            for _ in range(line.repeat)
        ]

    @property
    def is_met(self) -> bool:
        """Whether all have come."""
        return not self._left

    def take(self, line: bytes, after: float) -> None:
        """Take a line that came.

        Args:
            line: without its LF.
            after: seconds since this side last acted.

        Raises:
            MismatchError: another line must come now, or none so early.
        """
        text = line.decode("latin-1")
        if after < self.step.at_least:
            allowed = f"{self._allowed()}, not before {self.step.at_least:g} s"
            raise MismatchError("time", allowed, line)
        index = self._index_of(text)
        if index is None or not self._matches(index, text):
            raise MismatchError("line", self._allowed(), line)
        del self._left[index]

    def too_late(self, seconds: float, unread: bytes) -> MismatchError:
        """Return the error for lines that did not come in time."""
        what = "" if unread else "nothing"
        return MismatchError("time", f"{self._allowed()} within {seconds:g} s", unread, what)

    def ended(self, how: str, unread: bytes) -> MismatchError:
        """Return the error for an end before all lines have come."""
        return MismatchError("close", self._allowed(), unread, f"the end of the connection ({how})")

    def _index_of(self, text: str) -> int | None:
        """Return which of the lines left this one must be: the first, or the first of its tag."""
        if self.step.in_order:
            return 0
        tag = text.split(" ", maxsplit=1)[0]
        for index, (number, line) in enumerate(self._left):
            if self.run.fill(line.pattern.split(" ")[0], number) == tag:
                return index
        return None

    def _matches(self, index: int, text: str) -> bool:
        number, line = self._left[index]
        return line_matches(text, line, self.run, number)

    def _allowed(self) -> str:
        lines = [described(line, self.run, number) for number, line in self._left[:_MAX_DESCRIBED]]
        left_out = len(self._left) - len(lines)
        word = " or " if not self.step.in_order and len(lines) > 1 else ", then "
        return word.join(lines) + (f" and {left_out} more" if left_out else "")
