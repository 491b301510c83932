"""A plot as SVG: panels side by side, each with a logarithmic x axis and a y axis from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import attrs

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 36, 40, 48
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind people too
_STYLE = "font-family:sans-serif;font-size:12px"


@attrs.frozen
class Panel:
    """One plot.

    Attributes:
        series: by name, points of x (1 or more) and y, in the order of x.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]


def svg(panels: Sequence[Panel]) -> str:
    """Return a document with these panels from left to right."""
    width = _WIDTH * len(panels)
    body = [
        f'<g transform="translate({_WIDTH * number},0)">\n{_panel(panel)}\n</g>'
        for number, panel in enumerate(panels)
    ]
    size = f'width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{_STYLE}">'
    background = f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>'
    return "\n".join([head, background, *body, "</svg>", ""])


def _panel(panel: Panel) -> str:
    points = [point for line in panel.series.values() for point in line]
    decades = max(1, math.ceil(math.log10(max(x for x, _ in points))))
    step = _step(max(y for _, y in points))
    top = step * math.ceil(max(y for _, y in points) / step)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log10(x) / decades
        return across, _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / top

    parts = [_text(_LEFT, 18, panel.title, weight="bold")]
    parts += [_text(_LEFT, 32, f"{panel.y_label}, by {panel.x_label}")]
    for power in range(decades + 1):
        x, y = place(10**power, 0)
        parts.append(_line((x, y), (x, y + 4), "black"))
        parts.append(_text(x, y + 18, f"{10**power:,}", anchor="middle"))
    for number in range(round(top / step) + 1):
        x, y = place(1, number * step)
        parts.append(_line((x, y), (_WIDTH - _RIGHT, y), "#dddddd"))
        parts.append(_text(x - 6, y + 4, f"{number * step:g}", anchor="end"))
    for number, (name, line) in enumerate(panel.series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(_text(_LEFT + 120 * number, _HEIGHT - 8, name, colour=colour))
    return "\n".join(parts)


def _step(most: float) -> float:
    """Return a round distance of the lines that divide 0 to ``most`` into five or fewer."""
    power = 10.0 ** math.floor(math.log10(most / 5))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit * 5 >= most)


def _line(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
    (x, y), (right, low) = start, end
    return f'<path d="M{x:.1f},{y:.1f} L{right:.1f},{low:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "", colour: str = ""
) -> str:
    more = f' font-weight="{weight}"' if weight else ""
    more += f' fill="{colour}"' if colour else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place}{more}>{escape(text)}</text>"
