"""Prints what memory every process holds for itself. Runs inside the test machine, as root.

One JSON object: for each pid its `name` and its `private` memory in kB, as smaps_rollup has it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


def read_private_memory(process: Path) -> int:
    """The private memory of a process in kB: what would be free without it."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def take_census() -> dict[int, dict[str, int | str]]:
    """Every process but this one, by pid."""
    census: dict[int, dict[str, int | str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        # Processes come and go meanwhile.
        with suppress(OSError):
            name = (process / "comm").read_text().strip()
            census[int(process.name)] = {"name": name, "private": read_private_memory(process)}
    census.pop(os.getpid(), None)
    return census


if __name__ == "__main__":
    print(json.dumps(take_census()))
