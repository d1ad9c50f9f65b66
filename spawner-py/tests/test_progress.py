"""What a user sees while a server starts: plain words, a bar that moves, and the server's lines."""

from __future__ import annotations

import asyncio

import pytest
from conftest import LIMIT, REPLY

from sudospawner import progress
from sudospawner.progress import Pace, Progress

GREETING = {"progress": 10, "message": "hello"}
LOADING = "The server has started, and is loading"


class Clock:
    """Stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress, "_INTERVAL", 0.01)
    return Clock()


async def take(events):
    return await asyncio.wait_for(events.__anext__(), LIMIT)


async def take_all(under_way: Progress) -> list[str]:
    """End a start; return its messages, behind the greeting."""
    under_way.end()
    return [event["message"] async for event in under_way.follow("hello")][1:]


def begin(clock: Clock, *durations: float) -> Progress:
    """A start that has begun, in a Hub whose last starts took so many seconds."""
    pace = Pace()
    for seconds in durations:
        pace.add(seconds)
    under_way = Progress(pace, clock)
    under_way.begin(start_timeout=60)
    return under_way


async def test_the_bar_moves_by_what_starts_take_and_never_to_the_end(clock):
    under_way = begin(clock, 5, 40, 20)
    events = under_way.follow("hello")
    assert await take(events) == GREETING
    clock.now += 10
    assert await take(events) == {
        "progress": 52,
        "message": "Still starting, 10 seconds so far (usually 20 seconds)",
    }
    clock.now += 1000
    assert (await take(events))["progress"] == 95
    under_way.announce("at last")
    assert await take(events) == {"progress": 95, "message": "at last"}
    under_way.end()
    with pytest.raises(StopAsyncIteration):
        await take(events)


async def test_a_first_start_is_compared_with_half_of_its_time_limit(clock):
    events = begin(clock).follow("hello")
    await take(events)
    clock.now += 15
    assert await take(events) == {"progress": 52, "message": "Still starting, 15 seconds so far"}


async def test_only_the_last_starts_that_succeeded_count(clock):
    pace = Pace()
    for seconds in [100.0] * 50 + [1.0] * 20:
        pace.add(seconds)
    assert pace.find_usual() == 1
    under_way = Progress(pace, clock)
    under_way.begin(start_timeout=60)
    clock.now += 500
    under_way.end()
    assert pace.find_usual() == 1
    under_way = under_way.renew()
    for _ in range(20):
        under_way.begin(start_timeout=60)
        clock.now += 3
        under_way.succeed()
    assert pace.find_usual() == 3


async def test_who_watches_before_the_start_begins_sees_it_and_nothing_of_the_last_one(clock):
    under_way = begin(clock)
    under_way.announce("old")
    assert under_way.renew() is under_way
    under_way.end()
    under_way = under_way.renew()
    events = under_way.follow("hello")
    assert await take(events) == GREETING
    following = asyncio.ensure_future(take(events))
    await asyncio.sleep(0)
    under_way.begin(start_timeout=60)
    under_way.announce("new")
    assert (await following)["message"] == "new"


async def test_the_servers_lines_are_marked_and_come_behind_its_start(clock):
    under_way = begin(clock)
    under_way.take_line("sudo: unable to resolve host")
    under_way.take_line("[I sudospawner] starting it")
    under_way.take_line("early")
    under_way.announce_server()
    under_way.take_line("Hook 10-s3 is running")
    under_way.take_line("[W sudospawner] lines were dropped")
    assert await take_all(under_way) == [LOADING, "> early", "> Hook 10-s3 is running"]


async def test_of_a_server_that_never_began_no_line_is_shown(clock):
    under_way = begin(clock)
    under_way.take_line("a lecture")
    assert await take_all(under_way) == []
    under_way.announce_server()
    under_way.take_line("late")
    assert await take_all(under_way) == []


async def test_a_long_line_is_cut_and_a_flood_is_thinned_out_and_ends(clock):
    under_way = begin(clock)
    under_way.announce_server()
    for _ in range(1000):
        under_way.take_line("x" * 5000)
    clock.now += 1
    for _ in range(1000):
        under_way.take_line("y")
    for _ in range(1000):
        clock.now += 1
        under_way.take_line("z")
    messages = await take_all(under_way)
    lines = [message for message in messages if message.startswith("> ")]
    assert lines[0] == "> " + "x" * 199 + "…"
    assert [lines.count("> " + letter) for letter in "yz"] == [5, 70]
    assert len(lines) == 100
    assert messages[26] == "(975 lines of the server are not shown here)"
    assert messages[-1] == "(More lines of the server are not shown here)"


LINES = """
print(json.dumps({"event": "started", "pid": %d}), flush=True)
print("<b>loading\\x1b[2J", file=sys.stderr, flush=True)
until = folder / "go-on"
while not until.exists():
    time.sleep(0.01)
"""


async def test_a_line_is_seen_before_the_server_is_up(programs, make_spawner, child):
    spawner = make_spawner(programs.write(LINES % child.pid + REPLY % child.pid))
    starting = asyncio.ensure_future(spawner.start())
    events = spawner.progress()
    while (event := await take(events))["message"] != "> <b>loading\\x1b[2J":
        pass
    assert "html_message" not in event
    assert not starting.done()
    (programs.folder / "go-on").touch()
    await starting
    assert [event async for event in events] == []
    assert progress.PACE.find_usual() > 0


async def test_an_overridden_relog_stderr_shows_no_lines(programs, make_spawner, child):
    spawner = make_spawner(programs.write(LINES % child.pid + REPLY % child.pid))

    async def keep(stderr):
        await stderr.read_until(b"\n")
        (programs.folder / "go-on").touch()

    spawner.relog_stderr = keep
    await spawner.start()
    messages = [event["message"] async for event in spawner.progress()]
    assert not any(message.startswith("> ") for message in messages)
