"""`JobMediator`: a mediator on the submit host of a cluster, whose servers are jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from machine.slurm_files import NODES
from system.door import BehindSocket
from system.mediator import Answer, Mediator, RootMediator
from system.slurm import Cluster

POLICY = '[server]\nlauncher = "slurm"\n'
# A job that starts in a moment, and leaves room for others.
PROFILE = "[slurm.profiles.small]\ncpus = 1\nmemory = '64M'\ntime = '20'\n"
ADDRESSES = {node.name: node.address for node in NODES}
LONG = {"seconds": 240}


class JobMediator(RootMediator):
    """A mediator in root mode whose servers are jobs."""

    runas = "root"
    """As whom rhea may call it."""

    def use(self, cluster: Cluster) -> None:
        """Use this cluster's machine as the submit host."""
        self.cluster = cluster

    def set_policy(self, more: str = PROFILE) -> None:
        """Install a policy with the slurm launcher; `more` are further lines of it."""
        super().set_policy((POLICY if "[server]" not in more else "") + more)

    def spawn(self, *args: str, env: dict[str, str] | None = None, **fields: Any) -> Answer:
        """Spawn the server with these arguments as a job, and wait until it listens."""
        return super().spawn(*args, env=env, **{"wait": LONG, **fields})

    def ask(self, action: str, spawned: Answer, **fields: Any) -> dict[str, Any]:
        """Send a kill, a stop or a status about a job, and return the reply."""
        target = fields.pop("target", "zoe")
        about = {name: spawned.reply[name] for name in ("job", "started")}
        return self.call({"action": action, **about, **fields}, target=target).reply

    def stop(self, spawned: Answer, **fields: Any) -> dict[str, Any]:
        """Stop what was spawned."""
        return self.ask("stop", spawned, **{"interrupt_seconds": 0, "term_seconds": 60, **fields})

    def read_log(self, spawned: Answer) -> str:
        """What a server has written on its node."""
        job = spawned.reply["job"]
        return self.machine.read(f"/home/zoe/.local/state/sudospawner/slurm-{job}.log")


class UserJobMediator(JobMediator):
    """The same in user mode: sudo makes the mediator the target."""

    runas = "%jupyterhub"

    def permit(self, runas: str = "%jupyterhub", more: str = "") -> None:
        """Let rhea call it as these accounts."""
        Mediator.permit(self, runas, more)

    def list_words(self, target: str) -> list[str | Path]:
        """How the Hub calls it for this account."""
        return Mediator.list_words(self, target)


class SocketJobMediator(BehindSocket, JobMediator):
    """The same in root mode, through the socket."""


MODES: dict[str, type[JobMediator]] = {"user": UserJobMediator, "root": JobMediator}
WAYS: dict[str, type[JobMediator]] = {**MODES, "socket": SocketJobMediator}
in_each_way = pytest.mark.parametrize("jobs", WAYS, indirect=True)
"""Marks what has to hold without sudo, too: the fixture gets a key of `WAYS`."""


@contextmanager
def jobs_in(mode: str, cluster: Cluster, binary: Path) -> Iterator[JobMediator]:
    """A mediator in this mode with its server, rules and policy; nothing of it stays."""
    mediator = WAYS[mode](cluster.machine, f"/opt/{mode}-jobs/bin")
    mediator.use(cluster)
    mediator.install_binary(binary)
    mediator.put_server()
    mediator.permit()
    mediator.set_policy()
    try:
        yield mediator
    finally:
        mediator.remove_all()
        cluster.machine.run("rm -rf /home/*/.local/state/sudospawner")
