"""The commands of a page of the documentation, run as they stand there.

A fenced block marked `bash` is run by bash as root, and has to succeed. In one marked `console`,
what follows `# ` is run, whatever its exit status, and has to print what the page shows; `...`
stands for anything. One marked `sh` is a program, whose second line says where it belongs. Other
blocks are not for running.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from machine.installation import REPOSITORY
from machine.machine import Machine

# What the mediator says first where the tests were started with a low limit of open files.
LOW_LIMIT = re.compile(r"^\[W sudospawner\] RLIMIT_NOFILE stays at .*\n", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: what it is marked as, and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Section:
    """What stands below one heading, up to the next of any level."""

    heading: str
    text: str

    def list_blocks(self) -> list[Block]:
        """The fenced blocks, in their order."""
        return [Block(*found) for found in FENCE.findall(self.text)]


def read_sections(page: Path) -> list[Section]:
    """The sections of a page that have something to run, in their order."""
    # A comment in a block is no heading.
    blank = FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())
    lines = page.read_text().split("\n")
    starts = [n for n, line in enumerate(blank.split("\n")) if re.match(r"#+ ", line)]
    sections = [
        Section(lines[start].lstrip("# "), "\n".join(lines[start:end]))
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]
    return [section for section in sections if section.list_blocks()]


def read_blocks(page: str, language: str) -> list[str]:
    """The texts of the fenced blocks of a page of `docs` that are marked so."""
    blocks = (Block(*found) for found in FENCE.findall((REPOSITORY / "docs" / page).read_text()))
    return [block.text for block in blocks if block.language == language]


def read_place(program: str) -> str:
    """Where a program of a page belongs."""
    return program.splitlines()[1].removeprefix("# ")


def read_program(page: str, place: str) -> str:
    """The program of a page of `docs` that belongs there."""
    [program] = [text for text in read_blocks(page, "sh") if read_place(text) == place]
    return program


def read_dialogue(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what the page shows below it."""
    for part in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def is_shown(shown: str, printed: str) -> bool:
    """Whether the output is what the page shows, whose `...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def run_section(
    section: Section, machine: Machine, *, env: Mapping[str, str], typed: str = ""
) -> None:
    """Run what a section says; `typed` is what a person would type where a command asks.

    Raises `MachineError` where a command fails, and `AssertionError` where it prints something else
    than the page shows.
    """
    for block in section.list_blocks():
        if block.language == "bash":
            bash = ["bash", "-e", "-u", "-o", "pipefail", "-c", block.text]
            machine.run(bash, env=env, cwd="/root", timeout=600)
        elif block.language == "console":
            for command, shown in read_dialogue(block.text):
                line = ["bash", "-c", f"{command} 2>&1"]
                ended = machine.run(line, env=env, cwd="/root", input=typed, check=False)
                printed = LOW_LIMIT.sub("", ended.stdout)
                assert is_shown(shown, printed), f"{command}\nprinted\n{printed}"
