"""Calls that came while no test used the portal: no test fails for them; the summary lists them.

A worker of xdist sends them to its controller as rows of plain values. No attrs here: see the
plugin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

# Different calls that are listed (own choice); an application may make any number of them.
_MAX_LISTED = 100

#: The call and its outcome; whether a stub of the session matched its name; the test that had the
#: portal before; how often it came.
Row = tuple[str, bool, str, int]


@dataclasses.dataclass
class _Counted:
    after: str
    count: int


class CallsBetweenTests:
    """The calls of a session, counted: equal ones together."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, bool], _Counted] = {}
        self._others = 0

    def note(self, call: str, *, is_expected: bool, after: str, count: int = 1) -> None:
        """Count a call.

        Args:
            call: the call and its outcome.
            is_expected: whether a stub of the session was there for it.
            after: the test that had the portal before; empty before the first.
            count: how often it came.
        """
        key = call, is_expected
        if key in self._counted:
            self._counted[key].count += count
        elif len(self._counted) < _MAX_LISTED:
            self._counted[key] = _Counted(after, count)
        else:
            self._others += count

    def rows(self) -> list[Row]:
        """Return the calls as plain values."""
        return [(*key, counted.after, counted.count) for key, counted in self._counted.items()]

    def add(self, rows: Iterable[Row]) -> None:
        """Add the calls of another process."""
        for call, is_expected, after, count in rows:
            self.note(call, is_expected=is_expected, after=after, count=count)

    def report(self, *, with_expected: bool) -> list[str]:
        """Return a line for each different call, for the summary."""
        lines = [
            f"{counted.count} x {call} ({_when(counted.after)})"
            for (call, is_expected), counted in self._counted.items()
            if with_expected or not is_expected
        ]
        return [*lines, f"and {self._others} others"] if self._others else lines


def _when(after: str) -> str:
    return f"first after {after}" if after else "first before any test"
