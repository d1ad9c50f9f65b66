"""Names as directories have them, in rules for sudo-rs: written if it reads them, or refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Mediator
from system.odd_names import (
    DIRECTIVES,
    NAMES,
    READ_BY_LATER_SUDO_RS,
    READ_BY_SUDO_ALONE,
    OddNames,
)
from system.sudo_rs import ORIGINS, sudo_rs_in

REFUSED = {
    "crate": READ_BY_SUDO_ALONE,
    "package": (*READ_BY_SUDO_ALONE, *READ_BY_LATER_SUDO_RS, *DIRECTIVES),
}


@pytest.fixture(scope="module", params=ORIGINS)
def origin(request: pytest.FixtureRequest) -> str:
    """Which sudo-rs the machine has."""
    return str(request.param)


@pytest.fixture(scope="module")
def names(origin: str, machine: Machine, hub6: Cache) -> Iterator[OddNames]:
    """A mediator of this file's own, the accounts, and sudo-rs."""
    mediator = Mediator(machine, "/opt/odd-names/bin")
    mediator.install_binary(hub6.bin / "sudospawner")
    with sudo_rs_in(machine, origin), OddNames(mediator).installed() as names:
        yield names
        mediator.forbid()


def test_each_account_is_permitted_by_its_own_rule_and_nobody_else(
    names: OddNames, origin: str
) -> None:
    for name in NAMES:
        if name not in REFUSED[origin]:
            names.mediator.permit_as_printed("--hub-user=rhea", "--users", name)
            assert names.list_targets(name) == [name]


def test_each_group_is_permitted_by_its_own_rule_and_nobody_else(
    names: OddNames, origin: str
) -> None:
    for name, member in names.members.items():
        if name not in REFUSED[origin]:
            names.mediator.permit_as_printed("--hub-user=rhea", "--group", name)
            other = "member-1" if member == "member-0" else "member-0"
            assert names.list_targets(name, other, member) == [member]


def test_each_hub_may_call_by_its_own_rule_and_nobody_else(names: OddNames, origin: str) -> None:
    for name in (*NAMES, *DIRECTIVES):
        if name not in REFUSED[origin]:
            names.mediator.permit_as_printed("--hub-user", name, "--users=zoe")
            assert names.list_callers(name) == [name]


def test_what_this_sudo_rs_does_not_read_is_refused_and_its_number_is_read(
    names: OddNames, origin: str
) -> None:
    words = [names.mediator.path, "sudoers", "--hub-user=rhea"]
    for name in REFUSED[origin]:
        for option in ("--users", "--group"):
            run = names.machine.run([*words, option, name], check=False)
            assert (run.returncode, run.stdout) == (2, "")
            assert "sudo-rs" in run.stderr and "'#1000'" in run.stderr
    names.mediator.permit_as_printed("--hub-user=rhea", f"--users=#{names.uids['@x']}")
    assert names.list_targets("@x") == ["@x"]
    names.mediator.permit_as_printed("--hub-user=rhea", f"--group=#{names.gid('@x')}")
    assert names.list_targets("@x", names.members["@x"]) == [names.members["@x"]]
    names.mediator.permit_as_printed(f"--hub-user=#{names.uids['@x']}", "--users=zoe")
    assert names.list_callers("@x", "a") == ["@x"]
