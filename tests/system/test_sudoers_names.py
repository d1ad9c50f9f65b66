"""The rules that `sudospawner sudoers` prints, for names as directories have them.

Each rule is the only one for its mediator. It permits the account that is named, and nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Mediator
from system.odd_names import DIRECTIVES, NAMES, OddNames

DEBIANS = (13, 12)

PLACE = "/etc/sudoers.d/sudospawner"


@pytest.fixture(scope="module")
def installed(machine: Machine, hub6: Cache) -> Iterator[OddNames]:
    """A mediator of this file's own, and the accounts."""
    mediator = Mediator(machine, "/opt/odd-names/bin")
    mediator.install_binary(hub6.bin / "sudospawner")
    mediator.put_server()
    with OddNames(mediator).installed() as names:
        yield names


@pytest.fixture
def names(installed: OddNames) -> Iterator[OddNames]:
    """The same; the rules of a test end with it."""
    yield installed
    installed.mediator.forbid()


@pytest.mark.parametrize("name", NAMES)
def test_an_account_has_a_server_by_its_own_rule_and_nobody_else(
    names: OddNames, name: str
) -> None:
    mediator, uid = names.mediator, names.uids[name]
    mediator.permit_as_printed("--hub-user=rhea", "--users", name)
    assert names.list_targets(name) == [name]
    file = f"/tmp/seen-by-{uid}"
    spawned = mediator.spawn("report", file, "exit", "0", target=name)
    assert spawned.reply["ok"], spawned
    assert json.loads(mediator.machine.read(file))["uids"] == [uid] * 3
    mediator.machine.run(["rm", file])


def test_accounts_in_a_list_are_permitted_all_together(names: OddNames) -> None:
    names.mediator.permit_as_printed("--hub-user=rhea", f"--users={','.join(NAMES)}")
    assert names.list_targets(*NAMES) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_members_of_a_group_have_servers_by_its_rule_and_nobody_else(
    names: OddNames, name: str
) -> None:
    names.mediator.permit_as_printed("--hub-user=rhea", "--group", name)
    assert names.list_targets(name, *names.members.values()) == [names.members[name]]


@pytest.mark.parametrize("name", [*NAMES, *DIRECTIVES])
def test_a_hub_may_call_by_its_own_rule_and_nobody_else(names: OddNames, name: str) -> None:
    names.mediator.permit_as_printed("--hub-user", name, "--users=zoe")
    assert names.list_callers(name) == [name]


def test_a_number_stands_for_a_name_that_cannot_be_written(names: OddNames) -> None:
    """For all three: the Hub, an account, and a group."""
    mediator, uids = names.mediator, names.uids
    mediator.permit_as_printed(f"--hub-user=#{uids['@x']}", "--users=zoe")
    assert names.list_callers("@x", "a") == ["@x"]
    mediator.permit_as_printed("--hub-user=rhea", f"--users=#{uids['@x']}")
    assert names.list_targets("@x") == ["@x"]
    mediator.permit_as_printed("--hub-user=rhea", f"--group=#{names.gid('@x')}")
    assert names.list_targets("@x", *names.members.values()) == [names.members["@x"]]


@pytest.mark.parametrize(
    "name",
    [
        'zo"e',
        "zoe\\",
        "zoe\nzoe ALL=(ALL) NOPASSWD: ALL",
        "%sudo",
        "+all",
        "#x",
        "zoe:x",
        " zoe",
        "",
    ],
)
@pytest.mark.parametrize("option", ["--hub-user", "--group", "--users"])
def test_what_cannot_be_written_is_refused_with_what_can(
    names: OddNames, option: str, name: str
) -> None:
    words = {"--hub-user": "rhea", "--users": "zoe"} | {option: name}
    if option == "--group":
        del words["--users"]
    options = [word for pair in words.items() for word in pair]
    run = names.machine.run([names.mediator.path, "sudoers", *options], check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "cannot stand in sudoers" in run.stderr
    assert "give its number in its place, as in '#1000'" in run.stderr
    # `forbid` removes the rules of every test.
    names.mediator.permit()


def test_the_printed_command_installs_the_rules_and_nothing_that_a_name_says(
    names: OddNames,
) -> None:
    """A person copies it from the comment into root's shell."""
    words = ["--hub-user", "a'; touch pasted; '", "--group", "$(touch pasted)`touch pasted`"]
    rules = names.machine.run([names.mediator.path, "sudoers", *words]).stdout
    lines = [line.removeprefix("#     ") for line in rules.splitlines() if line.startswith("#    ")]
    assert [line.split()[0] for line in lines[1:]] == ["visudo", "install", "rm"]
    machine = names.machine
    machine.run(["mv", PLACE, "/run/rules-of-the-tests"])
    try:
        machine.run("\n".join(["set -e", *lines]), cwd="/run")
        assert machine.read(PLACE) == rules
        assert machine.run(["test", "-e", "/run/pasted"], check=False).returncode == 1
    finally:
        machine.run(["mv", "/run/rules-of-the-tests", PLACE])
    names.mediator.permit()


def check(names: OddNames, hub: str, *options: str) -> dict[str, str]:
    """What the check finds wrong with sudo as root sees it: the remedy of each code."""
    words = [names.mediator.path, "check", "--json", "--mode=user", "--pam=no", "--hub-user", hub]
    run = names.machine.run([*words, *options], check=False)
    findings = json.loads(run.stdout)["findings"]
    wrong = [one for one in findings if one["area"] == "sudo" and one["level"] != "ok"]
    return {one["code"]: one["remedy"] for one in wrong}


@pytest.mark.parametrize("hub", ["domain user", "AD\\jdoe"])
def test_the_remedies_of_the_check_hold_with_such_names(names: OddNames, hub: str) -> None:
    machine, mediator = names.machine, names.mediator
    own = PLACE.replace("sudospawner", "of-a-test")
    machine.run(["mv", PLACE, "/run/rules-of-the-tests"])
    try:
        machine.run(["sh", "-c", check(names, hub, "--user=jdoe@ad.example")["sudo_refuses"]])
        assert check(names, hub, "--user=jdoe@ad.example") == {}
        for spelling in (f'"{hub}"', hub.replace("\\", "\\\\").replace(" ", "\\ ")):
            rules = (
                f"{spelling} ALL=(zoe) NOPASSWD: /bin/echo\nrhea ALL=(zoe) NOPASSWD: /bin/echo\n"
            )
            machine.write(own, rules, mode=0o440)
            found = check(names, hub, "--user=jdoe@ad.example")
            assert set(found) == {"sudo_permits_more"}
            machine.run(["sh", "-c", found["sudo_permits_more"]])
            assert check(names, hub, "--user=jdoe@ad.example") == {}
            assert machine.read(own) == f"# {rules}"
    finally:
        machine.run(f"rm -f {own}; mv /run/rules-of-the-tests {PLACE}")
    mediator.permit()
