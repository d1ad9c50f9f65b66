"""Look-ups of accounts: the Hub waits for none, and has a bounded number of threads for them."""

from __future__ import annotations

import asyncio
import pwd
import threading

import pytest
from conftest import LIMIT

from sudospawner import look_up
from sudospawner.look_up import LOOK_UPS, LOOK_UPS_OF_ONE, find_account, find_uid
from sudospawner.mediator import MediatorError


class SlowDatabase:
    """The account database, where a look-up of a name that begins with `slow` hangs."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []
        self.begun = threading.Semaphore(0)
        self._ask = pwd.getpwnam

    def getpwnam(self, name: str) -> pwd.struct_passwd:
        self.asked.append(name)
        self.begun.release()
        if name.startswith("slow"):
            assert self.answers.wait(LIMIT)
        return self._ask(name)


@pytest.fixture
def database(monkeypatch):
    database = SlowDatabase()
    monkeypatch.setattr(look_up.pwd, "getpwnam", database.getpwnam)
    yield database
    database.answers.set()
    for thread in list_threads():
        thread.join(LIMIT)


def list_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "look-up of accounts"]


async def begin(database: SlowDatabase, names: list[str], asked: int) -> list[asyncio.Task]:
    """Begin to look up these names; returns when so many look-ups have begun."""
    tasks = [asyncio.ensure_future(find_account(name, LIMIT)) for name in names]
    for _ in range(asked):
        assert await asyncio.to_thread(database.begun.acquire, timeout=LIMIT)
    return tasks


async def test_an_account_is_found_and_no_thread_stays(account):
    assert (await find_account(account, LIMIT)).pw_name == account
    assert await find_account("no-such-account", LIMIT) is None
    assert await find_uid(account) == pwd.getpwnam(account).pw_uid
    for thread in list_threads():
        thread.join(LIMIT)
    assert list_threads() == []


async def test_while_one_account_hangs_others_are_found(database, account):
    hanging = await begin(database, ["slow"] * 20, LOOK_UPS_OF_ONE)
    assert (await find_account(account, LIMIT)).pw_name == account
    assert database.asked.count("slow") == LOOK_UPS_OF_ONE
    database.answers.set()
    assert await asyncio.gather(*hanging) == [None] * 20


async def test_however_many_hang_the_threads_are_few_and_the_next_says_so_in_time(
    database, account
):
    hanging = await begin(database, [f"slow-{n}" for n in range(3 * LOOK_UPS)], LOOK_UPS)
    with pytest.raises(MediatorError, match="since earlier look-ups hang") as failure:
        await find_account(account, 0.1)
    assert failure.value.code == "account_timeout"
    assert len(list_threads()) == LOOK_UPS
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    database.answers.set()
    assert (await find_account(account, LIMIT)).pw_name == account
    assert len(database.asked) == LOOK_UPS + 1, "nobody waits for the others any longer"
