"""Servers in jobs that run: one question to Slurm for all of them, and what ended one is told."""

from __future__ import annotations

import asyncio
import gc

import pytest
from cluster import ADDRESS, JOB, STARTED, report
from conftest import LIMIT, UnderTest
from tornado.web import HTTPError

from sudospawner.ending import Ending
from sudospawner.identity import Liveness
from sudospawner.jobs import Queue, WatchedJob, find_queue

STATE = {"job": JOB, "started": STARTED, "host": ADDRESS}
DOWN = {"ok": False, "code": "slurm_unavailable", "error": "The controller does not answer."}
QUICK = {"interrupt_timeout": 1, "term_timeout": 1, "kill_timeout": 1}


class Clock:
    """Stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(cluster, monkeypatch):
    """The clock of the queue that the spawners of a test have."""
    clock = Clock()
    monkeypatch.setattr(find_queue(cluster.program), "_clock", clock)
    return clock


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


def number(count):
    return [str(job) for job in range(2000, 2000 + count)]


def show_all(cluster, jobs, **changes):
    told = {"uid": cluster.uid, **changes}
    cluster.show({job: report(started=STARTED.replace(JOB, job), **told) for job in jobs})


async def test_a_thousand_servers_are_one_question_in_an_interval(cluster, make_restarted, clock):
    jobs = number(1000)
    show_all(cluster, jobs)
    spawners = [make_restarted(job) for job in jobs]
    for _ in range(3):
        assert set(await asyncio.gather(*(spawner.poll() for spawner in spawners))) == {None}
    assert cluster.calls("jobs") == [[]]
    clock.now += 30
    assert set(await asyncio.gather(*(spawner.poll() for spawner in spawners))) == {None}
    assert cluster.calls("jobs") == [[], []]
    assert cluster.requests("status") == []


async def test_servers_that_are_gone_are_not_asked_about(cluster, make_restarted, clock):
    jobs = number(3)
    show_all(cluster, jobs)
    spawners = [make_restarted(job) for job in jobs]
    spawners[0].clear_state()
    del spawners[1]
    gc.collect()
    assert await spawners[-1].poll() is None
    assert len(find_queue(cluster.program)) == 1


async def test_a_job_that_is_new_counts_as_alive_until_all_are_asked_about(
    cluster, make_restarted, make_spawner, clock
):
    old = make_restarted()
    assert await old.poll() is None
    queue, new = find_queue(cluster.program), WatchedJob("77", STARTED, is_new=True)
    queue.add(new)
    assert await queue.look(new, 30, old.log.warning) is Liveness.ALIVE
    assert cluster.calls("jobs") == [[]]
    clock.now += 30
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
    cluster, make_restarted, clock, caplog, silence
):
    cluster.say(jobs=silence)
    spawners = [make_restarted(), make_restarted("2000")]
    for seconds in (0, 30, 29, 30):
        clock.now += seconds
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


async def test_what_ended_a_job_is_told_as_soon_as_slurm_knows(
    cluster, make_restarted, monkeypatch, caplog
):
    monkeypatch.setattr("sudospawner.watch._PAUSES", (0.01,) * 1000)
    cluster.show({JOB: report(uid=cluster.uid, state="COMPLETING")})
    spawner = make_restarted()
    assert await spawner.poll() == 0
    assert spawner._spawn_future is None
    ended = {"exit": None, "signal": 15, "result": "CANCELLED"}
    cluster.say(status=[{"ok": True, "alive": False, **ended}])
    await asyncio.wait_for(spawner._watch._later, LIMIT)
    assert "was cancelled" in spawner._spawn_future.exception().jupyterhub_message
    assert "was cancelled" in caplog.text
    assert len(cluster.requests("status")) >= 2


async def test_a_new_start_ends_the_questions_about_the_last_end(
    cluster, make_restarted, monkeypatch
):
    monkeypatch.setattr("sudospawner.watch._PAUSES", (LIMIT,))
    cluster.show({JOB: report(uid=cluster.uid, state="COMPLETING")})
    spawner = make_restarted()
    assert await spawner.poll() == 0
    later = spawner._watch._later
    cluster.say(spawn=[{"ok": False, "code": "job_refused", "error": "no"}])
    with pytest.raises(HTTPError, match="no"):
        await spawner.start()
    await asyncio.wait({later}, timeout=LIMIT)
    assert later.cancelled()


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


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("TIMEOUT", "the time of its job was over"),
        ("OUT_OF_MEMORY", "more memory than it may (1 GiB)"),
        ("NODE_FAIL", "node of the cluster that the server ran on has failed"),
        ("PREEMPTED", "a job that goes first"),
        ("CANCELLED", "was cancelled"),
        ("DEADLINE", "until its deadline"),
        ("BOOT_FAIL", "did not boot"),
        ("REVOKED", "withdrawn"),
    ],
)
async def test_what_ended_a_job_is_a_sentence_on_page_and_log(
    cluster, make_restarted, caplog, result, words
):
    cluster.show({JOB: report(uid=cluster.uid, state=result)})
    cluster.say(status=[{"ok": True, "alive": False, "exit": 1, "signal": None, "result": result}])
    spawner = make_restarted()
    spawner.load_state({**STATE, "limits": {"memory": 1 << 30}})
    assert await spawner.poll() == 1
    failure = spawner._spawn_future.exception()
    assert words in failure.jupyterhub_message
    assert failure.jupyterhub_message in caplog.text
    assert not getattr(failure, "jupyterhub_html_message", "")


def test_systemds_timeout_is_not_slurms():
    assert Ending(result="timeout").explain(None) == "The server was ended: timeout."


# --- Stop ---


async def test_a_stop_is_one_call_with_the_job(cluster, make_restarted):
    spawner = make_restarted(interrupt_timeout=3, term_timeout=2, kill_timeout=1)
    await spawner.stop()
    assert cluster.requests("stop") == [
        {
            "action": "stop",
            "job": JOB,
            "started": STARTED,
            "server_name": "",
            "interrupt_seconds": 3,
            "term_seconds": 2,
            "kill_seconds": 1,
        }
    ]
    assert spawner.get_state() == {}


@pytest.mark.parametrize("reply", [DOWN, {"ok": True, "alive": True}])
async def test_a_job_that_outlives_its_stop_is_an_error_with_its_id(
    cluster, make_restarted, caplog, reply
):
    cluster.say(stop=[reply])
    spawner = make_restarted(**QUICK)
    await spawner.stop()
    [error] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "in job 1234" in error
    assert "scancel 1234" in error
    assert cluster.requests("kill") == [], "signals to a job go through Slurm, as a stop does"
    assert spawner.get_state() == {}


async def test_of_a_job_that_is_gone_nothing_is_said_though_its_stop_failed(
    cluster, make_restarted, caplog
):
    spawner = make_restarted(**QUICK)
    assert await spawner.poll() is None
    cluster.show({JOB: report(uid=cluster.uid, state="CANCELLED")})
    cluster.say(stop=[DOWN])
    await spawner.stop()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_signal_goes_to_the_job(cluster, make_restarted):
    assert await make_restarted()._signal(15) is True
    [request] = cluster.requests("kill")
    assert request["signal"] == 15
    assert (request["job"], request["started"]) == (JOB, STARTED)
    assert "pid" not in request


# --- State ---


async def test_a_restarted_hub_finds_the_job(cluster, make_restarted):
    spawner = make_restarted()
    assert await spawner.poll() is None
    assert spawner.get_state() == STATE
    again = make_restarted()
    again.load_state(spawner.get_state())
    assert again.get_state() == STATE
    again.clear_state()
    assert again.get_state() == {}


@pytest.mark.parametrize("job", [None, "", "12x", 1234, "-1", ["1"]])
async def test_a_state_with_nonsense_for_a_job_is_one_without_server(make_spawner, cluster, job):
    spawner = make_spawner(cluster.program)
    spawner.load_state({**STATE, "job": job})
    assert await spawner.poll() == 0


async def test_a_job_goes_on_though_the_policy_has_another_launcher_now(cluster, make_restarted):
    cluster.say(profiles={"launcher": "systemd", "profiles": []})
    spawner = make_restarted()
    assert await spawner.poll() is None
    await spawner.stop()
    assert cluster.requests("stop")[0]["job"] == JOB


async def test_a_process_goes_on_though_the_policy_has_jobs_now(cluster, make_spawner, child):
    spawner = make_spawner(cluster.program, UnderTest)
    spawner.load_state({"pid": child.pid})
    assert await spawner.poll() is None
    assert spawner.get_state()["pid"] == child.pid
    await spawner.stop()
    assert cluster.requests("stop")[0]["pid"] == child.pid
    assert cluster.calls("jobs") == []


async def test_a_start_that_fails_leaves_no_job(cluster, make_spawner, clock):
    cluster.say(spawn=[{"ok": False, "code": "job_refused", "error": "sbatch: no"}])
    spawner = make_spawner(cluster.program)
    with pytest.raises(HTTPError, match="sbatch: no"):
        await spawner.start()
    assert await spawner.poll() == 0
    assert len(find_queue(cluster.program)) == 0
