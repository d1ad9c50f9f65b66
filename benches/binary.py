"""The rows about the mediator's size, and about the crates that root's code needs."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator

from machine.installation import REPOSITORY, find_wheel
from table import Row, judge

MEBIBYTES_GOAL = 1.0
CRATES_GOAL = 22


def measure_binary() -> Iterator[Row]:
    """Measure the mediator in the wheel, and count the crates of others that root's code needs."""
    with zipfile.ZipFile(find_wheel()) as wheel:
        sizes = [
            entry.file_size
            for entry in wheel.infolist()
            if entry.filename.endswith(".data/scripts/sudospawner")
        ]
    mebibytes = sum(sizes) / 2**20
    if not mebibytes:
        raise RuntimeError(f"there is no binary in {find_wheel()}")
    yield Row(
        measured="size of the binary that sudoers permits",
        ours=f"{mebibytes:.2f} MiB",
        goal=f"≤ {MEBIBYTES_GOAL} MiB",
        result=judge(mebibytes, MEBIBYTES_GOAL),
    )
    crates = len(list_crates())
    yield Row(
        measured="crates that root's code needs",
        ours=str(crates),
        goal=f"≤ {CRATES_GOAL}",
        result=judge(crates, CRATES_GOAL),
    )


def list_crates() -> set[str]:
    """Return the name and version of every crate of others that `src/root` needs."""
    root = ["cargo", "tree", "--locked", "--package=sudospawner-root"]
    tree = [*root, "--edges=normal", "--prefix=none", "--format={p}"]
    output = subprocess.run(tree, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    crates = {" ".join(line.split()[:2]) for line in output.splitlines() if line}
    return {crate for crate in crates if not crate.startswith("sudospawner-")}
