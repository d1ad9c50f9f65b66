"""Servers in jobs that run: one question to Slurm for all of them."""

from __future__ import annotations

import asyncio
import gc

import pytest
from cluster import DOWN, JOB, STARTED, report

from sudospawner.identity import Liveness
from sudospawner.jobs import Queue, WatchedJob, find_queue


def number(count):
    return [str(job) for job in range(2000, 2000 + count)]


def show_all(cluster, jobs, **changes):
    told = {"uid": cluster.uid, **changes}
    cluster.show({job: report(started=STARTED.replace(JOB, job), **told) for job in jobs})


async def test_a_thousand_servers_are_one_question_in_an_interval(
    cluster, make_restarted, queue_clock
):
    jobs = number(1000)
    show_all(cluster, jobs)
    spawners = [make_restarted(job) for job in jobs]
    for _ in range(3):
        assert set(await asyncio.gather(*(spawner.poll() for spawner in spawners))) == {None}
    assert cluster.calls("jobs") == [[]]
    queue_clock.now += 30
    assert set(await asyncio.gather(*(spawner.poll() for spawner in spawners))) == {None}
    assert cluster.calls("jobs") == [[], []]
    assert cluster.requests("status") == []


async def test_servers_that_are_gone_are_not_asked_about(cluster, make_restarted, queue_clock):
    jobs = number(3)
    show_all(cluster, jobs)
    spawners = [make_restarted(job) for job in jobs]
    spawners[0].clear_state()
    del spawners[1]
    gc.collect()
    assert await spawners[-1].poll() is None
    assert len(find_queue(cluster.program)) == 1


async def test_a_job_that_is_new_counts_as_alive_until_all_are_asked_about(
    cluster, make_restarted, make_spawner, queue_clock
):
    old = make_restarted()
    assert await old.poll() is None
    queue, new = find_queue(cluster.program), WatchedJob("77", STARTED, is_new=True)
    queue.add(new)
    assert await queue.look(new, 30, old.log.warning) is Liveness.ALIVE
    assert cluster.calls("jobs") == [[]]
    queue_clock.now += 30
    assert await queue.look(new, 30, old.log.warning) is Liveness.HIDDEN
    loaded = WatchedJob("78", STARTED, is_new=False)
    queue.add(loaded)
    assert await queue.look(loaded, 30, old.log.warning) is Liveness.HIDDEN
    assert cluster.calls("jobs") == [[], [], []]


async def test_who_comes_while_slurm_is_asked_is_in_the_next_question(cluster):
    queue = Queue(cluster.program)
    first, second = WatchedJob(JOB, STARTED, is_new=False), WatchedJob("77", "", is_new=False)
    queue.add(first)
    looking = asyncio.ensure_future(queue.look(first, 30, print))
    for _ in range(5):
        await asyncio.sleep(0)  # Until the question is there, and long before its answer.
    queue.add(second)
    assert await queue.look(second, 30, print) is Liveness.HIDDEN
    assert await looking is Liveness.ALIVE
    assert len(cluster.calls("jobs")) == 2


@pytest.mark.parametrize("silence", [DOWN, "no munge", {"jobs": 5, "ok": True}, {"ok": 1}])
async def test_a_controller_that_does_not_answer_ends_no_server_and_is_told_once_a_minute(
    cluster, make_restarted, queue_clock, caplog, silence
):
    cluster.say(jobs=silence)
    spawners = [make_restarted(), make_restarted("2000")]
    for seconds in (0, 30, 29, 30):
        queue_clock.now += seconds
        assert [await spawner.poll() for spawner in spawners] == [None, None]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "2 servers count as alive" in warnings[0]
    assert len(cluster.calls("jobs")) == 4
    assert cluster.requests("status") == []


@pytest.mark.parametrize(
    "state", ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "REQUEUED"]
)
async def test_these_states_are_of_a_job_that_lives(cluster, make_restarted, state):
    cluster.show({JOB: report(uid=cluster.uid, state=state)})
    assert await make_restarted().poll() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "COMPLETING"},
        {"state": "FAILED"},
        {"state": None},
        {"started": STARTED.replace("13:00", "14:00")},
    ],
)
async def test_a_job_that_ends_or_is_another_one_is_asked_about_once(
    cluster, make_restarted, changes
):
    cluster.show({JOB: report(**{"uid": cluster.uid, **changes})})
    cluster.say(status=[{"ok": True, "alive": False, "exit": 3, "signal": None}])
    spawner = make_restarted()
    assert await spawner.poll() == 3
    assert spawner.get_state() == {}
    assert await spawner.poll() == 3
    [request] = cluster.requests("status")
    assert request == {"action": "status", "job": JOB, "started": STARTED, "server_name": ""}


async def test_a_job_that_slurm_hides_is_asked_about_through_the_mediator_once_an_interval(
    cluster, make_restarted, monkeypatch
):
    cluster.show({})
    cluster.say(status=[{"ok": True, "alive": True, "job": JOB, "state": "RUNNING"}])
    spawner = make_restarted()
    for _ in range(3):
        assert await spawner.poll() is None
    assert len(cluster.requests("status")) == 1
    spawner._watch.server.look_anew()
    cluster.say(status=[{"ok": True, "alive": False, "exit": None, "signal": 15}])
    assert await spawner.poll() == -15
    assert len(cluster.requests("status")) == 2, "the reply also says how it ended"


async def test_a_mediator_that_cannot_tell_ends_no_server(cluster, make_restarted, caplog):
    cluster.show({})
    cluster.say(status=[DOWN])
    assert await make_restarted().poll() is None
    assert "is job 1234 alive? The controller does not answer." in caplog.text
