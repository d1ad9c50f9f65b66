"""A server as a job: what its caller is told, what it gets, and how it ends.

Each in user mode and in root mode, with the Slurm of each Debian.
"""

from __future__ import annotations

import json
import socket

from machine.catalogue import DEBIANS as ALL
from machine.slurm_files import CPUS, NODES
from system.mediator import OWN, wait_until
from system.slurm_servers import ADDRESSES, PROFILE, JobMediator, in_each_way

DEBIANS = tuple(ALL)
OTHERS = "[slurm.profiles.big]\ncpus = 2\nmemory = '128M'\ntime = '5'\npartition = 'debug'\n"


@in_each_way
def test_a_server_listens_on_a_node_and_its_caller_is_told_where(jobs: JobMediator) -> None:
    spawned = jobs.spawn("serve", "{port}", events=True)
    reply = spawned.reply
    job = jobs.cluster.look_up(int(reply["job"]))
    assert (reply["ok"], reply["listening"]) == (True, True)
    assert reply["host"] == ADDRESSES[job.host]
    assert reply["started"].split(":")[:2] == ["test", reply["job"]]
    with jobs.machine.network():
        socket.create_connection((reply["host"], reply["port"]), timeout=60).close()
    states = [event["state"] for event in spawned.events]
    assert states[-1] == "RUNNING"
    assert [event["event"] for event in spawned.events] == ["job"] * len(states)
    assert spawned.events[-1]["host"] == job.host
    assert (job.name, job.comment) == ("sudospawner", f"sudospawner listening {reply['port']}")
    assert jobs.stop(spawned)["alive"] is False


def test_a_server_gets_the_requests_arguments_and_variables_and_the_end_of_its_job(
    jobs: JobMediator,
) -> None:
    file = "/home/zoe/seen.json"
    env = {"URL": "http://0.0.0.0:{port}/", "QUOTE": "a'b\"c\n$(id) `id` %j", "PYTHONPATH": "/x"}
    spawned = jobs.spawn("report", file, "say", "on {port}", "serve", "{port}", env=env)
    port = str(spawned.reply["port"])
    seen = json.loads(jobs.machine.read(file))
    jobs.machine.run(["rm", file])
    ends = jobs.cluster.look_up(int(spawned.reply["job"])).ends
    assert abs(int(seen["env"].pop("SUDOSPAWNER_JOB_END")) - ends) <= 2
    assert seen["argv"][1:] == ["report", file, "say", f"on {port}", "serve", port]
    assert seen["env"] == {"URL": f"http://0.0.0.0:{port}/", "QUOTE": env["QUOTE"], **OWN}
    assert spawned.reply["dropped_env"] == ["PYTHONPATH"]
    assert (seen["cwd"], seen["umask"], seen["stdin"]) == ("/home/zoe", 0o022, "/dev/null")
    assert seen["descriptors"] == ["0", "1", "2"]
    assert (seen["ignored"], seen["blocked"], seen["capabilities"]) == (0, 0, "0" * 16)
    assert f"on {port}" in jobs.read_log(spawned).splitlines()
    jobs.stop(spawned)


def test_what_the_policy_lets_pass_of_slurms_variables_reaches_the_server(
    jobs: JobMediator,
) -> None:
    jobs.set_policy(f"[slurm]\nenvironment = ['SLURM_JOB_*']\n{PROFILE}")
    file = "/home/zoe/seen.json"
    spawned = jobs.spawn("report", file, "serve", "{port}", env={"SLURM_JOB_NAME": "mine"})
    seen = json.loads(jobs.machine.read(file))["env"]
    jobs.machine.run(["rm", file])
    assert seen["SLURM_JOB_ID"] == spawned.reply["job"]
    assert seen["SLURM_JOB_NAME"] == "mine"
    assert "SLURM_CPUS_ON_NODE" not in seen
    jobs.stop(spawned)


def test_nothing_that_has_ended_waits_beside_a_server_to_be_reaped(jobs: JobMediator) -> None:
    spawned = jobs.spawn("serve", "{port}")
    ps = ["ps", "--user", "zoe", "--format", "stat=,comm="]

    def list_ours() -> list[str]:
        lines = jobs.machine.run(ps, check=False).stdout.splitlines()
        return [line for line in lines if "sudospawner-slu" in line]

    # The one that stays with the server.
    wait_until(lambda: len(list_ours()) == 1, "the end of what has written the comment")
    assert not list_ours()[0].startswith("Z")
    jobs.stop(spawned)


@in_each_way
def test_status_kill_and_stop_are_about_the_job(jobs: JobMediator) -> None:
    spawned = jobs.spawn("end-at", "15", "7", "serve", "{port}")
    status = jobs.ask("status", spawned)
    assert (status["alive"], status["state"], status["job"]) == (
        True,
        "RUNNING",
        spawned.reply["job"],
    )
    assert status["uid"] == jobs.machine.look_up_account("zoe").uid
    assert 0 < status["remaining"] <= 20 * 60
    assert jobs.ask("kill", spawned, signal=0)["alive"] is True
    assert jobs.ask("kill", spawned, signal=15)["alive"] is True
    wait_until(lambda: not jobs.ask("status", spawned)["alive"], "the server's end")
    jobs.cluster.wait_until_idle()
    ended = jobs.ask("status", spawned)
    assert ended == {"ok": True, "alive": False, "exit": 7, "signal": None}
    assert jobs.ask("kill", spawned, signal=15)["alive"] is False
    assert jobs.stop(spawned)["alive"] is False


def test_a_stop_ends_a_server_that_hears_no_signal_with_all_that_it_left(
    jobs: JobMediator,
) -> None:
    spawned = jobs.spawn("leave", "stubborn", "serve", "{port}")
    assert len(jobs.list_processes()) >= 4
    stopped = jobs.stop(spawned, interrupt_seconds=1)
    assert stopped["alive"] is False
    assert jobs.list_processes() == []


def test_the_end_of_a_server_before_it_listens_is_told_with_its_last_words(
    jobs: JobMediator,
) -> None:
    spawned = jobs.spawn("say", "No module named jupyterlab", "exit", "3")
    reply = spawned.reply
    assert (reply["ok"], reply["code"], reply["exit"], reply["signal"]) == (
        False,
        "exited_early",
        3,
        None,
    )
    assert reply["stderr"].splitlines()[-1] == "No module named jupyterlab"
    killed = jobs.spawn("die", "9").reply
    assert (killed["code"], killed["exit"], killed["signal"]) == ("exited_early", None, 9)


def test_a_job_that_waits_too_long_is_cancelled_and_says_why_it_waited(jobs: JobMediator) -> None:
    for node in NODES:
        busy = ["--time=5", f"--cpus-per-task={CPUS}", f"--nodelist={node.name}"]
        jobs.cluster.wait_for(jobs.cluster.submit("exec sleep 9999", *busy), "RUNNING")
    spawned = jobs.spawn("serve", "{port}", wait={"seconds": 12}, events=True)
    assert spawned.reply["code"] == "job_pending"
    assert spawned.events[-1]["state"] == "PENDING"
    reason = spawned.events[-1]["reason"] or "no reason given"
    assert f"waited 12 s in Slurm's queue ({reason}; " in spawned.reply["error"]
    job = int(spawned.events[-1]["job"])
    assert jobs.cluster.wait_for_end(job).state == "CANCELLED"


@in_each_way
def test_a_server_that_does_not_listen_in_time_is_cancelled(jobs: JobMediator) -> None:
    spawned = jobs.spawn("sleep", "9999", wait={"seconds": 8}, events=True)
    assert spawned.reply["code"] == "job_silent"
    assert "slurm-" in spawned.reply["error"]
    job = int(spawned.events[-1]["job"])
    assert jobs.cluster.wait_for_end(job).state == "CANCELLED"
    assert jobs.list_processes() == []


def test_a_request_is_within_its_profile(jobs: JobMediator) -> None:
    jobs.set_policy(PROFILE + OTHERS)
    spawned = jobs.spawn("serve", "{port}", profile="big", limits={"cpus": 1.5})
    shown = jobs.cluster.show(int(spawned.reply["job"]))
    for part in ("NumCPUs=2 ", "TimeLimit=00:05:00 ", "Partition=debug ", "MinMemoryNode=128M "):
        assert part in shown
    jobs.stop(spawned)
    less = jobs.spawn("serve", "{port}", limits={"memory": 32 << 20})
    assert "MinMemoryNode=32M " in jobs.cluster.show(int(less.reply["job"]))
    jobs.stop(less)
    for fields, code in [
        ({"limits": {"cpus": 1.5}}, "limit_exceeds_policy"),
        ({"limits": {"memory": 1 << 30}, "profile": "small"}, "limit_exceeds_policy"),
        ({"profile": "huge"}, "profile_unknown"),
        ({"profile": ""}, "profile_unknown"),
        ({"wait": {"seconds": 60, "port": 4002}}, "malformed_request"),
    ]:
        refused = jobs.spawn("serve", "{port}", **fields)
        assert (refused.reply["code"], refused.status) == (code, 1), fields
    assert jobs.cluster.list_scripts() == []


def test_a_profile_is_for_the_members_of_its_groups(jobs: JobMediator) -> None:
    jobs.set_policy(f"{PROFILE}[slurm.profiles.gpu]\ngroups = ['gpu-users']\ntime = '5'\n")
    profiles = [jobs.path, "profiles", "--user=zoe"]

    def list_profiles() -> list[str]:
        said = json.loads(jobs.machine.run(profiles, user="rhea").stdout)
        return [profile["name"] for profile in said["profiles"]]

    assert list_profiles() == ["small"]
    assert jobs.spawn("serve", "{port}", profile="gpu").reply["code"] == "profile_not_permitted"
    jobs.machine.run("groupadd gpu-users && gpasswd --add zoe gpu-users")
    try:
        assert list_profiles() == ["small", "gpu"]
        spawned = jobs.spawn("serve", "{port}", profile="gpu")
        assert spawned.reply["ok"] is True
        jobs.stop(spawned)
    finally:
        jobs.machine.run(["groupdel", "gpu-users"])


def test_what_goes_wrong_on_the_node_has_its_usual_code(jobs: JobMediator) -> None:
    assert jobs.spawn("serve", "{port}", target="nohome").reply["code"] == "job_refused"
    server = jobs.folder / "sudospawner-singleuser"
    jobs.machine.run(["rm", server])
    missing = jobs.spawn("serve", "{port}").reply
    assert missing["code"] == "server_missing"
    assert str(jobs.folder) in missing["error"]
    jobs.put_server("#!/no/such/interpreter\n")
    assert jobs.spawn("serve", "{port}").reply["code"] == "exec_failed"
    jobs.put_server()


def test_the_hub_asks_for_all_of_its_jobs_at_once(jobs: JobMediator) -> None:
    first = jobs.spawn("serve", "{port}")
    other = jobs.spawn("serve", "{port}", target="wash")
    numbers = f"{first.reply['job']}\n{other.reply['job']}\n99999\n"
    words = [jobs.path, "jobs", "--address"]
    said = json.loads(jobs.machine.run(words, user="rhea", input=numbers).stdout)
    assert said["ok"] is True
    assert sorted(said["jobs"]) == sorted([first.reply["job"], other.reply["job"]])
    found = said["jobs"][other.reply["job"]]
    assert found["uid"] == jobs.machine.look_up_account("wash").uid
    assert (found["state"], found["address"]) == ("RUNNING", other.reply["host"])
    assert found["started"] == other.reply["started"]
    jobs.stop(first)
    jobs.stop(other, target="wash")
    wrong = jobs.machine.run(words, user="rhea", input="--all\n", check=False)
    assert json.loads(wrong.stdout)["code"] == "usage"
