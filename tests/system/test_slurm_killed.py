"""A spawn that is killed at any moment leaves a job that its caller knows, or none."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from system.mediator import read_what_is_there, wait_until
from system.slurm_calls import start
from system.slurm_servers import JobMediator

ROUNDS = 200
AT_ONCE = 6
VICTIMS = ("sudo", "mediator", "monitor", "caller")


def list_descendants(pid: int) -> list[int]:
    """The pids of all that a process has started and that is still below it, nearest first."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            text = Path(f"/proc/{one}/task/{one}/children").read_text()
            found += [int(child) for child in text.split()]
    return found[1:]


def find(jobs: JobMediator, pid: int, victim: str) -> int | None:
    """The pid of the victim among the processes of a call, or nothing if there is none (yet)."""
    ours = []
    for one in list_descendants(pid):
        with suppress(OSError):
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
            if words[0] == b"sudo" and victim == "sudo":
                return one
            if words[0] == str(jobs.path).encode():
                ours.append(one)
    place = 1 if victim == "monitor" else 0
    return ours[place] if len(ours) > place else None


def choose(number: int) -> tuple[str, float]:
    """Whom a round is about, and how many seconds after its begin."""
    moments = random.Random(number)
    return moments.choice(VICTIMS), moments.uniform(0, 1.2)


def play(jobs: JobMediator, number: int) -> dict[str, str] | None:
    """One round; what the caller knows of a job, if it knows of one that has to be there."""
    victim, moment = choose(number)
    name = f"round-{number}"
    call = start(jobs, "serve", "{port}", server_name=name, events=False)
    assert call.stdout is not None and call.stderr is not None
    time.sleep(moment)
    pid = find(jobs, call.pid, victim)
    if victim == "caller":
        written = read_what_is_there(call.stdout.fileno())
    else:
        with suppress(ProcessLookupError):
            os.kill(pid or call.pid, signal.SIGKILL if pid else 0)
        written = call.stdout.read()
    call.stdout.close()
    call.wait()
    call.stderr.close()
    reply = json.loads(written) if written.endswith("\n") else {"ok": False}
    if not reply["ok"]:
        return None
    about = {"job": reply["job"], "started": reply["started"], "server_name": name}
    # A reply that nobody has confirmed is undone.
    is_certain = victim in ("sudo", "caller") or pid is None
    status = jobs.call({"action": "status", **about}).reply
    assert status["alive"] is True or not is_certain, (number, victim, moment, reply, status)
    stopped = jobs.call({"action": "stop", "interrupt_seconds": 0, **about}).reply
    assert stopped["alive"] is False
    return about


def test_a_spawn_killed_at_any_moment_leaves_a_job_that_its_caller_knows_or_none(
    both: list[JobMediator],
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        rounds = [threads.submit(play, both[n % 2], n) for n in range(ROUNDS)]
        known = [one.result() for one in rounds]
    # Some had the time.
    assert any(known)
    assert not all(known)
    machine, cluster = both[0].machine, both[0].cluster
    ours = ["pgrep", "-f", "sudospawner-slurm submit"]
    wait_until(lambda: machine.run(ours, check=False).stdout == "", "the end of all calls", 120)
    # Each that its caller knew was stopped.
    left = [job for job in cluster.list_jobs().values() if job.state in ("PENDING", "RUNNING")]
    # Between a caller's last look and its end, a reply can come.
    assert len(left) <= 1, left
    for job in left:
        assert choose(int(job.name.rpartition("2d")[2]))[0] == "caller", job
        assert "listening" in job.comment, job
        cluster.run("scancel", str(job.id))
    wait_until(lambda: both[0].list_processes() == [], "the end of all servers", 120)
