"""The table: rows with what was measured, what it is compared with, and whether the goal is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- table: begin (written by `benches/run --write`) -->"
END = "<!-- table: end -->"
HEADINGS = ("measured", "compared with", "ours", "upstream", "ours ÷ compared", "goal", "result")


@dataclass(frozen=True)
class Row:
    """One line of the table, as text. An empty cell says that there is nothing to say."""

    measured: str
    ours: str
    goal: str = ""
    result: str = ""
    compared: str = ""
    upstream: str = ""
    ratio: str = ""

    def list_cells(self) -> tuple[str, ...]:
        """The cells in the order of `HEADINGS`."""
        return (
            *(self.measured, self.compared, self.ours, self.upstream),
            *(self.ratio, self.goal, self.result),
        )


@dataclass(frozen=True)
class Reference:
    """What something is compared with: its name in the table, and the key of its durations."""

    name: str
    key: str


def judge(value: float, goal: float) -> str:
    """Whether a value is within its goal; one that is not is told by how much."""
    return "met" if value <= goal else f"**missed by {(value / goal - 1) * 100:.0f} %**"


def compare(
    measured: str,
    reference: Reference,
    times: dict[str, Sequence[float]],
    goal: float | None = None,
) -> Row:
    """A row of durations in seconds, with the median and the middle half of the paired ratios.

    `times` holds those of the reference, `ours` and, where it can do the same, `upstream`. The ones
    of the reference and ours are pairs. `goal` is the highest ratio that is aimed at.
    """
    compared, ours = times[reference.key], times["ours"]
    ratios = [one / other for one, other in zip(ours, compared, strict=True)]
    ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    upstream = ""
    if "upstream" in times:
        seconds = statistics.median(times["upstream"])
        factor = seconds / statistics.median(compared)
        upstream = f"{format_duration(seconds)} ({factor:.3g} ×)"
    return Row(
        measured=measured,
        compared=f"{reference.name} {format_duration(statistics.median(compared))}",
        ours=format_duration(statistics.median(ours)),
        upstream=upstream,
        ratio=f"{format_ratio(ratio)} ({format_ratio(low)} to {format_ratio(high)})",
        goal="" if goal is None else f"≤ {goal:.2f} ×",
        result="" if goal is None else judge(ratio, goal),
    )


def add(measured: str, reference: Reference, times: dict[str, Sequence[float]], goal: float) -> Row:
    """A row on what `ours` takes longer than the reference: the median of the paired differences,
    and the middle half of them. `goal` is the longest that is aimed at, in seconds.
    """
    pairs = zip(times["ours"], times[reference.key], strict=True)
    more = [one - other for one, other in pairs]
    low, middle, high = statistics.quantiles(more, n=4, method="inclusive")
    return Row(
        measured=measured,
        compared=f"{reference.name} {format_duration(statistics.median(times[reference.key]))}",
        ours=f"+{middle * 1e3:.2f} ms ({low * 1e3:.2f} to {high * 1e3:.2f})",
        goal=f"≤ +{goal * 1e3:g} ms",
        result=judge(middle, goal),
    )


def format_ratio(ratio: float) -> str:
    """A ratio with two digits behind the point, or more if they would say little."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def format_duration(seconds: float) -> str:
    """A duration with three digits."""
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s"


def format_table(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown, with columns that line up."""
    lines = [HEADINGS, *(row.list_cells() for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def replace_between_markers(path: Path, text: str) -> None:
    """Put `text` between the markers of a file; `ValueError` if it does not have both."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has not both of the lines {BEGIN} and {END}")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
