"""The steps of a Dockerfile, done in the test machine in place of its base image.

The machine is as Debian as the image is, and has Node.js as that has. Understood is what this
repository's file uses: RUN, COPY, WORKDIR, USER and CMD; others have nothing to do here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from machine.installation import REPOSITORY
from machine.machine import Machine


class Instruction(NamedTuple):
    """One instruction: its word, and what follows on its line or lines."""

    word: str
    rest: str


def read_instructions(file: Path) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, in their order, without comments."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            yield Instruction(*line.split(maxsplit=1))


def copy_files(machine: Machine, rest: str) -> None:
    """Do what `COPY [--chmod=MODE] SOURCE PLACE` says; a source may have globs."""
    words = rest.split()
    mode = int(words.pop(0).removeprefix("--chmod="), 8) if words[0].startswith("--") else 0o644
    source, place = words
    files = list(REPOSITORY.glob(source))
    assert files, source
    for file in files:
        name = f"{place}{file.name}" if place.endswith("/") else place
        machine.write(name, file.read_bytes(), mode=mode)


def start_container(
    file: Path, machine: Machine, env: Mapping[str, str], **popen: Any
) -> subprocess.Popen[Any]:
    """Build what the Dockerfile says, and start its command; `popen` is for that.

    Raises `MachineError` for a step that fails, `ValueError` where there is no command.
    """
    folder, user = "/", "root"
    for word, rest in read_instructions(file):
        if word == "RUN":
            machine.run(rest, env=env, cwd=folder, timeout=600)
        elif word == "COPY":
            copy_files(machine, rest)
        elif word == "WORKDIR":
            folder = rest
        elif word == "USER":
            user = rest
        elif word == "CMD":
            return machine.start(json.loads(rest), user=user, cwd=folder, **popen)
    raise ValueError(f"{file} has no CMD")
