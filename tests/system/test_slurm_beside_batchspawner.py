"""The same server through our Hub and through batchspawner's, on one cluster: what each lets see.

batchspawner has its defaults, and the rules of sudo that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from machine.batchspawner import make_batchspawner_hub, permit_slurm
from machine.hub import Hub
from system.mediator import wait_until
from system.slurm import Cluster
from system.slurm_hub import SERVER, JobHub, install_for_jobs

PLACE = "/opt/server/server"
BOTH = ("ours", "batchspawner")
USERS = {"ours": "zoe", "batchspawner": "wash"}
STATES = {"ours": "job", "batchspawner": "job_id"}
PS = ["ps", "axeww"]
# What anybody may look at. The last one reads what can be read of the spool folders.
LOOKS = [
    PS,
    ["scontrol", "show", "job", "--details"],
    ["squeue", "--all", "--json"],
    ["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true"],
    ["sh", "-c", "grep -rs '' /var/lib/slurm /run/slurm* /home; true"],
]


class Started(NamedTuple):
    """A server that runs: whose, in which job, and the environment that it has."""

    user: str
    job: int
    env: dict[str, str]


def read_environment(cluster: Cluster, user: str) -> dict[str, str]:
    """The environment of a user's server."""
    pgrep = ["pgrep", "--newest", "--full", "--uid", user, f"sudospawner-singleuser|{PLACE}"]
    pid = cluster.machine.run(pgrep).stdout.strip()
    pairs = cluster.machine.read(f"/proc/{pid}/environ").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.fixture(scope="module")
def servers(booted_cluster: Cluster) -> Iterator[dict[str, Started]]:
    """A server with each; everybody's shell leaves a file when it is one of a login."""
    machine = booted_cluster.machine
    install_for_jobs(booted_cluster, "hub6")
    permit_slurm(machine)
    machine.write(PLACE, SERVER, mode=0o755)
    for user in USERS.values():
        machine.write(f"/home/{user}/.bash_profile", "date >~/logged-in\n", owner=user)
    hubs: dict[str, Hub] = {
        "ours": JobHub(booted_cluster),
        "batchspawner": make_batchspawner_hub(machine, PLACE),
    }
    started = {}
    for name, hub in hubs.items():
        hub.start()
        hub.start_server(USERS[name])
        state = (hub.find_server(USERS[name]) or {})["state"]
        env = read_environment(booted_cluster, USERS[name])
        started[name] = Started(USERS[name], int(state[STATES[name]]), env)
    yield started
    for hub in hubs.values():
        hub.stop_all_servers()
        hub.stop()


@pytest.mark.parametrize("name", BOTH)
def test_nobody_else_sees_the_token_of_a_server(
    booted_cluster: Cluster, servers: dict[str, Started], name: str
) -> None:
    token = servers[name].env["JUPYTERHUB_API_TOKEN"]
    assert token in booted_cluster.run(*PS, user="root").stdout
    for words in LOOKS:
        shown = booted_cluster.run(*words, user="mal").stdout
        assert shown and token not in shown, words
    write = ["scontrol", "write", "batch_script", str(servers[name].job), "-"]
    asked = booted_cluster.run(*write, user="mal", check=False)
    assert (asked.stdout, "Invalid user id" in asked.stderr) == ("", True)


@pytest.mark.parametrize("name", BOTH)
def test_the_controller_keeps_the_token_in_a_file_of_its_own(
    booted_cluster: Cluster, servers: dict[str, Started], name: str
) -> None:
    """In the job's script, or in its environment: it has to reach the node on some way."""
    token = servers[name].env["JUPYTERHUB_API_TOKEN"]
    grep = f"grep -rl {token} /var/lib/slurm/slurmctld"
    [file] = booted_cluster.machine.run(grep).stdout.split()
    owner, mode = booted_cluster.machine.run(["stat", "--format=%U %a", file]).stdout.split()
    assert (owner, mode[-2:]) == ("slurm", "00")


def test_only_batchspawners_servers_have_slurms_variables_and_the_hubs_folder(
    servers: dict[str, Started],
) -> None:
    of_slurm = {
        name: {variable for variable in server.env if variable.startswith(("SLURM", "TMPDIR"))}
        for name, server in servers.items()
    }
    assert of_slurm["ours"] == set()
    assert len(of_slurm["batchspawner"]) > 30
    assert servers["batchspawner"].env["SLURM_SUBMIT_DIR"] == "/var/lib/rhea/hub-8080"


def test_only_batchspawners_jobs_run_what_their_users_have_for_logins(
    booted_cluster: Cluster, servers: dict[str, Started]
) -> None:
    ran = {
        name: booted_cluster.run("ls", "-A", f"/home/{server.user}", user="root").stdout.split()
        for name, server in servers.items()
    }
    assert "logged-in" not in ran["ours"]
    assert "logged-in" in ran["batchspawner"]


def test_with_batchspawners_rules_the_hub_may_run_any_job_and_with_ours_none(
    booted_cluster: Cluster, servers: dict[str, Started]
) -> None:
    script = "#!/bin/sh\nid -un >/home/wash/read-by-hub\n"
    words = ["sudo", "-n", "-u", "wash", "sbatch", "--output=/dev/null"]
    assert booted_cluster.run(*words, user="rhea", input=script).stdout
    file = "/home/wash/read-by-hub"
    wait_until(
        lambda: booted_cluster.machine.run(["test", "-s", file], check=False).returncode == 0, file
    )
    assert booted_cluster.machine.read(file) == "wash\n"
    booted_cluster.machine.run(["mv", "/etc/sudoers.d/batchspawner", "/root/"])
    refused = booted_cluster.run(*words, user="rhea", input=script, check=False)
    booted_cluster.machine.run(["mv", "/root/batchspawner", "/etc/sudoers.d/"])
    assert refused.returncode != 0
    assert "a password is required" in refused.stderr
