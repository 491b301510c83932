"""Calls that came while no test had the portal: nobody answers for them, and the summary tells.

Of this a worker of xdist sends its controller rows of plain values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

# Different calls that are told apart; of more than that there may be no end.
_MOST = 100

#: The call and what became of it; whether a stub of the session was there for it; the test that
#: had the portal before; how many came.
Row = tuple[str, bool, str, int]


@dataclasses.dataclass
class _Known:
    after: str
    count: int


class Strays:
    """All of a session, those of one kind together."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], _Known] = {}
        self._others = 0

    def note(self, call: str, *, is_expected: bool, after: str, count: int = 1) -> None:
        """Add calls of one kind."""
        key = call, is_expected
        if key in self._known:
            self._known[key].count += count
        elif len(self._known) < _MOST:
            self._known[key] = _Known(after, count)
        else:
            self._others += count

    def rows(self) -> list[Row]:
        """Return them as plain values."""
        return [(*key, known.after, known.count) for key, known in self._known.items()]

    def add(self, rows: Iterable[Row]) -> None:
        """Add those of another process."""
        for call, is_expected, after, count in rows:
            self.note(call, is_expected=is_expected, after=after, count=count)

    def report(self, *, expected_too: bool) -> list[str]:
        """Return a line for each kind; empty where there is nothing to tell."""
        lines = [
            f"{known.count} x {call} ({_when(known.after)})"
            for (call, is_expected), known in self._known.items()
            if expected_too or not is_expected
        ]
        return [*lines, f"and {self._others} others"] if self._others else lines


def _when(after: str) -> str:
    return f"first after {after}" if after else "first before any test"
