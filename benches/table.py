"""The table: each row has a measurement, its reference, and whether the goal is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADINGS = ("measured", "compared with", "ours", "upstream", "ours ÷ compared", "goal", "result")


@dataclass(frozen=True)
class Row:
    """One line of the table, as text. An empty cell does not apply."""

    measured: str
    ours: str
    goal: str = ""
    result: str = ""
    compared: str = ""
    upstream: str = ""
    ratio: str = ""

    def list_cells(self) -> tuple[str, ...]:
        """Return the cells in the order of `HEADINGS`."""
        return (
            *(self.measured, self.compared, self.ours, self.upstream),
            *(self.ratio, self.goal, self.result),
        )


@dataclass(frozen=True)
class Reference:
    """A reference to compare with: its name in the table, and the key of its durations."""

    name: str
    key: str


def judge(value: float, goal: float) -> str:
    """Return whether a value meets its goal, or by how much it misses it."""
    return "met" if value <= goal else f"**missed by {(value / goal - 1) * 100:.0f} %**"


def compare(
    measured: str,
    reference: Reference,
    times: dict[str, Sequence[float]],
    goal: float | None = None,
) -> Row:
    """Return a row with median durations, and the median and middle half of the paired ratios.

    `times` holds the durations in seconds of the reference, `ours`, and optionally `upstream`. The
    durations of the reference and ours are pairs. `goal` is the highest acceptable ratio.
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
    """Return a row on how much longer `ours` takes than the reference: the median and middle half
    of the paired differences. `goal` is the largest acceptable difference, in seconds.
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
    """Format a ratio with two decimals, or four if it is below 0.1."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def format_duration(seconds: float) -> str:
    """Format a duration in ms, or in s from one second on."""
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s"


def format_table(rows: Iterable[Row]) -> str:
    """Format the rows as a Markdown table with aligned columns."""
    return align([HEADINGS, *(row.list_cells() for row in rows)])


def align(lines: Sequence[Sequence[str]]) -> str:
    """Format lines of cells, the first of them the headings, as a Markdown table."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def replace_between_markers(path: Path, text: str, name: str = "table", by: str = "run") -> None:
    """Replace the text between the markers of a file; `ValueError` if a marker is missing.

    `name`: which markers. `by`: the program of this folder that writes there.
    """
    begins = f"<!-- {name}: begin (written by `benches/{by} --write`) -->"
    ends = f"<!-- {name}: end -->"
    before, begin, rest = path.read_text().partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise ValueError(f"{path} has not both of the lines {begins} and {ends}")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
