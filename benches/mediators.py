"""The rows about calls of the mediator: kill, spawn, many spawns at once, and memory."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

from contenders import FOLDER, USER_MODE, Contest, list_calls_command
from machine.machine import Machine
from progress import report
from table import Reference, Row, compare, judge

LIMIT = Reference("sudo true", "limit")
SERVERS_AT_ONCE = 50
SERVERS_HELD = 20
MEMORY_GOAL = 300
MEMORY_HOPE = 150


def measure(
    machine: Machine,
    part: str,
    contest: Contest = USER_MODE,
    *,
    user: str = "rhea",
    **plan: Any,
) -> dict[str, dict[str, list[float]]]:
    """Run a part of `calls.py` and return the durations of each quantity, by name."""
    command = list_calls_command(part, contest, **plan)
    answer = machine.run(command, user=user, timeout=900)
    times: dict[str, dict[str, list[float]]] = json.loads(answer.stdout)
    return times


def measure_kill(machine: Machine) -> Iterator[Row]:
    """Time signal 0 to a missing process and to a running server."""
    times = measure(machine, "kill", rounds=100, seldom=20)
    yield compare("kill (signal 0), no such process", LIMIT, times["absent"], 1.25)
    yield compare("kill (signal 0), running server", LIMIT, times["alive"], 1.25)


def measure_spawn(machine: Machine) -> Iterator[Row]:
    """Time from the call of sudo to the server's first instruction, and to the reply."""
    times = measure(machine, "spawn", rounds=100, seldom=20)
    yield compare("spawn: server's first instruction", LIMIT, times["first"], 1.5)
    yield compare("spawn: reply (ours: it listens)", LIMIT, times["reply"])


def measure_burst(machine: Machine) -> Iterator[Row]:
    """Time many spawns at once, until the last has its reply."""
    rounds = 7
    # Upstream takes longer than all the rest together, so it is measured once.
    times = measure(machine, "burst", rounds=rounds, seldom=rounds, count=SERVERS_AT_ONCE)
    yield compare(f"{SERVERS_AT_ONCE} spawns at once: all replies", LIMIT, times["burst"])


def measure_memory(machine: Machine) -> Iterator[Row]:
    """Measure the memory held for a running server, beside the server itself."""
    command = list_calls_command("hold", USER_MODE, count=SERVERS_HELD)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    kilobytes: dict[str, float] = {}
    with machine.start(command, user="rhea", **pipes) as calls:
        assert calls.stdin is not None and calls.stdout is not None
        # `hold` prints its own pid before it starts servers, and waits for a line at each step.
        while line := calls.stdout.readline():
            itself = json.loads(line)["self"]
            before = take_census(machine)
            print(file=calls.stdin, flush=True)
            answer = json.loads(calls.stdout.readline())
            beside = {
                pid: process
                for pid, process in take_census(machine).items()
                if pid not in before and pid not in answer["servers"] and pid != itself
            }
            print(file=calls.stdin, flush=True)
            kilobytes[answer["name"]] = report_memory(answer["name"], beside)
    if calls.returncode != 0:
        raise RuntimeError(f"{command} ended with status {calls.returncode}")
    ours, upstream = kilobytes["ours"], kilobytes["upstream"]
    hope = "met" if ours <= MEMORY_HOPE else f"not the {MEMORY_HOPE} kB hoped for"
    yield Row(
        measured=f"private memory beside a server ({SERVERS_HELD} run)",
        ours=f"{ours:.0f} kB",
        upstream=f"{upstream / 1000:.1f} MB ({upstream / ours:.0f} × ours)",
        goal=f"≤ {MEMORY_GOAL} kB, try {MEMORY_HOPE}",
        result="met, both" if hope == "met" else f"{judge(ours, MEMORY_GOAL)}, {hope}",
    )


def take_census(machine: Machine) -> dict[int, dict[str, Any]]:
    """Return the name and private memory of every process in the machine, by pid."""
    census = machine.run(["/usr/bin/python3", "-B", FOLDER / "census.py"])
    return {int(pid): process for pid, process in json.loads(census.stdout).items()}


def report_memory(name: str, beside: dict[int, dict[str, Any]]) -> float:
    """Print which processes stay, and return their private memory per server in kB."""
    if len(beside) < SERVERS_HELD:
        raise RuntimeError(f"{name}: of {SERVERS_HELD} servers only {len(beside)} have company")
    total = sum(process["private"] for process in beside.values())
    names = Counter(process["name"] for process in beside.values())
    counts = ", ".join(f"{count} × {comm}" for comm, count in names.items())
    report(f"{name}: {total} kB in {counts}, beside {SERVERS_HELD} servers")
    return total / SERVERS_HELD
