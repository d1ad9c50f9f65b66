"""Whose word a server's address is: the mediator's, but only if Slurm says the same."""

from __future__ import annotations

import pytest
from cluster import ADDRESS, JOB, REPLY, STARTED, fail_to_start, report
from tornado.web import HTTPError

from sudospawner import launch_job


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"uid": 65533}, "Slurm: uid 65533"),
        ({"uid": True}, "Slurm: uid None"),
        ({"state": "COMPLETED"}, "COMPLETED on"),
        ({"address": "10.20.0.2"}, "on 10.20.0.2"),
        ({"address": None}, "disagree"),
        ({"host": ADDRESS, "address": "10.20.0.2"}, "on 10.20.0.2"),
        ({"started": "test:1234:2026-11-29T12:00:00"}, "12:00:00"),
    ],
)
async def test_an_address_is_not_believed_if_slurm_says_something_else(
    cluster, make_job_spawner, changes, words
):
    cluster.show({JOB: report(**{"uid": cluster.uid, **changes})})
    spawner = make_job_spawner()
    assert words in await fail_to_start(spawner)
    [stop] = cluster.requests("stop")
    assert (stop["job"], stop["started"]) == (JOB, STARTED)
    assert spawner.get_state() == {}
    assert await spawner.poll() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "10.20.0.2"},
        {"host": "169.254.169.254"},
        {"host": ""},
        {"host": None},
        {"host": 7},
        {"host": "x" * 1000},
        {"port": 22},
        {"port": 1023},
        {"port": 65536},
        {"port": "40123"},
        {"port": None},
        {"started": "test:1234:2026-11-29T12:00:00"},
        {"started": ""},
        {"started": None},
        {"job": "1233"},
    ],
)
async def test_a_mediator_that_names_another_place_is_not_believed(
    cluster, make_job_spawner, changes
):
    cluster.say(spawn=[{**REPLY, **changes}])
    spawner = make_job_spawner()
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    # Before JupyterHub 6, the reason is not ours to set.
    assert (raised.value.reason or raised.value.code) == "job_unverified"
    assert len(cluster.requests("stop")) == 1
    assert spawner.get_state() == {}


@pytest.mark.parametrize("job", [None, "", "1234;", "1234_1", "١٢", -1, 1234, "1" * 30])
async def test_a_reply_without_a_job_that_can_be_is_a_failure_in_words(
    cluster, make_job_spawner, job
):
    cluster.say(spawn=[{**REPLY, "job": job}])
    assert await fail_to_start(make_job_spawner()) == "The mediator's reply has no job."


async def test_a_job_that_slurm_hides_is_told_with_the_remedy(cluster, make_job_spawner):
    cluster.show({})
    message = await fail_to_start(make_job_spawner())
    assert "Slurm does not show job 1234" in message
    assert "PrivateData=jobs" in message
    assert "AdminLevel=Operator" in message
    assert len(cluster.requests("stop")) == 1


async def test_a_controller_that_does_not_answer_is_asked_three_times(
    cluster, make_job_spawner, monkeypatch
):
    monkeypatch.setattr(launch_job, "_PAUSE", 0.01)
    down = {"ok": False, "code": "slurm_unavailable", "error": "The controller does not answer."}
    cluster.say(jobs=down)
    assert "The controller does not answer." in await fail_to_start(make_job_spawner())
    assert cluster.calls("jobs") == [["--address"]] * 3
    assert len(cluster.requests("stop")) == 1


async def test_a_job_that_cannot_be_ended_stays_the_hubs_to_stop(cluster, make_job_spawner):
    cluster.show({JOB: report(uid=65533)})
    cluster.say(stop=[{"ok": False, "code": "slurm_unavailable", "error": "no answer"}])
    spawner = make_job_spawner()
    assert "disagree" in await fail_to_start(spawner)
    assert await spawner.poll() is None, "or the Hub would not call stop"
    cluster.say(stop=[{"ok": True, "alive": False}])
    await spawner.stop()
    assert [request["job"] for request in cluster.requests("stop")] == [JOB, JOB]
    assert await spawner.poll() == 0
