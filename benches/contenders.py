"""Puts what is compared into the machine: both mediators, each beside the server of `server.c`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from machine.caches import cache_named
from machine.installation import install_sudoers, install_wheel
from machine.machine import Machine

HERE = Path(__file__).parent
FOLDER = Path("/opt/comparison")
# Written by the servers, which are zoe's, and read by the calls, which are rhea's.
FIFOS = Path("/run/comparison")
TARGET = "zoe"
# The mediators' own words and options, so that the limit differs from them in the command alone.
SUDO = ["/usr/bin/sudo", "-nH", "-u", TARGET]
LIMIT = "/usr/bin/true"
MEDIATORS = {
    "ours": {"cache": "hub6", "waits": True},
    "upstream": {"cache": "upstream", "waits": False},
}


def install_contenders(machine: Machine) -> None:
    """Install the wheel, the mediators with their server, the sudoers rules and the programs."""
    install_wheel(machine, cache_named("hub6"))
    server = compile_server()
    paths = []
    for name, mediator in MEDIATORS.items():
        folder = FOLDER / name
        # In a folder of its own, since the virtualenv's real server is for the Hubs.
        own = cache_named(str(mediator["cache"])).bin / "sudospawner"
        machine.run(["install", "-D", own, folder / "sudospawner"])
        machine.write(folder / "sudospawner-singleuser", server, mode=0o755)
        paths.append(str(folder / "sudospawner"))
    rule = f"rhea ALL=(%jupyterhub) NOPASSWD: {', '.join([LIMIT, *paths])}\n"
    install_sudoers(machine, cache_named("hub6"), cache_named("upstream"), more=rule)
    for program in ("calls.py", "census.py"):
        machine.write(FOLDER / program, (HERE / program).read_bytes())
    machine.run(["install", "--directory", "--owner=rhea", FIFOS])
    machine.run(
        f"mkfifo --mode=0622 {FIFOS}/stamps && mkfifo --mode=0644 {FIFOS}/lease && "
        f"chown rhea {FIFOS}/*"
    )


def compile_server() -> bytes:
    """The executable of `server.c`; `CalledProcessError` if the compiler does not take it."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "server"
        compiler = ["cc", "-O2", "-Wall", "-Werror", "-static", "-o", program, HERE / "server.c"]
        subprocess.run(compiler, check=True)
        return program.read_bytes()


def list_calls_command(part: str, *, rounds: int = 1, seldom: int = 1, count: int = 1) -> list[str]:
    """The command, for rhea, that carries out one part of `calls.py` with these numbers."""
    plan: dict[str, Any] = {
        "folder": str(FIFOS),
        "sudo": SUDO,
        "limit": [*SUDO, LIMIT],
        "mediators": {
            name: {"path": str(FOLDER / name / "sudospawner"), "waits": mediator["waits"]}
            for name, mediator in MEDIATORS.items()
        },
        "rounds": rounds,
        "seldom": seldom,
        "count": count,
    }
    return ["/usr/bin/python3", "-B", str(FOLDER / "calls.py"), part, json.dumps(plan)]
