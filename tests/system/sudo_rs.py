"""sudo-rs in the place of sudo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine.catalogue import cache_named
from machine.machine import Machine

# What takes whose place, with which mode.
PROGRAMS = {"/usr/bin/sudo": ("sudo", 0o4755), "/usr/sbin/visudo": ("visudo", 0o755)}
# Where Debian's package has them.
PACKAGE = Path("/usr/lib/cargo/bin")

ORIGINS = ("crate", "package")
"""The crate is the newest version, the package is Debian's."""


@contextmanager
def sudo_rs_in(machine: Machine, origin: str) -> Iterator[Machine]:
    """In this context the machine has sudo-rs, and the tests' rules for sudo are out of the way."""
    moved = {"/etc/sudoers.d/sudospawner": "/run/rules-of-the-tests"}
    moved |= {place: f"{place}.original" for place in PROGRAMS}
    try:
        for place, away in moved.items():
            machine.run(["mv", place, away])
        for place, (name, mode) in PROGRAMS.items():
            if origin == "crate":
                program = (cache_named("sudo-rs").bin / name).read_bytes()
                machine.write(place, program, mode=mode)
            else:
                machine.run(["install", f"--mode={mode:o}", PACKAGE / name, place])
        # Version 0.2.5 says so on stderr.
        assert "sudo-rs" in machine.run("sudo --version 2>&1").stdout
        yield machine
    finally:
        for place, away in moved.items():
            machine.run(["mv", away, place], check=False)
