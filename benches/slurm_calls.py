"""Times servers in jobs against Slurm's own sbatch. Runs in the test machine, as the Hub's account.

    python3 slurm_calls.py submit|first|storm PLAN

PLAN is JSON: `folder`, with the FIFOs `stamps` and `lease`; `mediator`; `user`, the target; `logs`,
a folder with Slurm's logs; `options`, those of sbatch which the profiles have; `scripts`, with what
sbatch is given in each part; `rounds`; `users`, each of whom has a spawn within `seconds`. Prints
one JSON object with durations in seconds.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from calls import Call, Lease

SUDO = ["/usr/bin/sudo", "-nH", "-u"]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "JUPYTERHUB_API_TOKEN": "0" * 32}
# What the controller logs when a job is in its queue, and a node when it starts a job.
QUEUED = re.compile(r"^\[(\S+)\] _slurm_rpc_submit_batch_job: JobId=(\d+) ", re.MULTILINE)
LAUNCHED = re.compile(r"^\[(\S+)\] Launching batch job (\d+) for ", re.MULTILINE)
# How long to wait for a line of a log, and for the end of what nobody has.
PATIENCE = 120


class Logs:
    """Finds out when Slurm did something with a job."""

    def __init__(self, paths: list[Path], pattern: re.Pattern[str]) -> None:
        self._files = [path.open() for path in paths]
        for file in self._files:
            file.seek(0, os.SEEK_END)
        self._texts = ["" for _ in paths]
        self._pattern = pattern

    def find(self, job: int) -> float:
        """Wait for the line about a job, and return its time, as CLOCK_MONOTONIC seconds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for place, file in enumerate(self._files):
                self._texts[place] += file.read()
                for when, number in self._pattern.findall(self._texts[place]):
                    if int(number) == job:
                        passed = time.time() - datetime.fromisoformat(when).timestamp()
                        return time.monotonic() - passed
            time.sleep(0.02)
        raise RuntimeError(f"no log mentions job {job}")


class Plan:
    """The plan, and the two ways to a job."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.folder = Path(plan["folder"])
        self.rounds: int = plan["rounds"]
        logs = Path(plan["logs"])
        self.controller = Logs([logs / "slurmctld.log"], QUEUED)
        self.nodes = Logs(sorted(logs.glob("node*.log")), LAUNCHED)

    def spawn(self, args: list[str], seconds: int, **fields: Any) -> Call:
        """Have the mediator start the server in a job."""
        request = {"action": "spawn", "args": args, "env": ENVIRONMENT, "events": True}
        user = fields.pop("user", self.plan["user"])
        request |= {"wait": {"seconds": seconds}, **fields}
        return Call([*SUDO, user, self.plan["mediator"], "--logging=INFO"], request)

    def submit(self, part: str, *more: str) -> Call:
        """Give sbatch the script of a part; `more` are the script's own words."""
        options = ["--parsable", "--job-name=plain", *self.plan["options"][part]]
        script = self.plan["scripts"][part]
        return Call([*SUDO, self.plan["user"], "/usr/bin/sbatch", *options, script, *more], {})

    def cancel(self, job: int) -> None:
        """Cancel a job."""
        subprocess.run([*SUDO, self.plan["user"], "/usr/bin/scancel", str(job)], check=True)


def take_job(call: Call) -> int:
    """Wait for the end of a call, and return its job."""
    text = call.finish()
    call.read_log()
    if text.strip().isdigit():
        return int(text)
    replies = [json.loads(line) for line in text.splitlines()]
    jobs = [int(reply["job"]) for reply in replies if reply.get("event") == "job"]
    if not jobs:
        raise RuntimeError(f"no job: {text}")
    return jobs[0]


def order(names: list[str], number: int) -> list[str]:
    """Return who goes first in a round: they alternate."""
    return names if number % 2 else names[::-1]


def submit(plan: Plan) -> dict[str, Any]:
    """Time from the call until the job is in the queue (`queued`), and until the caller is told."""
    names = ["ours", "sbatch"]
    times: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in names} for what in ("queued", "told")
    }
    # The first round is to warm up.
    for number in range(plan.rounds + 1):
        for name in order(names, number):
            # The job is held, so that nothing else happens; the mediator gives it up at once.
            is_ours = name == "ours"
            args = [str(number), str(plan.folder / "stamps")]
            call = plan.spawn(args, 0, profile="held") if is_ours else plan.submit("submit")
            job = take_job(call)
            queued = plan.controller.find(job)
            if not is_ours:
                plan.cancel(job)
            if number:
                times["queued"][name].append(queued - call.began)
                times["told"][name].append(call.told - call.began)
    return times


def first(plan: Plan) -> dict[str, Any]:
    """Time from the start of a job on its node until the server's first instruction."""
    names = ["ours", "script"]
    times: dict[str, list[float]] = {name: [] for name in names}
    stamps = str(plan.folder / "stamps")
    for number in range(plan.rounds + 1):
        for name in order(names, number):
            with Lease(plan.folder) as lease:
                # Without a port the server ends after its stamp.
                is_ours = name == "ours"
                args = [str(number), stamps]
                call = plan.spawn(args, 300) if is_ours else plan.submit("first", *args)
                stamp = lease.read_stamp()
                launched = plan.nodes.find(take_job(call))
            if number:
                times[name].append(stamp - launched)
    return {"first": times}


def list_jobs() -> set[int]:
    """Return the jobs that run or are to run."""
    squeue = ["/usr/bin/squeue", "--all", "--noheader", "--format=%A"]
    output = subprocess.run(squeue, check=True, capture_output=True, text=True).stdout
    return {int(line) for line in output.split()}


def storm(plan: Plan) -> dict[str, Any]:
    """Count what becomes of the spawns of many users within some seconds."""
    # Each call has two descriptors here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    users, seconds = plan.plan["users"], plan.plan["seconds"]
    stamps, lease = str(plan.folder / "stamps"), str(plan.folder / "lease")
    sentences: dict[str, int] = {}
    with Lease(plan.folder):
        calls = []
        began = time.monotonic()
        for number, user in enumerate(users):
            due = began + number * seconds / len(users)
            time.sleep(max(0.0, due - time.monotonic()))
            args = [str(number), stamps, "{port}", lease]
            calls.append(plan.spawn(args, 900, user=user))
        asked = time.monotonic() - began
        replies = [json.loads(call.wait()[0].splitlines()[-1]) for call in calls]
        told = time.monotonic() - began
        for call in calls:
            call.read_log()
        served = {int(reply["job"]) for reply in replies if reply["ok"]}
        for reply in replies:
            if not reply["ok"]:
                sentences[reply["error"]] = sentences.get(reply["error"], 0) + 1
        # What nobody has is cancelled, and ends.
        deadline = time.monotonic() + PATIENCE
        while (alive := list_jobs()) != served and time.monotonic() < deadline:
            time.sleep(0.5)
    # The lease is over, and so the servers end.
    while list_jobs() and time.monotonic() < deadline + PATIENCE:
        time.sleep(0.5)
    return {
        **{"asked": asked, "told": told, "served": len(served), "sentences": sentences},
        **{"unknown": sorted(alive - served), "lost": sorted(served - alive)},
    }


if __name__ == "__main__":
    os.chdir("/")
    part, text = sys.argv[1:]
    print(
        json.dumps({"submit": submit, "first": first, "storm": storm}[part](Plan(json.loads(text))))
    )
