"""Servers in jobs that end: what ended one is told, how one is stopped, and what is kept of it."""

from __future__ import annotations

import asyncio

import pytest
from cluster import DOWN, JOB, STARTED, STATE, report
from conftest import LIMIT, UnderTest
from tornado.web import HTTPError

from sudospawner.ending import Ending
from sudospawner.jobs import find_queue

QUICK = {"interrupt_timeout": 1, "term_timeout": 1, "kill_timeout": 1}


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


async def test_a_start_that_fails_leaves_no_job(cluster, make_spawner, queue_clock):
    cluster.say(spawn=[{"ok": False, "code": "job_refused", "error": "sbatch: no"}])
    spawner = make_spawner(cluster.program)
    with pytest.raises(HTTPError, match="sbatch: no"):
        await spawner.start()
    assert await spawner.poll() == 0
    assert len(find_queue(cluster.program)) == 0
