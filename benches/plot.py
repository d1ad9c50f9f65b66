"""A plot of lines as a small SVG: both axes logarithmic, legible on light and on dark paper."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 430, 300, 60, 128, 34, 44
# Okabe and Ito's colours, which colour-blind people tell apart. All are legible on both papers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = """\
text { font: 12px sans-serif; fill: #24292f; }
.title { font-weight: bold; }
.grid { stroke: #8c959f; stroke-opacity: 0.35; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
"""


@dataclass(frozen=True)
class Panel:
    """One plot: a title, the name of the x axis, and lines of points (x, y), by their names."""

    title: str
    axis: str
    lines: dict[str, list[tuple[float, float]]]


class Scale:
    """Where a value lies on a logarithmic axis."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Return the coordinate of a value."""
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._start + part * (self._end - self._start), 1)

    def list_powers(self) -> list[float]:
        """Return the powers of ten on the axis."""
        return [10.0**power for power in range(self._low, self._high + 1)]


def draw(description: str, panels: list[Panel]) -> str:
    """Return an SVG with the panels side by side. `description` is for those who cannot see it."""
    body = [
        f'<g transform="translate({number * WIDTH} 0)">{"".join(draw_panel(panel))}</g>'
        for number, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
        f'role="img" aria-label="{escape(description)}">\n<style>\n{STYLE}</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def draw_panel(panel: Panel) -> Iterator[str]:
    """Yield the elements of a panel."""
    points = [point for line in panel.lines.values() for point in line]
    across = Scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = Scale([y for _, y in points], HEIGHT - BOTTOM, TOP)
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'\n<text class="title" x="8" y="18">{escape(panel.title)}</text>\n'
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.axis)}</text>\n'
    for x in across.list_powers():
        place = across.place(x)
        yield f'<path class="grid" d="M{place} {TOP}V{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{place}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,.0f}</text>\n'
    for y in up.list_powers():
        place = up.place(y)
        yield f'<path class="grid" d="M{LEFT} {place}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{place + 4}" text-anchor="end">{y:,g}</text>\n'
    ends = {name: up.place(line[-1][1]) for name, line in panel.lines.items()}
    labels = spread(ends)
    for (name, line), colour in zip(panel.lines.items(), COLOURS, strict=False):
        path = "L".join(f"{across.place(x)} {up.place(y)}" for x, y in line)
        yield f'<path class="line" stroke="{colour}" d="M{path}"/>'
        for x, y in line:
            yield f'<circle r="3" fill="{colour}" cx="{across.place(x)}" cy="{up.place(y)}"/>'
        left = across.place(line[-1][0]) + 8
        yield f'<text x="{left}" y="{labels[name] + 4}" style="fill: {colour}">'
        yield f"{escape(name)}</text>\n"


def spread(places: dict[str, float], distance: float = 14) -> dict[str, float]:
    """Return where labels lie so that none covers another, in the order of their places."""
    spread_out: dict[str, float] = {}
    last = -math.inf
    for name in sorted(places, key=lambda name: places[name]):
        last = spread_out[name] = max(places[name], last + distance)
    # The last must not lie below the axis.
    below = max(0.0, last - (HEIGHT - BOTTOM))
    return {name: place - below for name, place in spread_out.items()}
