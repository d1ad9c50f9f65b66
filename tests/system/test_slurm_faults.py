"""What goes wrong with a cluster, as it looks from the machine that asks it.

Nodes that are full, drained or dead, a controller that is slow or does not answer, and the end of a
job's time.
"""

from __future__ import annotations

import subprocess
import time

from machine.slurm_files import CPUS, NODES, PORT
from system.mediator import wait_until
from system.slurm import STUBBORN, Cluster


def test_a_full_cluster_says_why_a_job_waits_and_when_it_may_start(cluster: Cluster) -> None:
    for node in NODES:
        busy = ["--time=5", f"--cpus-per-task={CPUS}", f"--nodelist={node.name}"]
        cluster.wait_for(cluster.submit("exec sleep 9999", *busy), "RUNNING")
    job = cluster.submit("exit 0", "--time=5")

    def is_explained() -> bool:
        # Two schedulers give the two, in either order.
        waiting = cluster.look_up(job)
        return waiting.reason in ("Resources", "Priority") and waiting.starts > waiting.submitted

    wait_until(is_explained, "a reason and an estimate", 120)
    assert cluster.look_up(job).state == "PENDING"
    assert cluster.look_up(job).host == ""


def test_a_job_starts_on_no_node_that_is_drained(cluster: Cluster) -> None:
    with cluster.drained(*NODES):
        job = cluster.submit("exec sleep 9999")
        wait_until(lambda: cluster.look_up(job).reason not in ("None", "Priority"), "a reason", 120)
        assert cluster.look_up(job).state == "PENDING"
    cluster.wait_for(job, "RUNNING")


def test_a_job_of_a_node_that_dies_has_failed_and_does_not_start_again(cluster: Cluster) -> None:
    node, other = NODES
    again = "echo started; exec sleep 9999"
    job = cluster.submit(again, "--no-requeue", f"--nodelist={node.name}")
    cluster.wait_for_output(job, "started")
    with cluster.dead(node):
        assert cluster.look_up(job).state == "RUNNING"
        cluster.mark_down(node)
        assert cluster.wait_for_end(job).state == "NODE_FAIL"
        assert cluster.list_states()[other.name] == "idle"
    assert cluster.look_up(job).state == "NODE_FAIL"
    assert cluster.read_output(job).splitlines().count("started") == 1


def test_a_controller_that_is_held_up_answers_afterwards(cluster: Cluster) -> None:
    machine = cluster.machine
    connected = ["ss", "-Hnt", "state", "established", f"dport = :{PORT}"]
    with cluster.held_up():
        words = ["squeue", "--all", "--noheader"]
        asked = machine.start(words, user="rhea", stdout=subprocess.PIPE, text=True)
        wait_until(lambda: machine.run(connected).stdout != "", "the question")
        assert asked.poll() is None
    assert asked.communicate() == ("", None)
    assert asked.returncode == 0


def test_a_slow_controller_is_a_slow_answer(cluster: Cluster) -> None:
    with cluster.slow(1):
        began = time.monotonic()
        cluster.run("squeue", "--noheader", user="rhea")
        assert time.monotonic() - began >= 1


def test_a_signal_comes_before_the_end_of_a_jobs_time(cluster: Cluster) -> None:
    """Slurm looks at the times of its jobs every half minute, and sends it rather too early."""
    job = cluster.submit(STUBBORN, "--time=1", "--signal=B:TERM@30")
    cluster.wait_for_output(job, "SIGTERM")
    found = cluster.look_up(job)
    assert found.state == "RUNNING"
    assert time.time() < found.ends
