"""Small programs in place of a mediator, and spawners without a Hub around them.

The tests run with the installed wheel, under each JupyterHub, as an ordinary account with a home
(the mediator refuses root), and not in this folder, whose module would be taken instead:

    cd && VENV/bin/python -B -m pytest .../spawner-py/tests
"""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster import JOB, STARTED, STATE, Clock, Cluster, InJob
from programs import RECORD, Programs, UnderTest

from sudospawner import background, jobs, mediator, profiles, settings
from sudospawner.command import Command

__all__ = ["LIMIT", "RECORD", "REPLY", "Programs", "UnderTest"]

#: Generous: what takes longer than this on any machine hangs.
LIMIT = 60.0


#: A program that replies with the pid of a server.
REPLY = "print(json.dumps({'ok': True, 'pid': %d}))"


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


class LifeLine:
    """A FIFO that a program holds open while it lives, so that its end can be waited for."""

    #: To be executed by the program: opening waits until the test watches.
    HOLD = "held = open(folder / 'life', 'w')\n"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "life"
        os.mkfifo(self.path)

    async def wait_for_start(self) -> None:
        self._file = await asyncio.wait_for(asyncio.to_thread(open, self.path), LIMIT)

    async def wait_for_end(self) -> None:
        assert await asyncio.wait_for(asyncio.to_thread(self._file.read), LIMIT) == ""
        self._file.close()


@pytest.fixture
def life_line(tmp_path):
    return LifeLine(tmp_path)


@pytest.fixture
async def call():
    """`mediator.call` without sudo, for a program that a test has written."""

    async def call_program(program, request=None, *, time_limit=LIMIT, **options):
        command = Command((program,), program, "zoe", "zoe")
        return await mediator.call(command, request or {}, time_limit=time_limit, **options)

    yield call_program
    # What is done behind a call belongs to its test.
    for task in list(background.tasks):
        task.cancel()
    await asyncio.gather(*background.tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def policy(tmp_path, monkeypatch):
    """Where the policy would be: this machine's own has no part in the tests."""
    path = tmp_path / "policy.toml"
    monkeypatch.setattr(profiles, "POLICY", str(path))
    return path


@pytest.fixture
def cluster(programs, policy):
    """A mediator whose policy has the launcher slurm."""
    policy.touch()
    return Cluster(programs, os.getuid())


@pytest.fixture
def account():
    return pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def make_spawner(account, monkeypatch):
    """Make spawners; the argument is the path of the mediator."""
    monkeypatch.setattr(settings, "_warned", set())

    def make(path, kind=UnderTest, **traits):
        user = SimpleNamespace(name=account, url="/user/zoe", settings={})
        return kind(user=user, sudospawner_path=path, **traits)

    return make


@pytest.fixture
async def child():
    """A process that lives until its test is over."""
    process = await asyncio.create_subprocess_exec("sleep", "infinity")
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


@pytest.fixture
def make_job_spawner(cluster, make_spawner):
    """Make spawners whose servers run in jobs."""

    def make(kind=InJob, **traits):
        spawner = make_spawner(cluster.program, kind, **traits)
        spawner.log.propagate = True
        return spawner

    return make


@pytest.fixture
def make_restarted(cluster, make_spawner):
    """Make a spawner of a Hub that has been restarted, with a server in a job."""

    def make(job=JOB, **traits):
        spawner = make_spawner(cluster.program, **traits)
        spawner.log.propagate = True
        started = STARTED.replace(JOB, job)
        spawner.load_state({**STATE, "job": job, "started": started})
        return spawner

    return make


@pytest.fixture
def queue_clock(cluster, monkeypatch):
    """The clock of the queue that the spawners of a test have."""
    clock = Clock()
    monkeypatch.setattr(jobs.find_queue(cluster.program), "_clock", clock)
    return clock
