"""The rows about servers in units: `launcher = "systemd"` against systemd's own programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contenders import FIFOS, FOLDER, HERE, TARGET, path_of
from machine.catalogue import cache_named
from machine.machine import Machine
from mediators import SERVERS_HELD
from table import Reference, Row, compare

POLICY = """
hub_users = ["rhea"]
[targets]
groups = ["jupyterhub"]
[server]
launcher = "systemd"
"""
# A real JupyterLab, without a Hub: only its own shutdown takes time.
LAB = """#!/bin/sh
exec {python} -m jupyterlab --no-browser --port=$1 --ServerApp.port_retries=0
"""


def measure_units(machine: Machine) -> Iterator[Row]:
    """Time spawn and the stop of a JupyterLab, and measure memory beside servers.

    Removes the policy at the end.
    """
    machine.write("/etc/sudospawner/policy.toml", POLICY)
    machine.write(FOLDER / "unit_calls.py", (HERE / "unit_calls.py").read_bytes())
    lab = FOLDER / "lab"
    machine.run(["install", "-D", path_of("ours"), lab / "sudospawner"])
    program = LAB.format(python=cache_named("hub6").bin / "python")
    machine.write(lab / "sudospawner-singleuser", program, mode=0o755)
    try:
        times = measure(machine, "spawn", FOLDER / "ours", rounds=300)
        systemd_run = Reference("systemd-run", "systemd-run")
        yield compare("unit, spawn: server's first instruction", systemd_run, times["first"], 1.5)
        times = measure(machine, "stop", lab, rounds=8)
        systemctl = Reference("systemctl stop", "systemctl")
        yield compare("unit, stop of a JupyterLab", systemctl, times["stop"], 1.3)
        beside = measure(machine, "hold", FOLDER / "ours", rounds=SERVERS_HELD)["beside"]
        kilobytes = sum(process["private"] for process in beside.values()) / SERVERS_HELD
        yield Row(
            measured=f"unit, private memory beside a server ({SERVERS_HELD} run)",
            ours=f"{kilobytes:.0f} kB",
            goal="0 kB",
            result="met" if not beside else f"**missed: {beside}**",
        )
    finally:
        machine.run(["rm", "-r", "/etc/sudospawner"])


def measure(machine: Machine, part: str, folder: Path, **plan: Any) -> Any:
    """Run a part of `unit_calls.py` with the mediator and the server in a folder."""
    words = ["/usr/bin/sudo", "-n", str(folder / "sudospawner"), f"--user={TARGET}"]
    server = str(folder / "sudospawner-singleuser")
    plan |= {"folder": str(FIFOS), "ours": words, "server": server, "user": TARGET}
    command = ["/usr/bin/python3", "-B", FOLDER / "unit_calls.py", part, json.dumps(plan)]
    return json.loads(machine.run(command, timeout=900).stdout)
