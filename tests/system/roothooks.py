"""`Container`: what `jupyterhub-roothooks` is the entrypoint of, as root in the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine.machine import Machine

NO_ACCOUNT = 54321
"""A uid that belongs to nobody."""


class Container:
    """A directory of hooks, and the entrypoint: our program, or upstream's."""

    def __init__(self, machine: Machine, program: Path, hooks: str = "/etc/roothooks.d") -> None:
        """Make the directory, empty and root's. `program` is the entrypoint's path."""
        self.machine = machine
        self.program = program
        self.hooks = Path(hooks)
        self.remove()
        machine.run(["mkdir", self.hooks])

    def remove(self) -> None:
        """Remove the directory."""
        self.machine.run(["rm", "-rf", self.hooks])

    def add_hook(self, name: str, program: str, mode: int = 0o755) -> None:
        """Put a hook into the directory."""
        self.machine.write(self.hooks / name, program, mode=mode)

    def words(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The command line; the uid is one without an account unless the options name another."""
        line = [str(self.program), *options]
        if not any(option.startswith("--hooks-dir") for option in options):
            line.append(f"--hooks-dir={self.hooks}")
        if not any(option.startswith("--uid") for option in options):
            line.append(f"--uid={NO_ACCOUNT}")
        return [*line, "--", *command]

    def run(
        self,
        *command: str,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command through the entrypoint; `prefix` is what starts the entrypoint."""
        words = [*prefix, *self.words(*command, options=options)]
        return self.machine.run(words, env=env, cwd=cwd, check=check)

    def read_status(self, options: Sequence[str] = ()) -> dict[str, str]:
        """What /proc says of a command."""
        return read_status(self.run("cat", "/proc/self/status", options=options).stdout)


def read_status(text: str) -> dict[str, str]:
    """The lines of a `/proc/PID/status`."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}
