"""What the project aims at, beside what was seen."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Aim:
    """One figure and its aim.

    Attributes:
        what: what was measured, and beside what.
        figure: what was seen; ``None`` where it could not be, as without the server beside.
        aim: the least that it should be, or with ``is_limit`` the most.
        unit: of both.
        note: shown after them.
    """

    what: str
    figure: float | None
    aim: float
    unit: str = ""
    is_limit: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        # As it is printed: a figure that reads as its aim meets it.
        figure, aim = round(self.figure, 2), self.aim
        is_met = figure <= aim if self.is_limit else figure >= aim
        return "met" if is_met else "missed"

    def __str__(self) -> str:
        figure = "-" if self.figure is None else f"{self.figure:.2f}"
        bound = f"{'at most' if self.is_limit else 'at least'} {self.aim:.2f}"
        return (
            f"{self.what:<64}{figure:>7} {bound:>13} {self.unit:<3} {self.verdict:<7} {self.note}"
        ).rstrip()


@attrs.frozen
class Report:
    """What one part of the benchmark saw: lines for a terminal, and aims."""

    lines: Sequence[str] = ()
    aims: Sequence[Aim] = ()


def ratio(figure: float | None, beside: float | None) -> float | None:
    """Return how a figure compares with another; ``None`` where one of them is missing."""
    return figure / beside if figure and beside else None


def summary(aims: Sequence[Aim]) -> list[str]:
    """Return all aims as lines, and how many were met."""
    met = sum(aim.verdict == "met" for aim in aims)
    return [*map(str, aims), f"{met} of {len(aims)} aims met"]
