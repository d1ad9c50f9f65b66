"""Installs the contenders in the machine: both mediators, each beside the server of `server.c`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine.catalogue import cache_named
from machine.installation import install_sudoers, install_wheel
from machine.machine import Machine

HERE = Path(__file__).parent
FOLDER = Path("/opt/comparison")
# Written by the servers, which are zoe's, and read by the calls, which are rhea's.
FIFOS = Path("/run/comparison")
TARGET = "zoe"
TRUE = "/usr/bin/true"
# The cache of each mediator, and whether it supports the field `wait`.
MEDIATORS = {"ours": ("hub6", True), "upstream": ("upstream", False)}


def path_of(name: str) -> str:
    """Return the path of the mediator of that name in the machine."""
    return str(FOLDER / name / "sudospawner")


@dataclass(frozen=True)
class Contest:
    """The words before a mediator's path, its options, and the names of the mediators.

    The reference is /usr/bin/true after the same words.
    """

    sudo: list[str]
    names: list[str]
    options: list[str] = field(default_factory=list)

    def make_plan(self) -> dict[str, Any]:
        """Return this contest's part of the plan for `calls.py`."""
        return {
            "limit": [*self.sudo, TRUE],
            "mediators": {
                name: {
                    "command": [*self.sudo, path_of(name), *self.options],
                    "waits": MEDIATORS[name][1],
                }
                for name in self.names
            },
        }


USER_MODE = Contest(["/usr/bin/sudo", "-nH", "-u", TARGET], ["ours", "upstream"])


def install_contenders(machine: Machine) -> None:
    """Install the wheel, the mediators with their server, the sudoers rules and the programs."""
    install_wheel(machine, cache_named("hub6"))
    server = compile_server()
    for name, (cache, _) in MEDIATORS.items():
        # In a separate folder, because the Hubs need the virtualenv's real server.
        machine.run(["install", "-D", cache_named(cache).bin / "sudospawner", path_of(name)])
        machine.write(FOLDER / name / "sudospawner-singleuser", server, mode=0o755)
    commands = ", ".join([TRUE, *map(path_of, MEDIATORS)])
    rule = f"rhea ALL=(%jupyterhub) NOPASSWD: {commands}\n"
    install_sudoers(machine, cache_named("hub6"), cache_named("upstream"), more=rule)
    for program in ("calls.py", "census.py"):
        machine.write(FOLDER / program, (HERE / program).read_bytes())
    machine.run(["install", "--directory", "--owner=rhea", FIFOS])
    machine.run(
        f"mkfifo --mode=0622 {FIFOS}/stamps && mkfifo --mode=0644 {FIFOS}/lease && "
        f"chown rhea {FIFOS}/*"
    )


def compile_server() -> bytes:
    """Compile `server.c` and return the executable; `CalledProcessError` if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "server"
        compiler = ["cc", "-O2", "-Wall", "-Werror", "-static", "-o", program, HERE / "server.c"]
        subprocess.run(compiler, check=True)
        return program.read_bytes()


def list_calls_command(part: str, contest: Contest, **more: Any) -> list[str]:
    """Return the command that runs one part of `calls.py`; `more` is added to the plan."""
    numbers = {"rounds": 1, "seldom": 1, "count": 1}
    plan = {"folder": str(FIFOS), **contest.make_plan(), **numbers, **more}
    return ["/usr/bin/python3", "-B", str(FOLDER / "calls.py"), part, json.dumps(plan)]
