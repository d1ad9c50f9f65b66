"""Shows that every numbered check of `docs/security.md` has a test that fails without it.

    python3 -m mutants [WORD …]    only the mutants with one of these in their title or proof

The program is copied and built once for each mutant; system tests run in a new machine each time.
Needs root. The exit status is 1 if a mutant survives without a reason or cannot be made, or if a
test that the document names judges no mutant.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from machine.beginning import begin_process
from machine.installation import REPOSITORY
from mutants.mutant import Mutant, MutantError
from mutants.table import BEYOND, MUTANTS
from mutants.trial import WORKPLACE, Tree


def choose(words: list[str]) -> list[Mutant]:
    """Return the mutants that contain one of the words, or all without words."""
    chosen = [m for m in MUTANTS if any(word in f"{m.title} {m.proof}" for word in words or [""])]
    if not chosen:
        sys.exit(f"No mutant has this in its title or test: {' '.join(words)}")
    return chosen


def find_red(tree: Tree, chosen: list[Mutant], folder: Path, testers: ThreadPoolExecutor) -> Future:
    """Start to find the tests that fail with the unchanged program: a future of their names."""
    red = {m.proving_function for m in chosen if not m.is_system_test and tree.notices(m.proof)}
    system = sorted({m.proof for m in chosen if m.is_system_test})
    if not system:
        return testers.submit(lambda: red)
    every = {program for mutant in chosen for program in mutant.programs}
    unchanged = tree.build_programs(every, folder / "unchanged")
    return testers.submit(lambda: red | tree.find_failing(unchanged, system, stop=False))


def begin(tree: Tree, mutant: Mutant, folder: Path, testers: ThreadPoolExecutor) -> Future:
    """Build a mutant and start its trial: a future of whether its test fails."""
    originals = tree.make(mutant)
    try:
        if not mutant.is_system_test:
            noticed = tree.notices(mutant.proof)
            return testers.submit(lambda: noticed)
        tree.build_programs(mutant.programs, folder)
    finally:
        tree.restore(originals)
    return testers.submit(lambda: bool(tree.find_failing(folder, [mutant.proof], mutant.only)))


def judge(mutant: Mutant, trial: Future | MutantError, red: set[str]) -> str:
    """Return the verdict on a mutant in a few words."""
    try:
        if isinstance(trial, MutantError):
            raise trial
        noticed = trial.result()
    except subprocess.TimeoutExpired:
        noticed = mutant.hangs
        if not noticed:
            return "TIMED OUT: nothing is shown by a test that was given up"
    except MutantError as error:
        return f"BROKEN: {error}"
    if mutant.proving_function in red:
        return "UNPROVEN: its test fails with the unchanged program, too"
    if noticed:
        return "killed" if not mutant.reason else "killed, though the table has a reason against it"
    return f"survives: {mutant.reason}" if mutant.reason else "SURVIVES"


def list_unshown() -> list[str]:
    """Return the tests in `docs/security.md` that judge no mutant and are not in `BEYOND`."""
    words = re.findall(
        r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", (REPOSITORY / "docs/security.md").read_text()
    )
    shown = {mutant.proving_function for mutant in MUTANTS}
    return sorted(set(words) - shown - set(BEYOND))


def main(words: list[str]) -> int:
    """Try the mutants and return the exit status."""
    begin_process()
    chosen = choose(words)
    WORKPLACE.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with (
        (WORKPLACE / "lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix="mutants-") as name,
        ThreadPoolExecutor(max_workers=3) as testers,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = Path(name)
        tree = Tree()
        print(f"==> {len(chosen)} mutants, and the unchanged program", flush=True)
        try:
            red = find_red(tree, chosen, folder, testers)
        except MutantError as error:
            sys.exit(f"The program as it is cannot be tested. {error}")
        trials: list[Future | MutantError] = []
        for number, mutant in enumerate(chosen):
            try:
                trials.append(begin(tree, mutant, folder / str(number), testers))
            except MutantError as error:
                trials.append(error)
            print(f"    built {number + 1}/{len(chosen)}  {mutant.title}", flush=True)
        verdicts = []
        for mutant, trial in zip(chosen, trials, strict=True):
            verdicts.append(judge(mutant, trial, red.result()))
            print(f"{mutant.title}\n    {verdicts[-1]}  ({mutant.proof})", flush=True)
    bad = [verdict for verdict in verdicts if verdict[:2].isupper()]
    killed = sum(verdict.startswith("killed") for verdict in verdicts)
    unshown = [] if words else list_unshown()
    if unshown:
        print("Named in docs/security.md, but judged by no mutant:", *unshown, sep="\n    ")
    print(
        f"{killed} of {len(chosen)} mutants killed, {len(bad)} to be looked at, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return 1 if bad or unshown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
