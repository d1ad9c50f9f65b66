"""A spawn that goes wrong in the middle leaves a server that its caller knows, or none.

The controller stops, is held up, is slow and comes back at any moment, munge is down, programs are
missing, and the target's own processes stop or kill what acts for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from machine.slurm_files import NODES
from system.mediator import wait_until
from system.slurm import Cluster
from system.slurm_calls import Begun, begin, start
from system.slurm_servers import PROFILE, JobMediator

SUBMITTER = "sudospawner-slu"


def list_submitters(jobs: JobMediator) -> list[str]:
    """The pids of zoe's processes that have submitted a job, and stay until its caller knows."""
    words = ["pgrep", "-u", "zoe", "-f", "sudospawner-slurm submit"]
    return jobs.machine.run(words, check=False).stdout.split()


def list_pids_of_root(jobs: JobMediator) -> list[str]:
    """Root's processes of this mediator's calls."""
    words = ["pgrep", "-u", "root", "-f", f"^(sudo .*)?{jobs.path}( |$)"]
    return jobs.machine.run(words, check=False).stdout.split()


def find_states(cluster: Cluster, name: str) -> list[str]:
    """The states of the jobs that are called so."""
    return [job.state for job in cluster.list_jobs().values() if job.name == name]


def make_name(jobs: JobMediator) -> str:
    """A name for servers in this mode."""
    return "user" if jobs.runas != "root" else "root"


def test_a_job_whose_submission_was_not_answered_is_cancelled_when_the_controller_is_back(
    both: list[JobMediator],
) -> None:
    """Held up, it has taken the request, and carries it out when nobody waits for it any more."""
    cluster = both[0].cluster
    with cluster.held_up():
        calls = [start(jobs, "serve", "{port}", server_name=make_name(jobs)) for jobs in both]
        for call in calls:
            reply = Begun(call, {}).finish().reply
            assert reply["code"] == "slurm_unavailable"
    for jobs in both:
        name = f"sudospawner-{make_name(jobs)}"
        wait_until(lambda name=name: find_states(cluster, name), "the job", 120)
        wait_until(
            lambda name=name: find_states(cluster, name) == ["CANCELLED"], "the job's end", 120
        )
    wait_until(lambda: list_submitters(both[0]) == [], "the end of what acts for zoe", 120)


def test_jobs_that_nobody_has_are_cancelled_when_a_controller_that_was_away_is_back(
    both: list[JobMediator],
) -> None:
    """Their callers were gone, or waited to the end. Nothing of root's waits for the controller."""
    cluster = both[0].cluster
    both[0].set_policy(f"{PROFILE}options = ['--hold']\n")
    gone = [begin(jobs, "exit", "0", server_name=f"gone-{make_name(jobs)}") for jobs in both]
    last = [
        begin(jobs, "exit", "0", server_name=f"last-{make_name(jobs)}", seconds=2) for jobs in both
    ]
    with cluster.down():
        for server in gone:
            server.give_up()
        for server in last:
            assert server.finish().reply["code"] == "slurm_unavailable"
        wait_until(lambda: list_pids_of_root(both[1]) == [], "the end of root's part")
    for server in (*gone, *last):
        assert cluster.wait_for_end(server.job).state == "CANCELLED"
    wait_until(lambda: list_submitters(both[0]) == [], "the end of what acts for zoe", 120)


def restart(cluster: Cluster) -> None:
    """Restart the controller."""
    cluster.machine.run(["systemctl", "restart", "slurmctld"])
    wait_until(cluster.is_answering, "the controller's answer")


def test_a_controller_that_is_restarted_while_a_job_waits_and_starts_changes_nothing(
    jobs: JobMediator,
) -> None:
    file = "/home/zoe/now"
    jobs.set_policy(f"{PROFILE}options = ['--hold']\n")
    server = begin(jobs, "wait-for", file, "serve", "{port}")
    restart(jobs.cluster)
    assert not server.is_over()
    jobs.machine.run(["scontrol", "release", str(server.job)])
    jobs.cluster.wait_for(server.job, "RUNNING")
    restart(jobs.cluster)
    with jobs.cluster.down():
        # It listens now, and its job can tell nobody.
        jobs.machine.run(["touch", file], user="zoe")
        listens = "ip netns exec {node} ss -Hltn | grep -q LISTEN"
        lines = [listens.format(node=node.name) for node in NODES]
        wait_until(
            lambda: jobs.machine.run(" || ".join(lines), check=False).returncode == 0, "the server"
        )
    answer = server.finish()
    jobs.machine.run(["rm", file])
    assert answer.reply["ok"] is True, answer
    assert answer.reply["job"] == str(server.job)
    assert jobs.stop(answer)["alive"] is False


@pytest.mark.parametrize("jobs", ["root"], indirect=True)
def test_a_spawn_at_a_controller_that_comes_late_or_is_slow_succeeds(jobs: JobMediator) -> None:
    with jobs.cluster.down():
        late = start(jobs, "serve", "{port}")
        sbatch = ["pgrep", "-u", "zoe", "-x", "sbatch"]
        wait_until(lambda: jobs.machine.run(sbatch, check=False).stdout, "the submission")
    answer = Begun(late, {}).finish()
    assert answer.reply["ok"] is True, answer
    assert jobs.stop(answer)["alive"] is False
    with jobs.cluster.slow(1):
        answer = jobs.spawn("serve", "{port}")
        assert jobs.ask("status", answer)["state"] == "RUNNING"
        assert jobs.stop(answer)["alive"] is False


@pytest.mark.parametrize("jobs", ["user"], indirect=True)
def test_without_slurm_a_call_says_so_and_leaves_nothing(jobs: JobMediator) -> None:
    spawned = jobs.spawn("serve", "{port}")
    jobs.machine.run(["systemctl", "stop", "munge"])
    try:
        refused = jobs.spawn("serve", "{port}", server_name="other")
        asked = jobs.ask("status", spawned)
    finally:
        jobs.machine.run(["systemctl", "start", "munge"])
    assert (refused.reply["code"], refused.status) == ("slurm_unavailable", 0)
    assert asked["code"] == "slurm_unavailable"
    jobs.set_policy(f"[slurm]\nprograms = '/srv'\n{PROFILE}")
    missing = jobs.spawn("serve", "{port}", server_name="other").reply
    assert missing["code"] == "slurm_unavailable"
    assert "slurm.programs" in missing["error"]
    assert jobs.ask("stop", spawned)["code"] == "slurm_unavailable"
    listed = jobs.machine.run([jobs.path, "jobs"], user="rhea", input="1\n", check=False)
    assert json.loads(listed.stdout)["code"] == "slurm_unavailable"
    jobs.set_policy()
    assert jobs.ask("status", spawned)["state"] == "RUNNING"
    assert jobs.stop(spawned)["alive"] is False
    assert find_states(jobs.cluster, "sudospawner-other") == []
    wait_until(lambda: list_submitters(jobs) == [], "the end of what acts for zoe", 120)


def test_of_two_spawns_of_one_server_one_stays_and_the_other_says_why_not(
    jobs: JobMediator,
) -> None:
    calls = [start(jobs, "sleep", "2", "serve", "{port}") for _ in range(2)]
    answers = [Begun(call, {}).finish().reply for call in calls]
    [stays] = [reply for reply in answers if reply["ok"]]
    [ended] = [reply for reply in answers if not reply["ok"]]
    assert (ended["code"], ended["result"]) == ("exited_early", "CANCELLED")
    about = {"job": stays["job"], "started": stays["started"]}
    assert jobs.call({"action": "status", **about}).reply["state"] == "RUNNING"
    assert find_states(jobs.cluster, "sudospawner").count("RUNNING") == 1
    assert jobs.call({"action": "stop", **about}).reply["alive"] is False


def kill(jobs: JobMediator, number: str) -> Callable[[], bool]:
    """Have zoe signal what has submitted her job; whether there was such a process."""
    words = ["pkill", f"-{number}", "-u", "zoe", "-x", SUBMITTER]
    return lambda: jobs.machine.run(words, user="zoe", check=False).returncode == 0


def test_a_target_that_kills_what_acts_for_it_is_told_so_and_its_next_server_is_the_only_one(
    jobs: JobMediator,
) -> None:
    with jobs.cluster.drained(*NODES):
        server = begin(jobs, "serve", "{port}")
        wait_until(kill(jobs, "KILL"), "the process")
        reply = server.finish().reply
        assert (reply["ok"], reply["code"]) == (False, "launch_failed"), reply
    again = jobs.spawn("serve", "{port}")
    assert again.reply["ok"] is True
    assert jobs.cluster.wait_for_end(server.job).state == "CANCELLED"
    assert jobs.stop(again)["alive"] is False


def test_a_target_that_stops_what_acts_for_it_keeps_nothing_of_roots(jobs: JobMediator) -> None:
    with jobs.cluster.drained(*NODES):
        server = begin(jobs, "serve", "{port}")
        wait_until(kill(jobs, "STOP"), "the process")
        assert list_pids_of_root(jobs) != []
        server.give_up()
        wait_until(lambda: list_pids_of_root(jobs) == [], "the end of root's part", 120)
        kill(jobs, "CONT")()
        assert jobs.cluster.wait_for_end(server.job).state == "CANCELLED"
    wait_until(lambda: list_submitters(jobs) == [], "the end of what acts for zoe", 120)
