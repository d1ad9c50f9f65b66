"""Members of `targets.deny_groups` have no servers, whoever asks.

`sudospawner check` warns of targets who can become root until they are denied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.jsd import Helper
from system.mediator import Mediator, RootMediator
from system.units import MODES, UnitMediator, mediator_in

TARGETS = '[targets]\ngroups = ["jupyterhub"]\nusers = ["zoe"]\n'


@pytest.fixture(params=MODES)
def mediator(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in each mode."""
    with mediator_in(request.param, machine, hub6.bin / "sudospawner") as mediator:
        yield mediator


@pytest.fixture
def member(machine: Machine) -> Iterator[str]:
    """io, who may have a server and is in the group of the disks."""
    machine.run(["useradd", "--create-home", "--groups", "jupyterhub,disk", "io"])
    yield "io"
    # With its own group as the primary one, userdel takes that away, too.
    machine.run("usermod --gid io io && userdel --remove io")


def deny(mediator: Mediator, *groups: str) -> None:
    """Have the policy deny these groups."""
    policy = f"{TARGETS}deny_groups = {json.dumps(groups)}\n"
    if isinstance(mediator, UnitMediator):
        policy += '[server]\nlauncher = "systemd"\n'
    mediator.machine.write(RootMediator.POLICY, f'hub_users = ["rhea"]\n{policy}')


def expect_refusal(mediator: Mediator, target: str, group: str) -> None:
    """Ask for a server, and expect a refusal that names the group."""
    answer = mediator.spawn(target=target)
    assert (answer.reply["code"], answer.status) == ("target_not_permitted", 1), answer
    assert group in answer.reply["error"]
    assert mediator.list_processes(target) == []


def test_a_member_of_a_denied_group_has_no_server_and_everyone_else_has(
    mediator: Mediator, member: str
) -> None:
    deny(mediator, "sudo", "disk")
    expect_refusal(mediator, member, "it is in the group disk")
    # Where it is the primary group, too, which no list of members shows.
    mediator.machine.run(f"gpasswd --delete {member} disk && usermod --gid disk {member}")
    expect_refusal(mediator, member, "it is in the group disk")
    spawned = mediator.spawn()
    assert spawned.reply["ok"], spawned
    assert mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False


def test_a_denied_group_that_is_not_known_refuses_everyone(mediator: Mediator) -> None:
    """A directory that does not answer knows no group either, and has members in it."""
    deny(mediator, "disk", "dsik")
    expect_refusal(mediator, "zoe", "knows no group dsik")


def test_jsd_helper_starts_no_unit_for_a_member_of_a_denied_group(
    machine: Machine, hub6: Cache, member: str
) -> None:
    helper = Helper(machine, hub6.bin / "jsd-helper")
    account = machine.look_up_account(member)
    ids = {"uid": str(account.uid), "gid": str(account.gid), "directory": account.home}
    words = helper.list_words(args=["sleep"], **ids)
    try:
        for groups, sentence in [
            ('["disk"]', "it is in the group disk"),
            ('["dsik"]', "knows no group dsik"),
        ]:
            helper.set_policy(f"{TARGETS}deny_groups = {groups}\n")
            run = helper.call(words)
            assert run.returncode != 0
            assert sentence in run.stderr
            assert not helper.is_running()
    finally:
        helper.remove_all()


def check(mediator: Mediator, viewer: str, *options: str) -> dict[str, list[dict[str, str]]]:
    """What the check warns about and finds wrong, by code."""
    mode = "root" if isinstance(mediator, RootMediator) else "user"
    words = [mediator.path, "check", "--json", f"--mode={mode}", "--hub-user=rhea", "--pam=no"]
    run = mediator.machine.run([*words, *options], user=viewer, check=False)
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(run.stdout)["findings"]:
        if finding["level"] != "ok":
            found.setdefault(finding["code"], []).append(finding)
    return found


@pytest.mark.parametrize("mediator", ["user", "root"], indirect=True)
@pytest.mark.parametrize("viewer", ["root", "rhea"])
def test_the_check_warns_of_targets_who_can_become_root_until_they_are_denied(
    mediator: Mediator, member: str, viewer: str
) -> None:
    area = "policy" if isinstance(mediator, RootMediator) else "sudo"
    assert [one["area"] for one in check(mediator, viewer, "--user=zoe")["becomes_root"]] == [area]
    found = check(mediator, viewer, "--user=io")["becomes_root"]
    of_all, of_io = sorted(found, key=lambda finding: finding["area"] == "target")
    assert (of_all["area"], of_all["level"]) == (area, "warning")
    assert f"{member} (disk)" in of_all["sentence"]
    assert (of_io["area"], of_io["level"]) == ("target", "warning")
    assert "read and write whole disks" in of_io["sentence"]
    if isinstance(mediator, RootMediator):
        mediator.machine.run(["sh", "-c", of_io["remedy"]])
        assert "it is in the group disk" in mediator.spawn(target=member).reply["error"]
    else:
        # A policy would change more than this.
        assert "remedy" not in of_io and "remedy" not in of_all
        deny(mediator, "disk")
    found = check(mediator, viewer, "--user=io")
    assert "becomes_root" not in found
    [refused] = found["target_not_permitted"]
    assert "is in disk, one of targets.deny_groups" in refused["sentence"]
    assert refused["remedy"] == "gpasswd --delete io disk"
    # Nor is such an account an example of one that has a server.
    assert "target_not_permitted" not in check(mediator, viewer)


@pytest.mark.parametrize("mediator", ["user", "root"], indirect=True)
@pytest.mark.parametrize(
    "groups", ["['disk', 'd.ik', \"sudo\"]", '[\n  "disk",\n  # Old.\n  "d.ik"\n]']
)
def test_a_denied_group_that_is_not_known_is_found_and_taken_out(
    mediator: Mediator, groups: str
) -> None:
    machine, policy = mediator.machine, RootMediator.POLICY
    machine.write(policy, f'hub_users = ["rhea"]\n{TARGETS}deny_groups = {groups}\n')
    tried = machine.run([mediator.path, "policy", "--check", policy], check=False)
    assert "targets.deny_groups names d.ik, and there is no such group" in tried.stderr
    [found] = check(mediator, "root", "--user=zoe")["targets_group"]
    assert found["level"] == "problem"
    machine.run(["sh", "-c", found["remedy"]])
    assert "targets_group" not in check(mediator, "root", "--user=zoe")
    kept = machine.read(policy)
    assert "disk" in kept and "d.ik" not in kept
    spawned = mediator.spawn()
    assert spawned.reply["ok"], spawned
    assert mediator.stop(spawned)["alive"] is False
