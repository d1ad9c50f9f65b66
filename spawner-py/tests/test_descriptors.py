"""A Hub that has no more descriptors: a sentence with the remedy, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import RECORD, REPLY
from tornado.web import HTTPError

from sudospawner import background, descriptors, mediator
from sudospawner.mediator import MediatorError

OK = "print(json.dumps({'ok': True}))"


def list_descriptors() -> set[str]:
    # The descriptor of the listing itself is closed when the links are looked at.
    return {entry.name for entry in list(Path("/proc/self/fd").iterdir()) if entry.exists()}


def list_children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@contextmanager
def only(spare: int, limit: int = 128):
    """Let this process open so many descriptors more; as if it had the others of its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A number that the limit does not reach does not count.
    used = sum(int(name) < limit for name in list_descriptors())
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(limit - used - spare)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


async def settle() -> None:
    """Wait for what goes on behind a call, and for what is closed in the loop's next turn."""
    while background.tasks:
        await asyncio.wait(background.tasks)
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def begun():
    """What asyncio opens for a first process is there before a test looks."""
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


async def test_a_start_without_descriptors_says_what_to_do_and_leaves_nothing(
    programs, make_spawner, child
):
    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid))
    before, children = list_descriptors(), list_children()
    for spare in (0, 1, 5, 20, 63):
        with only(spare), pytest.raises(HTTPError, match="LimitNOFILE=65536") as raised:
            await spawner.start()
        assert "may have 128 open files" in str(raised.value)
        assert getattr(raised.value, "reason", None) in ("hub_out_of_descriptors", None)
        assert spawner.pid == 0
        assert list_descriptors() == before
        assert list_children() <= children
    assert not (programs.folder / "requests").exists(), "no program was started"
    await spawner.start()
    assert spawner.pid == child.pid
    await settle()


async def test_wherever_descriptors_run_out_a_call_fails_in_words_or_works(
    programs, call, monkeypatch
):
    program = programs.write(OK)
    before, children = list_descriptors(), list_children()
    worked = []
    # Without the look ahead, as if others took what was seen.
    monkeypatch.setattr(descriptors, "TAKEN_BY_CALL", 0)
    monkeypatch.setattr(mediator, "TAKEN_BY_CALL", 0)
    for spare in range(16):
        with only(spare):
            try:
                worked.append((await call(program))["ok"])
            except MediatorError as error:
                assert error.code == "hub_out_of_descriptors"
                worked.append(False)
        await settle()
        assert list_descriptors() == before
        assert list_children() <= children
    assert worked == sorted(worked)
    assert [worked[0], worked[-1]] == [False, True]


async def test_a_call_that_stops_a_server_needs_less_than_a_start_leaves(programs, call):
    program = programs.write(OK)
    with only(descriptors.LEFT_BY_STARTS - 1):
        assert (await call(program))["ok"]
        with pytest.raises(MediatorError, match="too few are left"):
            await call(program, forgotten=asyncio.Event())
    await settle()


async def test_a_machine_without_descriptors_is_another_remedy():
    with pytest.raises(MediatorError, match=r"fs\.file-max"), descriptors.explained_shortage():
        raise OSError(23, "Too many open files in system")
    with pytest.raises(OSError, match="another"), descriptors.explained_shortage():
        raise OSError(2, "another")
