"""Small programs in place of a mediator, and spawners without a Hub around them.

The tests run with the installed wheel, under each JupyterHub, as an ordinary account with a home
(the mediator refuses root), and not in this folder, whose module would be taken instead:

    cd && VENV/bin/python -B -m pytest .../spawner-py/tests
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sudospawner import SudoSpawner, mediator, profiles, settings
from sudospawner.command import Command

#: Generous: what takes longer than this on any machine hangs.
LIMIT = 60.0


class Programs:
    """Writes executable scripts into a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "mediator") -> str:
        """Write a Python program; `folder` in it is the test's own folder."""
        path = self.folder / name
        prelude = (
            f"#!{sys.executable}\n"
            "import json, os, pathlib, signal, subprocess, sys, time\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
        )
        path.write_text(prelude + text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def requests(self) -> list[dict]:
        """What `record()` has recorded."""
        path = self.folder / "requests"
        return [json.loads(line) for line in path.read_text().splitlines()]


#: Begins a program that appends its request to the file that `Programs.requests` reads.
RECORD = """
request = json.load(sys.stdin)
with open(folder / "requests", "a") as file:
    file.write(json.dumps(request) + "\\n")
"""

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
    for task in list(mediator._background):
        task.cancel()
    await asyncio.gather(*mediator._background, return_exceptions=True)


class UnderTest(SudoSpawner):
    """A spawner for the test's own account, that calls the mediator directly."""

    def get_env(self):
        return {**self.environment, "PATH": os.environ["PATH"]}

    def get_args(self):
        return [f"--port={self.port}"]

    def do(self, action, **kwargs):
        return super().do(action, _skip_sudo=True, **kwargs)


@pytest.fixture(autouse=True)
def policy(tmp_path, monkeypatch):
    """Where the policy would be: this machine's own has no part in the tests."""
    path = tmp_path / "policy.toml"
    monkeypatch.setattr(profiles, "POLICY", str(path))
    return path


@pytest.fixture
def cluster(programs, policy):
    """A mediator whose policy has the launcher slurm."""
    from cluster import Cluster

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
