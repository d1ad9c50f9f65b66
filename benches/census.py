"""Prints the private memory of every process. Runs inside the test machine, as root.

Prints one JSON object: for each pid its `name` and its `private` memory in kB, from smaps_rollup.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


def read_private_memory(process: Path) -> int:
    """Return the private memory of a process in kB: what its end would free."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def take_census() -> dict[int, dict[str, int | str]]:
    """Return every process except this one, by pid."""
    census: dict[int, dict[str, int | str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end meanwhile.
        with suppress(OSError):
            name = (process / "comm").read_text().strip()
            census[int(process.name)] = {"name": name, "private": read_private_memory(process)}
    census.pop(os.getpid(), None)
    return census


if __name__ == "__main__":
    print(json.dumps(take_census()))
