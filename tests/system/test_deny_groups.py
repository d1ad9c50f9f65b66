"""Members of `targets.deny_groups` have no servers, whoever asks."""

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
