"""The rows about the binary itself: its size and its crates."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator

from machine.installation import REPOSITORY, find_wheel
from table import Row, judge

MEGABYTES_GOAL = 1.5
CRATES_GOAL = 40


def measure_binary() -> Iterator[Row]:
    """Measure the size of the binary in the wheel, and count its crates, including ours."""
    with zipfile.ZipFile(find_wheel()) as wheel:
        sizes = [
            entry.file_size
            for entry in wheel.infolist()
            if entry.filename.endswith(".data/scripts/sudospawner")
        ]
    megabytes = sum(sizes) / 1e6
    if not megabytes:
        raise RuntimeError(f"there is no binary in {find_wheel()}")
    yield Row(
        measured="size of the binary",
        ours=f"{megabytes:.2f} MB",
        goal=f"≤ {MEGABYTES_GOAL} MB",
        result=judge(megabytes, MEGABYTES_GOAL),
    )
    crates = len(list_crates())
    yield Row(
        measured="crates in `cargo tree -e normal`",
        ours=str(crates),
        goal=f"≤ {CRATES_GOAL}",
        result=judge(crates, CRATES_GOAL),
    )


def list_crates() -> set[str]:
    """Return the name and version of every crate that the binary is built from."""
    tree = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}"]
    output = subprocess.run(tree, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return {" ".join(line.split()[:2]) for line in output.splitlines() if line}
