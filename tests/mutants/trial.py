"""Builds mutants in a copy of the repository, and runs the tests that must fail."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

from machine.installation import REPOSITORY
from mutants.mutant import Mutant, MutantError

WORKPLACE = REPOSITORY / "target/mutants"
# Seconds for one run. Tests that wait for something that never happens give up after 60 seconds.
LONGEST_RUN = 150


class Tree:
    """A copy of the repository, always at the same path, so that cargo can reuse its builds."""

    def __init__(self) -> None:
        """Update the copy from the work tree, with uncommitted changes."""
        self.path = WORKPLACE / "tree"
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout
        files = {Path(os.fsdecode(name)) for name in names.split(b"\0") if name}
        wanted = {file for file in files if (REPOSITORY / file).is_file()}
        for file in self.path.rglob("*"):
            if file.is_file() and file.relative_to(self.path) not in wanted:
                file.unlink()
        for file in wanted:
            source, copy = REPOSITORY / file, self.path / file
            if not copy.exists() or not filecmp.cmp(source, copy, shallow=False):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)

    def cargo(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run cargo in the copy, with its own build folder."""
        environment = os.environ | {
            "CARGO_TARGET_DIR": str(WORKPLACE / "target"),
            "CARGO_PROFILE_DEV_DEBUG": "0",
            "RUSTFLAGS": "--cap-lints=warn",
        }
        return subprocess.run(
            ["cargo", *words],
            cwd=self.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build_programs(self, programs: Iterable[str], folder: Path) -> Path:
        """Build programs into a new folder and return it; `MutantError` if they do not compile."""
        chosen = [word for program in programs for word in ("--bin", program)]
        build = self.cargo("build", "--quiet", "--locked", *chosen)
        if build.returncode != 0:
            raise MutantError(f"It does not compile:\n{build.stdout}")
        folder.mkdir()
        for program in programs:
            shutil.copy(WORKPLACE / "target/debug" / program, folder)
        return folder

    def notices(self, proof: str) -> bool:
        """Return whether a cargo test fails; `MutantError` if it does not compile or exist."""
        target, name = proof.split()
        where = ["--workspace", "--lib"] if target == "lib" else ["--test", target]
        run = self.cargo("test", "--locked", *where, name)
        if run.returncode == 0 and "test result: ok. 1 passed" in run.stdout:
            return False
        if "test result: FAILED" in run.stdout:
            return True
        raise MutantError(f"`cargo test {' '.join(where)} {name}` said:\n{run.stdout[-3000:]}")

    def make(self, mutant: Mutant) -> list[tuple[Path, bytes]]:
        """Apply a mutant's edits and return what `restore` needs to undo them."""
        files = {self.path / edit.file for edit in mutant.edits}
        originals = [(file, file.read_bytes()) for file in files]
        try:
            for edit in mutant.edits:
                edit.apply(self.path)
        except MutantError:
            self.restore(originals)
            raise
        return originals

    def restore(self, originals: Iterable[tuple[Path, bytes]]) -> None:
        """Undo a mutant."""
        for file, content in originals:
            file.write_bytes(content)

    def find_failing(
        self, folder: Path, proofs: Iterable[str], only: str = "", *, stop: bool = True
    ) -> set[str]:
        """Return the functions of these system tests that fail with the programs in a folder.

        `stop`: whether to stop at the first failure. `MutantError` if they cannot be run.
        """
        results = folder.with_suffix(".xml")
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [
            f"--junitxml={results}",
            *(["-x"] if stop else []),
            *(["-k", only] * bool(only)),
        ]
        run = subprocess.run(
            [*command, *proofs],
            cwd=self.path / "tests",
            env=os.environ | {"SUDOSPAWNER_PROGRAMS": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_RUN if stop else None,
        )
        if run.returncode not in (0, 1):
            raise MutantError(f"pytest said:\n{run.stdout[-3000:]}")
        cases = ElementTree.parse(results).getroot().iter("testcase")
        outcomes = [(case.get("name", "").split("[")[0], case) for case in cases]
        failing = {name for name, case in outcomes if case.find("failure") is not None}
        # If the machine does not boot, that is an error before the test and proves nothing.
        if run.returncode == 1 and not failing:
            raise MutantError(f"No test failed, but pytest said:\n{run.stdout[-3000:]}")
        return {name.removeprefix("test_") for name in failing}
