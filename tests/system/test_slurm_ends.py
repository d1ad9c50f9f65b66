"""How a job ends that nobody of ours has ended, and what is left of a server then: nothing."""

from __future__ import annotations

import pytest

from machine.slurm_files import NODES, URGENT
from system.mediator import wait_until
from system.slurm_calls import begin
from system.slurm_servers import PROFILE, JobMediator

FIRST = f"{PROFILE}nodelist = '{NODES[0].name}'\n"


def test_a_job_that_is_cancelled_while_it_waits_or_starts_is_a_server_that_has_ended(
    jobs: JobMediator,
) -> None:
    starting = begin(jobs, "sleep", "9999", server_name="starting")
    jobs.cluster.wait_for(starting.job, "RUNNING")
    with jobs.cluster.drained(*NODES):
        waiting = begin(jobs, "serve", "{port}", server_name="waiting")
        for server in (starting, waiting):
            jobs.cluster.run("scancel", str(server.job), user="root")
            reply = server.finish().reply
            assert (reply["code"], reply["result"]) == ("exited_early", "CANCELLED")
            assert "its job was cancelled" in reply["error"]
    wait_until(lambda: jobs.list_processes() == [], "the end of its processes")


def test_a_server_whose_node_dies_has_failed_with_it(jobs: JobMediator) -> None:
    jobs.set_policy(FIRST)
    spawned = jobs.spawn("serve", "{port}", server_name="up")
    starting = begin(jobs, "sleep", "9999", server_name="starting")
    jobs.cluster.wait_for(starting.job, "RUNNING")
    with jobs.cluster.dead(NODES[0]):
        # Nobody knows yet.
        assert jobs.ask("status", spawned, server_name="up")["state"] == "RUNNING"
        jobs.cluster.mark_down(NODES[0])
        reply = starting.finish().reply
        status = jobs.ask("status", spawned, server_name="up")
    assert (reply["code"], reply["result"]) == ("exited_early", "NODE_FAIL")
    assert "its node failed" in reply["error"]
    assert (status["alive"], status["result"]) == (False, "NODE_FAIL")


def test_a_server_makes_room_for_a_job_that_goes_first(jobs: JobMediator) -> None:
    jobs.set_policy(FIRST)
    spawned = jobs.spawn("leave", "serve", "{port}", server_name="up")
    starting = begin(jobs, "sleep", "9999", server_name="starting")
    jobs.cluster.wait_for(starting.job, "RUNNING")
    options = (f"--partition={URGENT}", f"--nodelist={NODES[0].name}", "--exclusive")
    urgent = jobs.cluster.submit("exec sleep 9999", *options)
    jobs.cluster.wait_for(urgent, "RUNNING")
    reply = starting.finish().reply
    status = jobs.ask("status", spawned, server_name="up")
    assert (reply["code"], reply["result"]) == ("exited_early", "PREEMPTED")
    assert "had to make room for one of higher priority" in reply["error"]
    assert (status["alive"], status["result"]) == (False, "PREEMPTED")
    jobs.cluster.run("scancel", str(urgent))
    wait_until(lambda: jobs.list_processes() == [], "the end of its processes")


def test_a_server_that_takes_too_much_memory_has_ended_for_that(jobs: JobMediator) -> None:
    if jobs.machine.run(["test", "-d", "/sys/fs/cgroup/memory"], check=False).returncode != 0:
        pytest.skip("memory is enforced by cgroup v1 here, which this computer does not have")
    now = "/home/zoe/now"
    with jobs.cluster.enforcing_memory():
        spawned = jobs.spawn("serve", "{port}", "wait-for", now, "devour", "256", server_name="up")
        jobs.machine.run(["touch", now])
        jobs.cluster.wait_for_end(int(spawned.reply["job"]))
        status = jobs.ask("status", spawned, server_name="up")
        reply = jobs.spawn("devour", "256").reply
    jobs.machine.run(["rm", now])
    # Slurm says 125 for its signal, which is none.
    ended = {"alive": False, "exit": None, "signal": 9, "result": "OUT_OF_MEMORY"}
    assert {key: status[key] for key in ended} == ended
    assert (reply["code"], reply["result"]) == ("exited_early", "OUT_OF_MEMORY")
    assert "its job used more memory than it may" in reply["error"]


def test_a_server_on_a_node_that_is_drained_goes_on(jobs: JobMediator) -> None:
    spawned = jobs.spawn("serve", "{port}")
    with jobs.cluster.drained(*NODES):
        assert jobs.ask("status", spawned)["state"] == "RUNNING"
        assert jobs.stop(spawned)["alive"] is False


def test_a_server_is_told_a_minute_before_its_time_is_over_and_has_to_end_then(
    both: list[JobMediator],
) -> None:
    """Slurm looks at times each half minute."""
    heard, deaf = {}, {}
    for place, jobs in enumerate(both):
        name = {"server_name": f"heard-{place}"}
        heard[place] = jobs.spawn("end-at", "15", "7", "serve", "{port}", **name)
        name = {"server_name": f"deaf-{place}"}
        deaf[place] = jobs.spawn("stubborn", "leave", "serve", "{port}", **name)
    cluster = both[0].cluster
    for spawned, when in [(one, "now+70") for one in heard.values()] + [
        (one, "now+1") for one in deaf.values()
    ]:
        update = ["scontrol", "update", f"JobId={spawned.reply['job']}", f"EndTime={when}"]
        cluster.machine.run(update)
    for spawned in (*heard.values(), *deaf.values()):
        cluster.wait_for_end(int(spawned.reply["job"]))
    for place, jobs in enumerate(both):
        status = jobs.ask("status", heard[place], server_name=f"heard-{place}")
        assert (status["alive"], status["exit"]) == (False, 7)
        assert "the time of this job is over in" in jobs.read_log(heard[place])
        status = jobs.ask("status", deaf[place], server_name=f"deaf-{place}")
        assert (status["alive"], status["result"]) == (False, "TIMEOUT")
    wait_until(lambda: both[0].list_processes() == [], "the end of its processes")


def test_nothing_outlives_a_server_however_it_ends(jobs: JobMediator) -> None:
    """Neither a process with a session of its own nor one that ignores SIGTERM."""
    file = "/home/zoe/now"
    ends = ("itself", "SIGTERM", "SIGKILL", "stop", "scancel", "its process")
    spawned = {}
    for end in ends:
        last = ["wait-for", file, "exit", "3"] if end == "itself" else []
        spawned[end] = jobs.spawn("leave", "serve", "{port}", *last, server_name=end)
    assert sum("9999" in line for line in jobs.list_processes()) == 2 * len(ends)
    pids = jobs.machine.run(["pgrep", "-u", "zoe", "-f", "slurm --in-job"]).stdout.split()
    environments = {pid: jobs.machine.read(f"/proc/{pid}/environ").split("\0") for pid in pids}
    last_job = f"SLURM_JOB_ID={spawned['its process'].reply['job']}"
    [process] = [pid for pid, variables in environments.items() if last_job in variables]
    jobs.machine.run(["touch", file], user="zoe")
    jobs.ask("kill", spawned["SIGTERM"], signal=15, server_name="SIGTERM")
    jobs.ask("kill", spawned["SIGKILL"], signal=9, server_name="SIGKILL")
    jobs.stop(spawned["stop"], interrupt_seconds=5, server_name="stop")
    jobs.cluster.run("scancel", spawned["scancel"].reply["job"])
    jobs.machine.run(["kill", "-KILL", process], user="zoe")
    wait_until(lambda: jobs.list_processes() == [], "the end of all that was left")
    jobs.machine.run(["rm", file])
    for end in ends:
        assert jobs.ask("status", spawned[end], server_name=end)["alive"] is False, end


def test_a_log_that_its_user_has_made_a_pipe_holds_up_no_reply(jobs: JobMediator) -> None:
    log = "/home/zoe/.local/state/sudospawner"
    server = begin(jobs, "wait-for", "/home/zoe/now", "exit", "3")
    jobs.cluster.wait_for(server.job, "RUNNING")
    file = f"{log}/slurm-{server.job}.log"
    wait_until(lambda: jobs.machine.run(["rm", file], check=False).returncode == 0, "the log")
    jobs.machine.run(f"mkfifo {file}; touch now", user="zoe")
    reply = server.finish().reply
    jobs.machine.run(["rm", "/home/zoe/now"])
    assert (reply["code"], reply["exit"], reply["stderr"]) == ("exited_early", 3, "")
