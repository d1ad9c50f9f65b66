"""A start in a job of Slurm's: what is asked for, what is seen meanwhile, and what is given up."""

from __future__ import annotations

import asyncio

import pytest
from cluster import ADDRESS, JOB, REPLY, STARTED, InJob, event, fail_to_start
from conftest import LIMIT
from tornado.web import HTTPError

from sudospawner.placeholders import is_loopback, replace_port_in_args, replace_port_in_env

URL = "http://127.0.0.1:0/user/zoe/"


async def test_the_address_is_the_one_of_the_node(cluster, make_job_spawner, account, caplog):
    caplog.set_level("INFO")
    spawner = make_job_spawner()
    assert await spawner.start() == (ADDRESS, 40123)
    assert spawner.pid == 0
    assert spawner.get_state() == {
        "job": JOB,
        "started": STARTED,
        "host": ADDRESS,
        "limits": {"memory": 4 << 30},
    }
    assert cluster.calls("profiles") == [[f"--user={account}"]]
    assert cluster.calls("jobs") == [["--address"]]
    log = [record.getMessage() for record in caplog.records if JOB in record.getMessage()]
    assert log == [
        f"{account}: its job is {JOB}",
        f"{account}: its job {JOB} runs on node1",
        f"{account}: its job {JOB} listens on {ADDRESS}, port 40123",
    ]


async def test_the_node_fills_in_the_port_and_listens_on_all_its_addresses(
    cluster, make_job_spawner
):
    await make_job_spawner().start()
    [request] = cluster.requests("spawn")
    assert request["args"] == ["--port={port}"]
    assert request["env"]["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:{port}/user/zoe/"
    assert set(request["wait"]) == {"seconds"}
    assert request["wait"]["seconds"] > 0
    assert request["events"] is True
    assert not {"profile", "limits"} & set(request)


async def test_an_ip_that_the_site_has_set_stays(cluster, make_job_spawner):
    await make_job_spawner(ip="10.20.0.7", port=8888).start()
    [request] = cluster.requests("spawn")
    assert request["env"]["JUPYTERHUB_SERVICE_URL"] == "http://10.20.0.7:{port}/user/zoe/"
    assert request["args"] == ["--port={port}"]


def test_only_the_servers_own_port_is_replaced():
    args = ["--port=0", "--ServerApp.port=0", "--port=01", "--port-retries=0", "--x=--port=0"]
    assert replace_port_in_args(args, 0) == ["--port={port}", "--ServerApp.port={port}", *args[2:]]
    env = {"JUPYTERHUB_SERVICE_URL": "http://[::]:0/user/zoe/", "OTHER": URL}
    assert replace_port_in_env(env, keep_ip=True) == {
        "JUPYTERHUB_SERVICE_URL": "http://[::]:{port}/user/zoe/",
        "OTHER": URL,
    }
    assert replace_port_in_env({"A": "b"}, keep_ip=False) == {"A": "b"}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8081/hub/api",
        "http://127.8.0.1:8081/hub/api",
        "http://localhost:8081/hub/api",
        "http://[::1]:8081/hub/api",
        "http://0.0.0.0:8081/hub/api",
    ],
)
async def test_a_hub_that_no_node_can_reach_is_told_what_to_set(cluster, make_job_spawner, url):
    class Unreachable(InJob):
        api_url = url

    message = await fail_to_start(make_job_spawner(Unreachable))
    assert url in message
    assert "c.JupyterHub.hub_connect_ip" in message
    assert cluster.requests("spawn") == []


def test_a_name_of_a_machine_is_no_loopback():
    assert not is_loopback("hub.example.org")
    assert not is_loopback("")
    assert not is_loopback("10.20.0.254")


@pytest.mark.parametrize(
    ("options", "settings", "sent"),
    [
        ({}, {"mem_limit": "1G", "cpu_limit": 1}, {"limits": {"memory": 1 << 30, "cpus": 1}}),
        ({}, {"cpu_limit": 0.5}, {"limits": {"cpus": 1}}),
        ({}, {"mem_limit": "64G", "cpu_limit": 64}, {"limits": {"memory": 4 << 30, "cpus": 2}}),
        ({"profile": "gpu"}, {}, {"profile": "gpu"}),
        (
            {"profile": "gpu", "cpus": 4, "memory": 8 << 30},
            {"mem_limit": "2G"},
            {"profile": "gpu", "limits": {"memory": 2 << 30, "cpus": 4}},
        ),
        ({"memory": "512M"}, {"mem_limit": "2G"}, {"limits": {"memory": 512 << 20}}),
        # What was chosen when the profile gave more.
        ({"profile": "small", "cpus": 8}, {}, {"profile": "small", "limits": {"cpus": 2}}),
        # The mediator says why not.
        ({"profile": "gone", "cpus": 8}, {}, {"profile": "gone", "limits": {"cpus": 8}}),
    ],
)
async def test_what_is_asked_for_is_the_least_and_within_the_profile(
    cluster, make_job_spawner, caplog, options, settings, sent
):
    await make_job_spawner(user_options=options, **settings).start()
    [request] = cluster.requests("spawn")
    assert {name: request[name] for name in ("profile", "limits") if name in request} == sent
    assert "is set, but" not in caplog.text


async def test_options_that_make_no_sense_are_refused_in_words(cluster, make_job_spawner):
    message = await fail_to_start(make_job_spawner(user_options={"cpus": "<b>many"}))
    assert message == "The number of cores has to be a whole number from 1, and not “<b>many”."
    assert cluster.requests("spawn") == []


async def test_a_refusal_of_the_mediators_is_a_sentence_on_the_page(cluster, make_job_spawner):
    sentence = "There is no profile gone. The policy has: small, gpu."
    cluster.say(spawn=[{"ok": False, "code": "profile_unknown", "error": sentence}])
    assert await fail_to_start(make_job_spawner(user_options={"profile": "gone"})) == sentence


async def test_a_user_reads_in_plain_words_where_the_job_is(cluster, make_job_spawner, account):
    pending = event("PENDING", reason="Resources", estimated_start="2999-01-02T14:10:00")
    cluster.say(spawn=[pending, pending, event("RUNNING", host="node1"), REPLY])
    spawner = make_job_spawner()
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.sleep(0)
    messages = [news["message"] async for news in spawner.progress()]
    await starting
    assert [message for message in messages if "so far" not in message] == [
        f"Starting the server as {account}",
        "Waiting in the queue of the cluster (Resources: other jobs have the cores, memory or "
        "devices that it needs); expected to start about 2999-01-02 14:10",
        "Running on node1",
        "The server is up",
    ]


async def wait_for_message(spawner, beginning):
    async for news in spawner.progress():
        if news["message"].startswith(beginning):
            return
    raise AssertionError(f"the start has ended without {beginning}")


async def test_a_stop_while_the_job_waits_ends_it(cluster, make_job_spawner):
    cluster.say(spawn=[event("PENDING")], hold=True)
    spawner = make_job_spawner()
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.wait_for(wait_for_message(spawner, "Waiting in the queue"), LIMIT)
    assert await spawner.poll() is None
    assert spawner.get_state() == {}, "it is not ours before the reply"
    await spawner.stop()
    assert "stopped while it started" in await start_of(starting)
    [stop] = cluster.requests("stop")
    assert (stop["job"], stop["started"]) == (JOB, STARTED)
    assert await spawner.poll() == 0


async def start_of(starting):
    with pytest.raises(HTTPError) as raised:
        await starting
    return raised.value.jupyterhub_message


async def test_a_job_that_is_not_had_in_time_has_the_mediators_sentence(cluster, make_job_spawner):
    sentence = "The job was still pending after 48 s (Priority)."
    cluster.say(
        spawn=[event("PENDING"), {"ok": False, "code": "job_pending", "error": sentence}],
        jobs={"ok": True, "jobs": {}},
    )
    assert await fail_to_start(make_job_spawner()) == sentence


async def test_events_of_a_job_mean_nothing_where_servers_are_processes(
    cluster, make_job_spawner, child
):
    cluster.say(
        profiles={"launcher": "process", "profiles": []},
        spawn=[event("RUNNING", host="node1"), {"ok": True, "pid": child.pid}],
    )
    spawner = make_job_spawner()
    ip, port = await spawner.start()
    assert (ip, port) == ("127.0.0.1", spawner.port)
    assert spawner.pid == child.pid
    assert "job" not in spawner.get_state()
