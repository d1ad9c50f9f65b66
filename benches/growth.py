"""What `benches/scale` tells: a table with a column for each number of servers, and a picture."""

from __future__ import annotations

from collections.abc import Callable

from crowd import Measured
from plot import Panel, draw
from table import align, format_duration

PICTURE_TEXT = (
    "Two plots with logarithmic axes, over the number of servers: what one server takes in time, "
    "and in memory. The numbers are those of the table."
)
# Below so many servers, what else happens in the machine counts for more.
ENOUGH_FOR_MACHINE = 1000


def format_machine(one: Measured) -> str:
    """Format the memory that the machine has lost for each server."""
    return f"{one.machine:,.0f} kB" if one.servers >= ENOUGH_FOR_MACHINE else ""


ROWS: dict[str, Callable[[Measured], str]] = {
    "starts and stops that failed": lambda one: f"{one.failures:,}",
    "start of all, 20 at once": lambda one: format_duration(one.start_all),
    "start, for each of these": lambda one: format_duration(one.start_all / one.servers),
    "start of one more, alone": lambda one: format_duration(one.start),
    "stop of that one": lambda one: format_duration(one.stop),
    "stop of all, 20 at once": lambda one: format_duration(one.stop_all),
    "stop, for each of these": lambda one: format_duration(one.stop_all / one.servers),
    "one poll of all": lambda one: format_duration(one.poll_all),
    "a new process finds all again": lambda one: format_duration(one.find_all),
    "private memory of the Hub's process, more": lambda one: f"{one.memory / 1000:,.1f} MB",
    "the same, for each server": lambda one: f"{one.memory / one.servers:,.0f} kB",
    "descriptors of the Hub's process, more": lambda one: f"{one.descriptors:,}",
    "private memory beside each server": lambda one: f"{one.beside:,.0f} kB",
    "memory of the machine for each, the server included": format_machine,
}


def format_growth(results: list[Measured]) -> str:
    """Format the results as a Markdown table."""
    heading = ["servers", *(f"{one.servers:,}" for one in results)]
    return align([heading, *([name, *map(format, results)] for name, format in ROWS.items())])


def draw_growth(results: list[Measured]) -> str:
    """Draw what one server costs among so many, as SVG: a level line is one that does not bend."""

    def each(read: Callable[[Measured], float]) -> list[tuple[float, float]]:
        return [(one.servers, max(read(one), 0.001)) for one in results]

    times = {
        "start": each(lambda one: 1e3 * one.start_all / one.servers),
        "start, alone": each(lambda one: 1e3 * one.start),
        "stop": each(lambda one: 1e3 * one.stop_all / one.servers),
        "stop, alone": each(lambda one: 1e3 * one.stop),
        "find again": each(lambda one: 1e3 * one.find_all / one.servers),
        "poll": each(lambda one: 1e3 * one.poll_all / one.servers),
    }
    memory = {
        "beside it": each(lambda one: one.beside),
        "in the Hub": each(lambda one: one.memory / one.servers),
    }
    return draw(
        PICTURE_TEXT,
        [
            Panel("time for one server, ms", "servers", times),
            Panel("private memory for one server, kB", "servers", memory),
        ],
    )
