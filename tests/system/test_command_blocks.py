"""Each command on these pages is run from the page, by a test, or is named here with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from machine.installation import REPOSITORY
from system.how_to import FENCE, read_blocks, read_place, read_sections

PAGES = ("sudo.md", "slurm.md", "kubernetes.md", "hooks.md")
# What `run_section` runs, programs that stand in a file of their own, what is not run with the
# rest, and what is no command: settings and drawings.
COMMANDS = {"bash", "console"}
PROGRAM = "sh"
ELSEWHERE = "shell"
NO_COMMANDS = {"dockerfile", "nginx", "python", "text", "yaml"}
# By the page and the heading above it: which test runs it, or why there is none.
REASONS = {
    ("sudo.md", "Passwords: PAM without root"): "in test_how_to.py, with the files of a Fedora",
    ("sudo.md", "SELinux"): "it takes a kernel with SELinux: tests/vm/test_selinux.py loads it",
    ("sudo.md", "FreeBSD"): "sudospawner does not run there, and the page says so",
}
SOURCES = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]


@pytest.mark.parametrize("page", PAGES)
def test_each_block_of_these_pages_says_what_it_is(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text()
    marks = {language for language, _ in FENCE.findall(text)}
    assert marks <= COMMANDS | NO_COMMANDS | {PROGRAM, ELSEWHERE}
    assert re.findall(r"\n\n    .*", FENCE.sub("", text)) == []


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_each_page_are_run_section_by_section(page: str) -> None:
    reads = re.compile(rf"read_sections\(REPOSITORY / \"docs/{page}\"\)")
    assert [source for source in SOURCES if reads.search(source) and "run_section(" in source]


def test_each_program_of_these_pages_is_run_by_a_test() -> None:
    reads = re.compile(r'read_program\("([\w.]+)", (?:"(\S+)"|([A-Z_]+))\)')
    run = set()
    for source in SOURCES:
        names = dict(re.findall(r'^([A-Z_]+) = "(\S+)"$', source, re.MULTILINE))
        run |= {(page, place or names[name]) for page, place, name in reads.findall(source)}
    shown = {(page, read_place(text)) for page in PAGES for text in read_blocks(page, PROGRAM)}
    assert run == shown


def test_what_is_not_run_with_the_rest_is_named_here_with_a_reason() -> None:
    left = {
        (page, section.heading)
        for page in PAGES
        for section in read_sections(REPOSITORY / "docs" / page)
        for block in section.list_blocks()
        if block.language == ELSEWHERE
    }
    assert left == set(REASONS)
