"""The rows about socket mode: calls through the door, without sudo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from contenders import FIFOS, FOLDER, HERE, TARGET, TRUE, path_of
from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine
from root import LIMIT, POLICY
from table import Reference, Row, compare
from units import POLICY as UNITS

CALLS_AT_ONCE = 50
PLACE = "/etc/systemd/system"
NAMES = ("sudospawner.socket", "sudospawner.service")
RULE = "/etc/sudoers.d/comparison-socket"


def measure_socket(machine: Machine) -> Iterator[Row]:
    """Time kill, many calls at once and spawn through the socket; remove everything at the end."""
    bin = cache_named("hub6").bin
    for name in ("sudospawner-door", "sudospawner-slurm"):
        machine.run(["install", bin / name, FOLDER / "ours"])
    machine.write(POLICY, UNITS)
    machine.write(RULE, f"rhea ALL=(root) NOPASSWD: {TRUE}\n", mode=0o440)
    for name in NAMES:
        text = (REPOSITORY / "systemd" / name).read_text()
        text = text.replace("SocketGroup=root", "SocketGroup=rhea")
        place = path_of("ours").removesuffix("sudospawner")
        machine.write(f"{PLACE}/{name}", text.replace("/usr/bin/", place))
    for program in ("unit_calls.py", "socket_calls.py"):
        machine.write(FOLDER / program, (HERE / program).read_bytes())
    machine.run("systemctl daemon-reload && systemctl start sudospawner.socket")
    try:
        yield from measure_calls(machine)
    finally:
        machine.run(["systemctl", "stop", *NAMES])
        machine.run(["rm", "-r", "/etc/sudospawner", RULE, *(f"{PLACE}/{one}" for one in NAMES)])
        machine.run(["systemctl", "daemon-reload"])


def measure_calls(machine: Machine) -> Iterator[Row]:
    """Time the calls themselves."""
    times = measure(machine, "kill", "rhea", rounds=200)
    yield compare("socket, kill (signal 0), running server", LIMIT, times["alive"], 0.4)
    times = measure(machine, "burst", "rhea", rounds=9, count=CALLS_AT_ONCE)
    yield compare(f"socket, {CALLS_AT_ONCE} kills at once: all", LIMIT, times["burst"], 0.5)
    times = measure(machine, "spawn", "root", rounds=150)
    systemd_run = Reference("systemd-run", "systemd-run")
    yield compare("socket, spawn: server's first instruction", systemd_run, times["first"], 1.1)


def measure(machine: Machine, part: str, caller: str, **plan: Any) -> Any:
    """Run a part of `socket_calls.py` as an account."""
    hub = machine.look_up_account("rhea")
    plan |= {
        "folder": str(FIFOS),
        "user": TARGET,
        "hub": [hub.uid, hub.gid],
        "limit": ["/usr/bin/sudo", "-n", TRUE],
        "server": str(FOLDER / "ours/sudospawner-singleuser"),
    }
    command = ["/usr/bin/python3", "-B", FOLDER / "socket_calls.py", part, json.dumps(plan)]
    return json.loads(machine.run(command, user=caller, timeout=900).stdout)
