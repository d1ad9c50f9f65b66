"""A program in place of a mediator with the launcher slurm: it says what a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from programs import RECORD, Programs, UnderTest
from tornado.web import HTTPError

JOB = "1234"
STARTED = "test:1234:2026-11-29T13:00:05"
ADDRESS = "10.20.0.1"
STATE = {"job": JOB, "started": STARTED, "host": ADDRESS}
DOWN = {"ok": False, "code": "slurm_unavailable", "error": "The controller does not answer."}
SMALL = {
    "name": "small",
    "title": "2 cores, 4 GB, 8 hours",
    "cpus": 2,
    "memory": 4 << 30,
    "time": "8:00:00",
    "partition": "jupyter",
    "gres": None,
}
GPU = {
    "name": "gpu",
    "title": "One <GPU> & more",
    "cpus": 8,
    "memory": 32 << 30,
    "time": "1-12",
    "partition": "gpu",
    "gres": "gpu:1",
}
REPLY = {
    "ok": True,
    "job": JOB,
    "started": STARTED,
    "host": ADDRESS,
    "port": 40123,
    "listening": True,
    "profile": "small",
    "hooks": [],
    "dropped_env": [],
}

PROGRAM = (
    """
with open(folder / "calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
said = json.loads((folder / "says").read_text())
if sys.argv[1] in ("profiles", "jobs"):
    answer = said["nodes" if "--nodes" in sys.argv else sys.argv[1]]
    if isinstance(answer, str):
        sys.exit(answer)
    if "jobs" in answer:
        ids = sys.stdin.read().split()
        answer["jobs"] = {job: answer["jobs"][job] for job in ids if job in answer["jobs"]}
    print(json.dumps(answer))
    sys.exit()
"""
    + RECORD
    + """
for line in said[request["action"]]:
    print(json.dumps(line), flush=True)
while "hold" in said and request["action"] == "spawn":
    time.sleep(0.01)
    said = json.loads((folder / "says").read_text())
"""
)


def report(**changes: Any) -> dict[str, Any]:
    """What Slurm says of the job that runs; an account's uid has to be among the changes."""
    job = {"state": "RUNNING", "host": "node1", "started": STARTED, "address": ADDRESS}
    return {**job, **changes}


def event(state: str, **changes: Any) -> dict[str, Any]:
    """An event about the job."""
    told = {"event": "job", "job": JOB, "started": STARTED, "state": state}
    return {**told, "reason": None, "estimated_start": None, "host": None, **changes}


class Cluster:
    """What the program says, and what it has been asked."""

    def __init__(self, programs: Programs, uid: int) -> None:
        self.programs = programs
        self.program = programs.write(PROGRAM)
        self.says: dict[str, Any] = {
            "profiles": {"launcher": "slurm", "profiles": [SMALL, GPU]},
            "jobs": {"ok": True, "jobs": {JOB: report(uid=uid)}},
            "nodes": {"ok": True, "nodes": [ADDRESS, "node2", "fd00::3"]},
            "spawn": [event("PENDING"), event("RUNNING", host="node1"), REPLY],
            "stop": [{"ok": True, "alive": False, "leftovers_killed": 0, "seconds": 0.1}],
            "status": [{"ok": True, "alive": False}],
            "kill": [{"ok": True, "alive": True}],
        }
        self.uid = uid
        self.say()

    def say(self, **changes: Any) -> None:
        """Have the program say other things from now on."""
        self.says.update(changes)
        new = self.programs.folder / "says.new"
        new.write_text(json.dumps(self.says))
        new.replace(self.programs.folder / "says")

    def show(self, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """Have Slurm show these jobs, and no other."""
        self.say(jobs={"ok": True, "jobs": jobs})

    def calls(self, subcommand: str) -> list[list[str]]:
        """The options of each call of a subcommand."""
        path = self.programs.folder / "calls"
        calls = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        return [words[1:] for words in calls if words[:1] == [subcommand]]

    def requests(self, action: str) -> list[dict[str, Any]]:
        """The requests with an action."""
        path = self.programs.folder / "requests"
        requests = self.programs.requests() if path.exists() else []
        return [request for request in requests if request["action"] == action]


class InJob(UnderTest):
    """A spawner with the variables that a Hub gives a server."""

    api_url = "http://10.20.0.254:8081/hub/api"

    def get_env(self):
        url = f"http://{self.ip}:{self.port}/user/zoe/"
        return {"JUPYTERHUB_SERVICE_URL": url, "JUPYTERHUB_API_URL": self.api_url}


class Clock:
    """Stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def fail_to_start(spawner) -> str:
    """Start a server that does not start; return the message for its user."""
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    return raised.value.jupyterhub_message
