"""The cluster of the tests does what a real one does, as far as servers in jobs rely on it.

Where a job runs and is reached, what of it others can read, who may change and end it, what is
known of its end, and what Slurm's programs say when the cluster is not well.
"""

from __future__ import annotations

import json
import socket
import time

import pytest

from machine.catalogue import DEBIANS as ALL
from machine.slurm_files import ADDRESS, KILL_WAIT, MIN_JOB_AGE, NODES, Node
from system.mediator import wait_until
from system.slurm import STUBBORN, Cluster

DEBIANS = tuple(ALL)
SECRET = "token-4f1b9c"
BOTH = pytest.mark.parametrize("node", NODES, ids=[node.name for node in NODES])

LISTEN = """\
#!/usr/bin/python3
import socket, signal
everywhere = socket.create_server(("", 4002))
here = socket.create_server(("127.0.0.1", 4003))
print("listening", flush=True)
signal.pause()
"""
CONNECT = """\
#!/usr/bin/python3
import socket
socket.create_connection(("{address}", {port}))
"""
WAIT = f"#!/bin/sh\n# {SECRET}\necho ready\nexec sleep 9999\n"


@BOTH
def test_a_job_runs_on_either_node_as_its_account_with_its_groups(
    cluster: Cluster, node: Node
) -> None:
    job = cluster.submit("id; hostname; pwd", f"--nodelist={node.name}")
    ended = cluster.wait_for_end(job)
    who = cluster.run("id").stdout.strip()
    assert "jupyterhub" in who
    assert (ended.state, ended.host) == ("COMPLETED", node.name)
    assert cluster.read_output(job).splitlines() == [who, node.name, "/home/zoe"]


def test_what_listens_on_a_node_is_reached_at_the_nodes_address_alone(cluster: Cluster) -> None:
    node, other = NODES

    def is_reached(address: str, port: int) -> bool:
        with cluster.machine.network():
            try:
                socket.create_connection((address, port), timeout=60).close()
            except ConnectionRefusedError:
                return False
        return True

    job = cluster.submit(LISTEN, f"--nodelist={node.name}")
    cluster.wait_for_output(job, "listening")
    assert is_reached(node.address, 4002)
    assert not is_reached("127.0.0.1", 4002)
    assert not is_reached(other.address, 4002)
    assert not is_reached(node.address, 4003)


@BOTH
def test_a_node_reaches_what_listens_on_the_machine(cluster: Cluster, node: Node) -> None:
    """As servers reach their Hub."""
    with cluster.machine.network():
        listener = socket.create_server((ADDRESS, 0))
    with listener:
        listener.settimeout(120)
        connect = CONNECT.format(address=ADDRESS, port=listener.getsockname()[1])
        job = cluster.submit(connect, f"--nodelist={node.name}")
        connection, (address, _) = listener.accept()
        connection.close()
    assert address == node.address
    assert cluster.wait_for_end(job).state == "COMPLETED"


def test_nobody_else_can_read_a_jobs_script(cluster: Cluster) -> None:
    job = cluster.submit(WAIT)
    cluster.wait_for_output(job, "ready")
    write = ["scontrol", "write", "batch_script", str(job), "-"]
    places = "/var/lib/slurm /var/log/slurm /run /tmp /proc/[0-9]*/environ /proc/[0-9]*/cmdline"

    def search(user: str) -> str:
        """The files with the secret in them that an account can read."""
        line = f"grep -rlsF --file=- {places}"
        return cluster.machine.run(line, user=user, input=SECRET, check=False).stdout

    def ask(user: str) -> str:
        """What all can ask."""
        line = "scontrol --all --details show job; squeue --json --all --states=all; ps -eo args"
        return cluster.machine.run(line, user=user).stdout

    assert SECRET in cluster.run(*write).stdout
    assert "slurm_script" in search("zoe")
    for other in ("mal", "rhea", "wash"):
        refused = cluster.run(*write, user=other, check=False)
        assert SECRET not in refused.stdout
        assert "Invalid user id" in refused.stdout + refused.stderr
        assert search(other) == ""
        said = ask(other)
        assert f"JobId={job} " in said
        assert "slurmstepd: [" in said
        assert SECRET not in said


def test_a_job_gets_nothing_of_the_environment_but_what_is_slurms(cluster: Cluster) -> None:
    given = {"TOKEN": SECRET, "SLURM_TOKEN": "seen", "SBATCH_TOKEN": SECRET}
    job = cluster.submit("env", env=given)
    assert cluster.wait_for_end(job).state == "COMPLETED"
    written = cluster.read_output(job)
    assert SECRET not in written
    assert "SLURM_TOKEN=seen" in written.splitlines()


def test_a_job_submitted_from_an_empty_environment_runs_no_profile(cluster: Cluster) -> None:
    """With `--export=NIL`, 22.05 runs the account's login shell on the node before the job."""
    cluster.machine.write("/home/zoe/.profile", "touch profile-was-run\n", owner="zoe")
    script = "#!/bin/sh\nenv\n"
    words = ["env", "--ignore-environment", "/usr/bin/sbatch", "--parsable", "--export=ALL"]
    job = int(cluster.run(*words, input=script).stdout)
    ended = cluster.wait_for_end(job)
    found = cluster.machine.run("rm .profile; rm profile-was-run", user="zoe", check=False)
    assert ended.state == "COMPLETED"
    assert found.returncode != 0
    written = cluster.read_output(job).splitlines()
    assert not any(line.startswith(("HOME=", "PATH=", "USER=", "LANG=")) for line in written)


def test_a_job_writes_its_own_comment_and_the_hub_reads_it(cluster: Cluster) -> None:
    update = 'scontrol update JobId=$SLURM_JOB_ID Comment="listening 4002" && echo written'
    job = cluster.submit(f"{update}; exec sleep 9999")
    cluster.wait_for_output(job, "written")
    assert cluster.look_up(job, user="rhea").comment == "listening 4002"


def test_nobody_else_can_write_the_comment_of_a_job(cluster: Cluster) -> None:
    job = cluster.submit("exec sleep 9999", "--comment=mine")
    words = ["scontrol", "update", f"JobId={job}", "Comment=yours"]
    for other in ("mal", "rhea", "wash"):
        refused = cluster.run(*words, user=other, check=False)
        assert refused.returncode == 1
        assert "Invalid user id" in refused.stdout + refused.stderr
    assert cluster.look_up(job).comment == "mine"


def test_a_comment_has_at_most_1024_bytes(cluster: Cluster) -> None:
    job = cluster.submit("exit 0", "--hold")
    words = ["scontrol", "update", f"JobId={job}"]
    cluster.run(*words, f"Comment={'x' * 1024}")
    refused = cluster.run(*words, f"Comment={'y' * 1025}", check=False)
    assert refused.returncode == 1
    assert cluster.look_up(job).comment == "x" * 1024


def test_a_comment_can_look_like_what_scontrol_says_of_another_job(cluster: Cluster) -> None:
    """So only squeue's JSON can be relied on."""
    job = cluster.submit("exit 0", "--hold")
    forged = "x\nJobId=1 JobState=RUNNING BatchHost=elsewhere"
    cluster.run("scontrol", "update", f"JobId={job}", f"Comment={forged}")
    assert forged in cluster.show(job)
    found = cluster.look_up(job)
    assert (found.state, found.host, found.comment) == ("PENDING", "", forged)


def test_one_comment_can_make_squeues_json_no_utf8(cluster: Cluster) -> None:
    """So who reads the jobs of all has to bear it."""
    job = cluster.submit("exit 0", "--hold")
    update = f"scontrol update JobId={job} Comment=$(printf 'a\\377b')"
    cluster.machine.run(update, user="zoe")
    squeue = ["squeue", "--json", "--all"]
    written = cluster.machine.run(squeue, user="rhea", input=b"").stdout
    assert b'"a\xffb"' in written
    with pytest.raises(UnicodeDecodeError):
        written.decode()


def test_the_hub_sees_jobs_of_a_partition_that_it_may_not_use_if_it_asks_for_all(
    cluster: Cluster,
) -> None:
    job = str(cluster.submit("exit 0", "--hold"))
    squeue = ["squeue", "--noheader", "--format=%A"]
    assert cluster.run(*squeue, user="rhea").stdout == ""
    assert cluster.run(*squeue, "--all", user="rhea").stdout.split() == [job]


def test_nobody_else_can_cancel_a_job(cluster: Cluster) -> None:
    job = cluster.submit("echo ready; exec sleep 9999")
    cluster.wait_for_output(job, "ready")
    for other in ("mal", "rhea", "wash"):
        refused = cluster.run("scancel", str(job), user=other, check=False)
        assert refused.returncode != 0
        assert "Access/permission denied" in refused.stderr
        # Asked for all jobs of an account, it passes over those that it may not end.
        cluster.run("scancel", "--user=zoe", user=other, check=False)
    assert cluster.look_up(job).state == "RUNNING"


def test_a_cancelled_job_gets_sigterm_and_later_sigkill(cluster: Cluster) -> None:
    job = cluster.submit(STUBBORN)
    cluster.wait_for_output(job, "ready")
    began = time.monotonic()
    cluster.run("scancel", str(job))
    cluster.wait_for_output(job, "SIGTERM")
    ended = cluster.wait_for_end(job)
    assert ended.state == "CANCELLED"
    wait_until(lambda: cluster.list_scripts() == [], "the end of its script")
    assert time.monotonic() - began >= KILL_WAIT
    cluster.wait_until_idle()


@pytest.mark.parametrize(
    ("script", "state", "status", "signal"),
    [
        ("exit 0", "COMPLETED", 0, 0),
        ("exit 3", "FAILED", 3, 0),
        ("kill -KILL $$", "FAILED", 0, 9),
    ],
    ids=["a success", "a status", "a signal"],
)
def test_how_a_job_ended_is_known_afterwards(
    cluster: Cluster, script: str, state: str, status: int, signal: int
) -> None:
    ended = cluster.wait_for_end(cluster.submit(script))
    assert (ended.state, ended.exit, ended.signal) == (state, status, signal)
    assert ended.ends >= ended.starts >= ended.submitted > 0
    shown = cluster.run("scontrol", "show", "config").stdout
    assert f"MinJobAge               = {MIN_JOB_AGE} sec" in shown


def test_what_is_to_start_can_be_asked_before(cluster: Cluster) -> None:
    def ask(*options: str) -> tuple[int, str]:
        words = ["sbatch", "--test-only", *options]
        answer = cluster.run(*words, input="#!/bin/sh\n", check=False)
        return answer.returncode, answer.stderr

    status, said = ask()
    assert status == 0
    assert " to start at 20" in said
    assert "in partition jupyter" in said
    status, said = ask("--partition=nosuch")
    assert status == 1
    assert "Invalid partition name specified" in said
    assert cluster.list_jobs().keys() == cluster.list_jobs(user="zoe").keys()


def test_a_stopped_controller_is_no_answer_and_jobs_go_on(cluster: Cluster) -> None:
    job = cluster.submit("echo ready; sleep 9999")
    cluster.wait_for_output(job, "ready")
    with cluster.down():
        asked = cluster.run("squeue", "--json", "--all", user="rhea", check=False)
        assert len(cluster.list_scripts()) == 1
    if cluster.machine.release == 12:
        # It ends with success and shows no jobs: only its list of errors says that it knows none.
        said = json.loads(asked.stdout)
        assert (asked.returncode, said["jobs"]) == (0, [])
        assert said["errors"] != []
    else:
        assert asked.returncode == 1
        assert "Unable to contact slurm controller (connect failure)" in asked.stderr
    assert cluster.look_up(job).state == "RUNNING"


def test_the_times_of_a_job_are_printed(cluster: Cluster) -> None:
    """How long sbatch takes and a job's start, for who reads them: nothing is asserted of them."""
    began = time.monotonic()
    job = cluster.submit("echo started")
    submitted = time.monotonic()
    cluster.wait_for_output(job, "started")
    print(f"sbatch {submitted - began:.3f} s, start {time.monotonic() - submitted:.3f} s")
    assert cluster.wait_for_end(job).state == "COMPLETED"
