"""`Mutant`: one check taken out of the program, and the test that has to fail without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class MutantError(Exception):
    """A mutant cannot be made, or its test cannot be run: the table has to be mended."""


class Edit(NamedTuple):
    """Replaces a text, which is there exactly once, in a file of the repository."""

    file: str
    before: str
    after: str

    def apply(self, tree: Path) -> None:
        """Change the file in `tree`; `MutantError` if the text is not there, or more than once."""
        path = tree / self.file
        text = path.read_text()
        found = text.count(self.before)
        if found != 1:
            raise MutantError(f"{self.file} has this text {found} times, not once: {self.before!r}")
        path.write_text(text.replace(self.before, self.after))


@dataclass(frozen=True)
class Mutant:
    """A check taken out.

    `check`: its number in `docs/security.md`, or a word for what has none. `without`: what the
    program does not do any more. `edits`: how that is done. `proof`: the test that has to fail:
    `lib NAME` for a unit test, `cli NAME` for one of `tests/cli.rs` and so on, or the node of a
    system test; `only` chooses some of its parameters, as pytest's -k. `reason`: why no test can
    notice, for one that is known to survive. `hangs`: whether the test then waits for ever.
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
        """One line to show."""
        return f"{self.check}: without {self.without}"

    @property
    def is_system_test(self) -> bool:
        """Whether the proof needs the test machine."""
        return self.proof.startswith("system/")

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that a system test of it needs; each test has the mediator."""
        return ("sudospawner", "jsd-helper") if "jsd_helper" in self.proof else ("sudospawner",)

    @property
    def proving_function(self) -> str:
        """The name of the test's function, as `docs/security.md` has it."""
        return self.proof.replace("::", " ").split()[-1].removeprefix("test_")


def mutant(
    check: str, without: str, file: str, before: str, after: str, proof: str, **more: Any
) -> Mutant:
    """A mutant of one edit."""
    return Mutant(check, without, (Edit(file, before, after),), proof, **more)
