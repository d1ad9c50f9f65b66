"""The rows about polls of many servers in jobs: Slurm's part, and the Hub's.

The servers are entries in the Hub's database, whose jobs run, but only sleep: a poll is the same.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import TARGET
from hubs import find_on_host
from machine.batchspawner import make_batchspawner_hub
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.machine import Machine
from progress import report
from slurm_hubs import PLACE, make_our_hub
from table import Row, format_duration, format_ratio, judge

SERVERS = 1000
POLL_INTERVAL = 30
ROUNDS_OF_POLLS = 4
CALLS_GOAL = 4
CPU_GOAL = 1 / 20
# Nothing but polls: no look at activities or routes.
POLLS = f"""
c.Spawner.poll_interval = {POLL_INTERVAL}
c.JupyterHub.last_activity_interval = 86400
c.Proxy.check_running_interval = 86400
"""
# What answers for all servers of the database.
ANSWERS = """\
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
Server(("127.0.0.1", 9999), Handler).serve_forever()
"""
JOBS = f"""\
#!/bin/sh
for number in $(seq {SERVERS}); do
    printf '#!/bin/sh\\nexec sleep 100000\\n' |
        sbatch --parsable --mem=1M --time=600 --job-name=sleep --output=/dev/null
done
"""
# Writes running servers, [[name, state], …], into a Hub's database.
FILL = """\
import datetime, json, sys
from jupyterhub import orm
db = orm.new_session_factory("sqlite:///" + sys.argv[1])()
user = orm.User.find(db, sys.argv[2])
now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
for name, state in json.load(sys.stdin):
    base = f"/user/{user.name}/{name}/"
    server = orm.Server(proto="http", ip="127.0.0.1", port=9999, base_url=base, cookie_name="c")
    db.add(server)
    db.add(orm.Spawner(name=name, user=user, server=server, state=state, started=now))
db.commit()
"""
# A Hub that asks about all servers at once, as after its start, needs some for each process.
MANY_FILES = "[Service]\nLimitNOFILE=65536\n"
# What the controller counts of itself: what squeue asks it, of all jobs or of one.
QUESTIONS = re.compile(r"^\s*REQUEST_JOB_INFO(?:_SINGLE)? .*count:(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Polls:
    """What polls took. `per_minute`: questions to Slurm. `own`: seconds of CPU time that the Hub's
    process took in a round. `whole`: the same with the processes that it started for that.
    """

    per_minute: float
    own: float
    whole: float


def measure_polls(machine: Machine) -> Iterator[Row]:
    """Count Slurm's questions and the Hub's CPU time while it polls the servers of many jobs."""
    machine.write("/opt/comparison/answers.py", ANSWERS)
    answers = ["/usr/bin/python3", "-B", "/opt/comparison/answers.py"]
    machine.run(["systemd-run", "--quiet", "--collect", "--unit=answers", *answers])
    jobs = start_jobs(machine)
    report(f"{len(jobs)} jobs run")
    our_hub = make_our_hub(machine, POLLS)
    ours = count_polls(our_hub, describe_jobs(machine, jobs), per_round=1)
    states = [{"job_id": job} for job in jobs]
    their_hub = make_batchspawner_hub(machine, PLACE, configuration=POLLS)
    theirs = count_polls(their_hub, states, per_round=SERVERS)
    yield Row(
        measured=f"Slurm, questions to it per minute, {SERVERS} servers",
        compared=f"batchspawner {theirs.per_minute:.0f}",
        ours=f"{ours.per_minute:.1f}",
        ratio=format_ratio(ours.per_minute / theirs.per_minute),
        goal=f"≤ {CALLS_GOAL}",
        result=judge(ours.per_minute, CALLS_GOAL),
    )
    for what, one, other in (
        ("Hub's CPU time in a round of polls", ours.own, theirs.own),
        ("the same with its sudo and squeue", ours.whole, theirs.whole),
    ):
        yield Row(
            measured=f"Slurm, {what}, {SERVERS} servers",
            compared=f"batchspawner {format_duration(other)}",
            ours=format_duration(one),
            ratio=format_ratio(one / other),
            goal=f"≤ {CPU_GOAL:g} ×",
            result=judge(one / other, CPU_GOAL),
        )


def start_jobs(machine: Machine) -> list[str]:
    """Start as many jobs as there are servers, and return their numbers when all run."""
    machine.write("/opt/comparison/jobs", JOBS, mode=0o755)
    jobs = machine.run(["/opt/comparison/jobs"], user=TARGET, timeout=900).stdout.split()
    count = ["squeue", "--noheader", "--states=RUNNING", "--name=sleep", "--format=%A"]
    deadline = time.monotonic() + 600
    while len(machine.run(count).stdout.split()) < SERVERS:
        if time.monotonic() > deadline:
            raise RuntimeError("the jobs do not start")
        time.sleep(1)
    return jobs


def describe_jobs(machine: Machine, jobs: list[str]) -> list[dict[str, Any]]:
    """Return what our class remembers of servers in these jobs."""
    words = [cache_named("hub6").bin / "sudospawner", "jobs"]
    asked = machine.run(words, user="rhea", input="\n".join(jobs) + "\n").stdout
    told = json.loads(asked)["jobs"]
    return [{"job": job, "started": told[job]["started"], "host": "10.20.0.1"} for job in jobs]


def count_polls(hub: Hub, states: list[dict[str, Any]], per_round: int) -> Polls:
    """Count what a Hub with these servers does.

    `per_round`: how many questions a round has. With one for all servers, an answer counts for less
    than the poll interval, and so rounds are counted by time.
    """
    machine = hub.machine
    machine.write(f"/etc/systemd/system/{hub.unit}.d/files.conf", MANY_FILES)
    with hub:
        hub.request("GET", f"/hub/api/users/{TARGET}")
        hub.machine.run(["systemctl", "stop", hub.unit])
        servers = [[f"s{number}", state] for number, state in enumerate(states)]
        python = hub.environment.bin / "python3"
        fill = [python, "-c", FILL, f"{hub.folder}/jupyterhub.sqlite", TARGET]
        machine.run(fill, user="rhea", input=json.dumps(servers))
        machine.run(["systemctl", "start", hub.unit])
        hub.wait_until_it_answers(900)
        alive = hub.request("GET", f"/hub/api/users/{TARGET}")["servers"]
        if len(alive) != len(states):
            raise RuntimeError(f"of {len(states)} servers the Hub has {len(alive)}")
        # The first polls are over then.
        time.sleep(POLL_INTERVAL)
        process = find_on_host(machine, hub.pid)
        machine.run(["sdiag", "--reset"])
        began, own, whole = time.monotonic(), *read_cpu(process)
        time.sleep(POLL_INTERVAL * ROUNDS_OF_POLLS)
        own, whole = (now - then for now, then in zip(read_cpu(process), (own, whole), strict=True))
        passed = time.monotonic() - began
        questions = sum(map(int, QUESTIONS.findall(machine.run(["sdiag"]).stdout)))
        if len(hub.request("GET", f"/hub/api/users/{TARGET}")["servers"]) != len(states):
            raise RuntimeError("the Hub has lost servers")
    report(f"{questions} questions, {own:.2f} s, {whole:.2f} s of CPU time in {passed:.0f} s")
    if not questions:
        raise RuntimeError("the Hub has asked nothing")
    rounds = passed / POLL_INTERVAL if per_round == 1 else questions / per_round
    return Polls(questions * 60 / passed, own / rounds, whole / rounds)


def read_cpu(process: int) -> tuple[float, float]:
    """Return the CPU time of a process of the host's in seconds, and with its ended children's."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    times = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15]]
    return sum(times[:2]), sum(times)
