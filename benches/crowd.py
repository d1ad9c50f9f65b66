"""Many servers in the machine: their accounts, and one process that is their Hub."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

from contenders import FOLDER, HERE, compile_server
from machine.catalogue import cache_named
from machine.installation import install_sudoers, install_wheel
from machine.machine import Machine
from mediators import take_census
from progress import report

STATE = Path("/var/lib/rhea/scale")
# What a Hub's unit needs for so many servers beside it.
UNIT = ["--property=LimitNOFILE=65536", "--property=TasksMax=infinity"]
# Else the journal has 8 MB for each account that sudo logs, in a machine whose files are in memory.
JOURNAL = "[Journal]\nSplitMode=none\n"
ACCOUNTS = """\
for name; do
    useradd --no-user-group --gid=jupyterhub --create-home --shell=/bin/bash "$name"
done
"""


@dataclass(frozen=True)
class Measured:
    """What was measured of so many servers; times in seconds, memory in kB.

    `start` and `stop` are of one more server while all others run. `memory` and `descriptors` are
    what the Hub's process has more than before, `machine` and `beside` what each server takes of
    the machine, and beside itself.
    """

    servers: int
    failures: int
    start_all: float
    start: float
    memory: float
    descriptors: int
    beside: float
    machine: float
    poll_all: float
    find_all: float
    stop: float
    stop_all: float


def make_accounts(machine: Machine, count: int) -> list[str]:
    """Make accounts that may have servers, and return their names."""
    names = [f"user{number:03}" for number in range(count)]
    machine.run(["sh", "-ec", ACCOUNTS, "sh", *names], timeout=600)
    return names


def install_hub(machine: Machine) -> None:
    """Install the wheel, the sudoers rules, and the smallest server in place of the notebook's."""
    machine.write("/etc/systemd/journald.conf.d/one.conf", JOURNAL)
    machine.run(["systemctl", "restart", "systemd-journald.service"])
    hub6 = cache_named("hub6")
    install_wheel(machine, hub6)
    install_sudoers(machine, hub6)
    machine.write(hub6.bin / "sudospawner-singleuser", compile_server(), mode=0o755)
    for program in ("hub_process.py", "census.py"):
        machine.write(FOLDER / program, (HERE / program).read_bytes())
    machine.run(["install", "-d", "--owner=rhea", STATE])


class Process:
    """The process of `hub_process.py`: each step is asked for, and answered in one line."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests = requests
        self._answers = answers

    def read(self) -> dict[str, Any]:
        """Return what the current step has measured."""
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the Hub's process has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def go_on(self) -> None:
        """Have it do the next step."""
        print(file=self._requests, flush=True)


@contextmanager
def running(machine: Machine, part: str, plan: dict[str, Any]) -> Iterator[Process]:
    """Run a part of `hub_process.py` as rhea in a unit, as a Hub runs; its servers stay."""
    python = cache_named("hub6").bin / "python3"
    command = [python, "-B", FOLDER / "hub_process.py", part, json.dumps(plan)]
    unit = [
        *("systemd-run", "--quiet", "--collect", "--pipe", "--wait", "--uid=rhea"),
        *("--property=KillMode=process", "--working-directory=/var/lib/rhea", *UNIT),
    ]
    with machine.start([*unit, *command], stdin=PIPE, stdout=PIPE, text=True) as hub:
        assert hub.stdin is not None and hub.stdout is not None
        yield Process(hub.stdin, hub.stdout)
    if hub.returncode != 0:
        log = machine.run(["tail", "-n", "30", STATE / "log"], check=False).stdout
        raise RuntimeError(f"the Hub's process ended with status {hub.returncode}:\n{log}")


def measure_size(machine: Machine, accounts: list[str], servers: int, at_once: int) -> Measured:
    """Start so many servers in one process, find them in another one, and stop them."""
    plan = {
        "program": str(cache_named("hub6").bin / "sudospawner"),
        "mode": "user",
        "accounts": accounts,
        "servers": servers,
        "at_once": at_once,
        "folder": str(STATE),
    }
    with running(machine, "start", plan) as process:
        empty = process.read()
        before, available = take_census(machine), read_available_memory()
        process.go_on()
        full = process.read()
        started = full["started"]
        report(f"{servers} servers started in {started['seconds']:.1f} s")
        failures = list_failures(started)
        left = read_available_memory()
        beside = sum_beside(before, take_census(machine), full["servers"])
        process.go_on()
        then = process.read()
        alone = {what: statistics.median(times) for what, times in then["alone"].items()}
        report(f"one more started in {alone['start']:.3f} s, stopped in {alone['stop']:.3f} s")
        process.go_on()
    with running(machine, "restart", plan) as process:
        again = process.read()
        for asked in (then["polled"], again["found"]):
            if asked["alive"] != len(full["servers"]):
                raise RuntimeError(f"of {len(full['servers'])} servers {asked['alive']} are alive")
        find_all = again["loaded"] + again["found"]["seconds"]
        report(f"polled in {then['polled']['seconds']:.3f} s, found again in {find_all:.3f} s")
        report(f"the Hub's processes have {full['memory']} kB, and now {again['memory']} kB")
        process.go_on()
        stopped = process.read()["stopped"]
        report(f"stopped in {stopped['seconds']:.1f} s")
        failures += list_failures(stopped)
        process.go_on()
    return Measured(
        servers=servers,
        failures=len(failures),
        start_all=started["seconds"],
        start=alone["start"],
        memory=full["memory"] - empty["memory"],
        descriptors=full["descriptors"] - empty["descriptors"],
        beside=beside / servers,
        machine=(available - left) / servers,
        poll_all=then["polled"]["seconds"],
        find_all=find_all,
        stop=alone["stop"],
        stop_all=stopped["seconds"],
    )


def read_available_memory() -> int:
    """Return what the computer has left in kB: the kernel's part of a server counts, too."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def sum_beside(before: dict[int, Any], after: dict[int, Any], servers: list[int]) -> int:
    """Return the private memory in kB of what has come with the servers and is none."""
    beside = [pid for pid in after if pid not in before and pid not in set(servers)]
    if len(beside) < len(servers):
        raise RuntimeError(f"of {len(servers)} servers only {len(beside)} have company")
    return sum(after[pid]["private"] for pid in beside)


def list_failures(step: dict[str, Any]) -> list[str]:
    """Return the failures of a step, and report the first of them."""
    failures: list[str] = step["failures"]
    if failures:
        report(f"{len(failures)} have failed, the first of them: {failures[0]}")
    return failures
