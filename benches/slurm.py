"""The rows about servers in jobs of Slurm's: `launcher = "slurm"` against sbatch and batchspawner.

They have a machine of their own, with a controller and two nodes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from contenders import FIFOS, FOLDER, HERE, TARGET, USER_MODE, install_contenders, path_of
from machine.batchspawner import permit_slurm
from machine.catalogue import cache_named
from machine.cluster import Cluster
from machine.machine import Machine
from machine.slurm_files import NODES, configure
from progress import report
from slurm_hubs import measure_listening
from slurm_polls import measure_polls
from table import Reference, Row, compare

LOGS = "/run/slurm-logs"
SERVER = str(FOLDER / "ours/sudospawner-singleuser")
# More than there are jobs, so that none waits for another.
SIZE = {"cpus": 4000, "memory": 4_000_000}
PROFILE = {"cpus-per-task": "1", "mem": "64M", "time": "60"}
POLICY = """
hub_users = ["rhea"]
[targets]
groups = ["jupyterhub"]
[server]
launcher = "slurm"
[slurm.profiles.small]
cpus = 1
memory = "64M"
time = "60"
[slurm.profiles.held]
cpus = 1
memory = "64M"
time = "60"
options = ["--hold"]
"""
SPAWNS, SECONDS = 500, 60
# The kernel limits how many calls one user has at a time: each has a keyring of its own.
USERS = [f"user{number}" for number in range(SPAWNS)]


def measure_slurm(_: Machine) -> Iterator[Row]:
    """Time submission, start and news of servers, many spawns at once, and polls of many."""
    with Machine() as machine:
        install_cluster(machine)
        yield from measure_calls(machine)
        yield from measure_listening(machine)
        yield from measure_polls(machine)


def install_cluster(machine: Machine) -> None:
    """Install contenders, Slurm, the policy, and the rules of sudo of both."""
    install_contenders(machine)
    # Before Slurm, which remembers for ten minutes who is in a group.
    add_users(machine)
    helper = "sudospawner-slurm"
    machine.run(
        ["install", "-m", "711", cache_named("hub6").bin / helper, FOLDER / "ours" / helper]
    )
    machine.write("/etc/sudospawner/policy.toml", POLICY)
    permit_slurm(machine)
    names = ["slurmctld", *(node.name for node in NODES)]
    # The controller, which is not root, may write there, and the calls, which are rhea's, read.
    machine.run(["mkdir", LOGS])
    for name in names:
        machine.write(f"{LOGS}/{name}.log", "", mode=0o666)
    logs = f"SlurmctldLogFile={LOGS}/slurmctld.log\nSlurmdLogFile={LOGS}/%n.log\n"
    Cluster(machine, configure(**SIZE) + logs).install()
    machine.write(FOLDER / "slurm_calls.py", (HERE / "slurm_calls.py").read_bytes())


def measure_calls(machine: Machine) -> Iterator[Row]:
    """Time calls of the mediator against sbatch."""
    write_scripts(machine)
    times = measure(machine, "submit", rounds=40)
    sbatch = Reference("sudo sbatch", "sbatch")
    yield compare("Slurm, spawn: job is in the queue", sbatch, times["queued"], 1.6)
    yield compare("Slurm, spawn: caller knows the job", sbatch, times["told"])
    times = measure(machine, "first", rounds=30)
    script = Reference("script", "script")
    measured = "Slurm, job's start: server's first instruction"
    yield compare(measured, script, times["first"], 1.3)
    yield describe_storm(measure(machine, "storm", rounds=0, users=USERS, seconds=SECONDS))


def add_users(machine: Machine) -> None:
    """Add the users of the many spawns, with homes and in the group that may have servers."""
    lines = "".join(f"{name}:x::::/home/{name}:/bin/sh\n" for name in USERS)
    machine.run(["newusers"], input=lines)
    machine.run(["gpasswd", "--members", f"{TARGET},{','.join(USERS)}", "jupyterhub"])
    make = "while read name; do install -d -o $name -g $name -m 700 /home/$name; done"
    machine.run(make, input="".join(f"{name}\n" for name in USERS))


def write_scripts(machine: Machine) -> None:
    """Write the scripts: the one that we submit, and a plain one that execs the server."""
    machine.write(FOLDER / "first", f'#!/bin/sh\nexec {SERVER} "$@"\n')
    request = {"action": "spawn", "args": ["{port}"], "env": {}, "profile": "held"}
    request |= {"events": True, "wait": {"seconds": 600}}
    words = [*USER_MODE.sudo, path_of("ours")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    call = machine.start(words, user="rhea", text=True, **pipes)
    assert call.stdin is not None and call.stdout is not None
    call.stdin.write(json.dumps(request))
    call.stdin.close()
    job = json.loads(call.stdout.readline())["job"]
    show = ["scontrol", "write", "batch_script", job, "-"]
    script = machine.run(show, user="zoe").stdout
    # The mediator is alone again, and cancels the job.
    call.stdout.close()
    call.wait()
    machine.write(FOLDER / "submit", script[script.index("#!") :])


def measure(machine: Machine, part: str, **plan: Any) -> Any:
    """Run a part of `slurm_calls.py`."""
    options = [f"--{name}={value}" for name, value in PROFILE.items()]
    output = "--output=/home/zoe/plain-%j.log"
    plan |= {
        "folder": str(FIFOS),
        "user": TARGET,
        "mediator": path_of("ours"),
        "logs": LOGS,
        "scripts": {part: str(FOLDER / part)},
        "options": {part: [*options, output, *(["--hold"] if part == "submit" else [])]},
    }
    command = ["/usr/bin/python3", "-B", FOLDER / "slurm_calls.py", part, json.dumps(plan)]
    return json.loads(machine.run(command, user="rhea", timeout=1800).stdout)


def describe_storm(told: dict[str, Any]) -> Row:
    """Return the row about many spawns within a minute."""
    for sentence, count in told["sentences"].items():
        report(f"{count} × {sentence}")
    for what in ("unknown", "lost"):
        if told[what]:
            report(f"{what} jobs: {told[what]}")
    refused = sum(told["sentences"].values())
    is_met = told["served"] + refused == SPAWNS and not told["unknown"] and not told["lost"]
    return Row(
        measured=f"Slurm, {SPAWNS} spawns, asked for within {told['asked']:.0f} s",
        ours=f"{told['served']} listen, {refused} sentences, after {told['told']:.0f} s",
        goal="a server or a sentence each, no job lost",
        result="met" if is_met else f"**missed: {len(told['unknown'] + told['lost'])} jobs**",
    )
