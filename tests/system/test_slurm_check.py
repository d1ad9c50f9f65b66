"""`sudospawner check` finds what keeps a cluster from running servers, and says what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system.slurm import Cluster
from system.slurm_servers import PROFILE, JobMediator, jobs_in


@pytest.fixture
def jobs(cluster: Cluster, programs: Path) -> Iterator[JobMediator]:
    """A mediator in user mode, on a cluster without jobs."""
    with jobs_in("user", cluster, programs / "sudospawner") as mediator:
        yield mediator


def check(jobs: JobMediator, *options: str, viewer: str = "root") -> dict[str, dict[str, Any]]:
    """The findings about Slurm, by their codes."""
    words = [jobs.path, "check", "--json", "--hub-user=rhea", "--user=zoe", *options]
    report = json.loads(jobs.machine.run(words, user=viewer, check=False).stdout)
    found = [finding for finding in report["findings"] if finding["area"] == "slurm"]
    for finding in found:
        assert finding["level"] != "problem" or finding["remedy"], finding
    return {finding["code"]: finding for finding in found}


def test_all_is_well_with_a_cluster_that_takes_the_profiles_and_a_node_that_has_the_server(
    jobs: JobMediator,
) -> None:
    found = check(jobs, "--deep")
    levels = {code: finding["level"] for code, finding in found.items()}
    assert levels == {
        "slurm_controller": "ok",
        "hub_address": "warning",
        "slurm_profile": "ok",
        "slurm_node": "ok",
    }
    assert jobs.cluster.list_scripts() == []


def test_a_hub_that_nodes_are_told_to_reach_is_no_warning(jobs: JobMediator) -> None:
    unit = "[Service]\nUser=rhea\nWorkingDirectory=/var/lib/rhea\nExecStart=/opt/x/jupyterhub\n"
    jobs.machine.write("/etc/systemd/system/jupyterhub.service", unit)
    configuration = "/var/lib/rhea/jupyterhub_config.py"
    try:
        for address, level in [("10.20.0.254", "ok"), ("127.0.0.1", "warning")]:
            line = f"c.JupyterHub.hub_connect_ip = '{address}'\n"
            jobs.machine.write(configuration, line, owner="rhea")
            finding = check(jobs, "--unit=jupyterhub.service")["hub_address"]
            assert (finding["level"], address in finding["sentence"]) == (level, True)
    finally:
        jobs.machine.run(["rm", "/etc/systemd/system/jupyterhub.service", configuration])


def test_with_certificates_munge_has_to_be_there(jobs: JobMediator) -> None:
    unit = "[Service]\nUser=rhea\nWorkingDirectory=/var/lib/rhea\nExecStart=/opt/x/jupyterhub\n"
    jobs.machine.write("/etc/systemd/system/jupyterhub.service", unit)
    configuration = "/var/lib/rhea/jupyterhub_config.py"
    jobs.machine.write(configuration, "c.JupyterHub.internal_ssl = True\n", owner="rhea")
    try:
        assert check(jobs, "--unit=jupyterhub.service")["slurm_seal"]["level"] == "ok"
        jobs.machine.run(["mv", "/usr/bin/munge", "/usr/bin/munge.away"])
        finding = check(jobs, "--unit=jupyterhub.service")["slurm_seal"]
        assert (finding["level"], "munge is not installed" in finding["sentence"]) == (
            "problem",
            True,
        )
    finally:
        jobs.machine.run("mv -f /usr/bin/munge.away /usr/bin/munge", check=False)
        jobs.machine.run(["rm", "/etc/systemd/system/jupyterhub.service", configuration])


def test_a_profile_that_slurm_refuses_is_named_with_slurms_words(jobs: JobMediator) -> None:
    jobs.set_policy(PROFILE.replace("cpus", "partition = 'nowhere'\ncpus"))
    finding = check(jobs, "--deep")["slurm_profile"]
    assert finding["level"] == "problem"
    assert "the profile small" in finding["sentence"]
    assert "invalid partition specified: nowhere" in finding["sentence"]


def test_a_node_without_the_program_is_found_by_a_job_that_looks(jobs: JobMediator) -> None:
    jobs.set_policy(f"[slurm]\nbinary = '/no/where/sudospawner-slurm'\n{PROFILE}")
    assert "slurm_node" not in check(jobs)
    finding = check(jobs, "--deep")["slurm_node"]
    assert finding["level"] == "problem"
    assert "/no/where/sudospawner-slurm did not run (status 127)" in finding["sentence"]


def test_a_node_without_a_server_is_found_too(jobs: JobMediator) -> None:
    jobs.machine.run(["rm", jobs.folder / "sudospawner-singleuser"])
    finding = check(jobs, "--deep")["slurm_node"]
    assert finding["level"] == "problem"
    assert "there is no server executable" in finding["sentence"]
    jobs.put_server()


def test_programs_that_are_missing_and_a_controller_that_is_away_are_told_apart(
    jobs: JobMediator,
) -> None:
    jobs.set_policy(f"[slurm]\nprograms = '/no/where'\n{PROFILE}")
    assert "/no/where/squeue cannot be executed" in check(jobs)["slurm_programs"]["sentence"]
    jobs.set_policy()
    with jobs.cluster.down():
        found = check(jobs)
    assert "Unable to contact slurm controller" in found["slurm_controller"]["sentence"]
    assert "slurm_profile" not in found


def test_a_mistake_in_the_section_is_a_problem_with_its_line(jobs: JobMediator) -> None:
    jobs.set_policy("[slurm]\nport = '1-2'\n")
    finding = check(jobs)["slurm_section"]
    assert "unknown field `port`" in finding["sentence"]
    checked = jobs.machine.run([jobs.path, "policy", "--check", jobs.POLICY], check=False)
    assert checked.returncode == 1
    assert "unknown field `port`" in checked.stderr
    assert jobs.spawn("serve", "{port}").reply["code"] == "policy_malformed"


def test_the_hubs_account_is_told_what_only_root_sees(jobs: JobMediator) -> None:
    finding = check(jobs, "--deep", viewer="rhea")["slurm_profile"]
    assert (finding["level"], "only root" in finding["sentence"]) == ("ok", True)
