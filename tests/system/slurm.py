"""`Cluster`: the cluster of `machine.cluster`, with its jobs, and with faults."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from machine.cluster import FOLDER
from machine.cluster import Cluster as PlainCluster
from machine.slurm_files import ADDRESS, NODES, PORT, Node, configure
from system.mediator import wait_until
from system.slurm_job import ALIVE, Job, read_job

PROXY = Path(__file__).with_name("slow_proxy.py")
SLOW = "slow-controller"
# A script that ends at no signal but SIGKILL, and says when SIGTERM comes.
STUBBORN = """\
#!/usr/bin/python3
import signal
def say(number, frame):
    print(signal.Signals(number).name, flush=True)
signal.signal(signal.SIGTERM, say)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Cluster(PlainCluster):
    """The cluster, with what tests do to it and its jobs."""

    # Jobs

    def run(
        self,
        *words: str | Path,
        user: str = "zoe",
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs as an account."""
        return self.machine.run(list(words), user=user, input=input, env=env, check=check)

    def submit(
        self,
        script: str,
        *options: str,
        user: str = "zoe",
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Give sbatch a script on its stdin, by default one of `sh`; the job's id.

        The job has nothing of the environment, and its output is in `slurm-ID.out` in the home.
        """
        text = script if script.startswith("#!") else f"#!/bin/sh\n{script}\n"
        words = ["sbatch", "--parsable", "--export=NIL", *options]
        return int(self.run(*words, user=user, input=text, env=env).stdout)

    def list_jobs(self, user: str = "rhea") -> dict[int, Job]:
        """What squeue says of all jobs, also of those that have ended, by their ids."""
        # Without `--all`, nobody sees the jobs of a partition that he may not use.
        words = ["squeue", "--json", "--all", "--states=all"]
        answer = json.loads(self.run(*words, user=user).stdout)
        # 22.05 succeeds and shows no job where the controller does not answer.
        assert answer["errors"] == []
        return {job.id: job for job in map(read_job, answer["jobs"])}

    def look_up(self, job: int, user: str = "rhea") -> Job:
        """What squeue says of a job."""
        return self.list_jobs(user)[job]

    def show(self, job: int, user: str = "rhea") -> str:
        """What scontrol says of a job, on one line."""
        return self.run("scontrol", "--oneliner", "show", "job", str(job), user=user).stdout

    def wait_for(self, job: int, *states: str) -> Job:
        """Wait until a job is in one of these states, and return what squeue says then."""
        found: list[Job] = []

        def has_come() -> bool:
            found[:] = [self.look_up(job)]
            return found[0].state in states

        wait_until(has_come, f"job {job} as {' or '.join(states)}", 120)
        return found[0]

    def wait_for_end(self, job: int) -> Job:
        """Wait until a job has ended and its node is free again; how it ended."""
        found: list[Job] = []

        def has_ended() -> bool:
            found[:] = [self.look_up(job)]
            return found[0].state not in ALIVE

        wait_until(has_ended, f"the end of job {job}", 180)
        return found[0]

    def read_output(self, job: int, user: str = "zoe") -> str:
        """What a job has written so far."""
        home = self.machine.look_up_account(user).home
        return self.machine.run(["cat", f"{home}/slurm-{job}.out"], check=False).stdout

    def wait_for_output(self, job: int, line: str, user: str = "zoe") -> None:
        """Wait until a job has written a line."""
        wait_until(
            lambda: line in self.read_output(job, user).splitlines(), f"{line!r} of job {job}", 120
        )

    def list_scripts(self, user: str = "zoe") -> list[str]:
        """The command lines of the scripts that an account's jobs run."""
        ps = ["ps", "--user", user, "--format", "stat=,args="]
        lines = self.machine.run(ps, check=False).stdout.splitlines()
        return [line for line in lines if "/slurm_script" in line and not line.startswith("Z")]

    def end_jobs(self) -> list[int]:
        """End every job, remove what they wrote, and wait for idle nodes; return their ids."""
        left = sorted(job.id for job in self.list_jobs().values() if job.state in ALIVE)
        for job in left:
            self.run("scancel", str(job), user="root")
        self.wait_until_idle()
        self.machine.run("rm -f /home/*/slurm-*.out")
        return left

    # Faults

    @contextmanager
    def down(self) -> Iterator[None]:
        """In this context the controller is stopped; jobs go on."""
        self.machine.run(["systemctl", "stop", "slurmctld"])
        try:
            yield
        finally:
            self.machine.run(["systemctl", "start", "slurmctld"])
            wait_until(self.is_answering, "the controller's answer")

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """In this context the controller does not answer, but takes connections; jobs go on."""
        self.machine.run(["systemctl", "kill", "--signal=STOP", "slurmctld"])
        pid = self.machine.run(["systemctl", "show", "--value", "--property=MainPID", "slurmctld"])
        status = f"/proc/{pid.stdout.strip()}/status"
        wait_until(lambda: "State:\tT" in self.machine.read(status), "its stop")
        try:
            yield
        finally:
            self.machine.run(["systemctl", "kill", "--signal=CONT", "slurmctld"])
            wait_until(self.is_answering, "the controller's answer")

    @contextmanager
    def slow(self, seconds: float = 2) -> Iterator[None]:
        """In this context each answer of the controller is so many seconds late."""
        self.machine.write("/run/slow-proxy", PROXY.read_text(), mode=0o755)
        behind = FOLDER / "behind.conf"
        self.machine.write(behind, configure(port=PORT + 10))
        self.machine.write("/etc/default/slurmctld", f"SLURMCTLD_OPTIONS=-f {behind}\n")
        self.machine.run(["systemctl", "restart", "slurmctld"])
        proxy = ["/run/slow-proxy", str(PORT), str(PORT + 10), str(seconds), ADDRESS]
        self.machine.run(["systemd-run", "--quiet", "--collect", f"--unit={SLOW}", *proxy])
        wait_until(self.is_answering, "the slow controller's answer")
        try:
            yield
        finally:
            self.machine.run(["systemctl", "stop", SLOW])
            self.machine.run(["rm", "/etc/default/slurmctld", behind])
            self.machine.run(["systemctl", "restart", "slurmctld"])
            wait_until(self.is_answering, "the controller's answer")

    @contextmanager
    def enforcing_memory(self) -> Iterator[None]:
        """In this context the nodes end what takes more memory than its job has."""
        files = {
            FOLDER / "slurm.conf": ("TaskPlugin=task/none", "TaskPlugin=task/cgroup"),
            FOLDER / "cgroup.conf": ("", "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\n"),
        }
        before = {file: self.machine.read(file) for file in files}
        for file, (usual, wanted) in files.items():
            self.machine.write(file, before[file].replace(usual, wanted) if usual else wanted)
        self._restart()
        try:
            yield
        finally:
            for file, text in before.items():
                self.machine.write(file, text)
            self._restart()

    def _restart(self) -> None:
        units = ["slurmctld", *(f"slurm-node@{node.name}" for node in NODES)]
        self.machine.run(["systemctl", "restart", *units])
        self.wait_until_idle()

    @contextmanager
    def drained(self, *nodes: Node) -> Iterator[None]:
        """In this context no job starts on these nodes, and what runs there goes on."""
        names = ",".join(node.name for node in nodes)
        update = ["scontrol", "update", f"NodeName={names}"]
        self.machine.run([*update, "State=DRAIN", "Reason=repair"])
        try:
            yield
        finally:
            self.machine.run([*update, "State=RESUME"])

    @contextmanager
    def dead(self, node: Node) -> Iterator[None]:
        """In this context a node has lost its power: nothing runs there, and nothing answers.

        Slurm learns it only from `mark_down`, or from its own looks after SlurmdTimeout, which is
        longer than a test, so that no slow computer looks like a dead node.
        """
        unit = f"slurm-node@{node.name}"
        self.machine.run(["ip", "link", "set", node.name, "down"])
        self.machine.run(["systemctl", "kill", "--kill-whom=all", "--signal=KILL", unit])
        self.machine.run(["systemctl", "stop", unit])
        try:
            yield
        finally:
            self.machine.run(["ip", "link", "set", node.name, "up"])
            self.machine.run(["systemctl", "start", unit])
            wait_until(lambda: self.list_states()[node.name] == "idle", f"an idle {node.name}", 120)

    def mark_down(self, node: Node) -> None:
        """Tell the controller, as an operator does, that a node is dead."""
        words = [f"NodeName={node.name}", "State=DOWN", "Reason=power"]
        self.machine.run(["scontrol", "update", *words])
