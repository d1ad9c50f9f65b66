"""`Mutant`: one check removed from the program, and the test that must fail without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class MutantError(Exception):
    """A mutant cannot be made, or its test cannot be run: the table needs a fix."""


class Edit(NamedTuple):
    """Replaces a text that occurs exactly once in a file of the repository."""

    file: str
    before: str
    after: str

    def apply(self, tree: Path) -> None:
        """Change the file in `tree`; `MutantError` unless the text occurs exactly once."""
        path = tree / self.file
        text = path.read_text()
        found = text.count(self.before)
        if found != 1:
            raise MutantError(f"{self.file} has this text {found} times, not once: {self.before!r}")
        path.write_text(text.replace(self.before, self.after))


@dataclass(frozen=True)
class Mutant:
    """A removed check.

    `check`: its number in `docs/security.md`, or a word if it has none. `without`: what the program
    no longer does. `edits`: how it is removed. `proof`: the test that must fail: `lib NAME` for a
    unit test, `cli NAME` for one of `tests/cli.rs` and so on, or the node of a system test. `only`
    selects some of its parameters, like pytest's -k. `reason`: why no test can notice, if the
    mutant is known to survive. `hangs`: whether the test then waits forever.
    """

    check: str
    without: str
    edits: tuple[Edit, ...]
    proof: str
    only: str = ""
    reason: str = ""
    hangs: bool = False

    @property
    def title(self) -> str:
        """The mutant as one line of text."""
        return f"{self.check}: without {self.without}"

    @property
    def is_system_test(self) -> bool:
        """Whether the proof runs in the test machine."""
        return self.proof.startswith("system/")

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that its system test needs: always the mediator and its subcommands."""
        always = (
            "sudospawner",
            "sudospawner-slurm",
            "sudospawner-session",
            "sudospawner-setup",
            "sudospawner-door",
        )
        return (*always, "jsd-helper") if "jsd_helper" in self.proof else always

    @property
    def proving_function(self) -> str:
        """The name of the test function, as in `docs/security.md`."""
        return self.proof.replace("::", " ").split()[-1].removeprefix("test_")


def mutant(
    check: str, without: str, file: str, before: str, after: str, proof: str, **more: Any
) -> Mutant:
    """Return a mutant with one edit."""
    return Mutant(check, without, (Edit(file, before, after),), proof, **more)
