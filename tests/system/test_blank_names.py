"""An account whose name has a blank has a server in each mode, and the blank ends no word.

Nor do quotes and variables in a name mean something in root's own commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.jsd import Helper
from system.mediator import Mediator, RootMediator, wait_for_file, wait_until
from system.units import MODES, UnitMediator, mediator_in

NAME = "domain user"
UID = 3100
HOME = f"/home/{NAME}"
# What a blank in the name would lead to, if it ended a word.
HALF = "domain"
UNIT = "jupyter-domain\\x20user.service"
SEEN = f"{HOME}/seen.json"
# What systemd would take for `domain` or for `droot`, and the same as one word.
READ_BY_SYSTEMD = {
    'do""main': "do\\x22\\x22main",
    "do''main": "do\\x27\\x27main",
    "d${USER}": "d\\x24{USER}",
}


@pytest.fixture(scope="module")
def machine_with_name(machine: Machine) -> Iterator[Machine]:
    """The machine with the accounts, members of the group for servers."""
    machine.run("for file in passwd group; do cp -a /etc/$file /etc/$file.before; done")
    try:
        lines = [f"{NAME}:*:{UID}:{UID}::{HOME}:/bin/sh\n"] + [
            f"{name}:*:{uid}:{UID}::/tmp:/bin/sh\n"
            for uid, name in enumerate(READ_BY_SYSTEMD, UID + 1)
        ]
        machine.run("cat >>/etc/passwd", input="".join(lines))
        machine.run("cat >>/etc/group", input=f"{NAME}s:x:{UID}:\n")
        members = ",".join([NAME, *READ_BY_SYSTEMD])
        machine.run(["sed", "-i", f"/^jupyterhub:/s/$/,{members}/", "/etc/group"])
        machine.run(["install", "--directory", f"--owner={UID}", "--mode=0700", HOME])
        yield machine
    finally:
        machine.run("for file in passwd group; do mv /etc/$file.before /etc/$file; done")
        machine.run(["rm", "-r", HOME])


@pytest.fixture(params=MODES)
def mediator(
    request: pytest.FixtureRequest, machine_with_name: Machine, hub6: Cache
) -> Iterator[Mediator]:
    """A mediator in each mode; no process of the account outlives the test."""
    with mediator_in(request.param, machine_with_name, hub6.bin / "sudospawner") as mediator:
        yield mediator
        mediator.kill_processes(str(UID))


def start(mediator: Mediator) -> dict[str, str]:
    """Start a server of the account; what names it in other requests."""
    reply = mediator.spawn("report", SEEN, target=NAME).reply
    assert reply["ok"], reply
    wait_for_file(mediator, SEEN)
    return {name: reply[name] for name in ("pid", "started", "unit") if name in reply}


def ask(mediator: Mediator, action: str, **fields: object) -> dict[str, object]:
    """The reply to another request about it."""
    return mediator.call({"action": action, **fields}, target=NAME).reply


def stop(mediator: Mediator, which: dict[str, str]) -> None:
    """Stop it, and see it end."""
    assert ask(mediator, "stop", interrupt_seconds=0, **which)["alive"] is False
    wait_until(lambda: mediator.list_processes(str(UID)) == [], "the end of its processes")
    mediator.machine.run(["rm", SEEN])


def test_it_has_a_server_and_every_request_is_answered(mediator: Mediator) -> None:
    which = start(mediator)
    seen = json.loads(mediator.machine.read(SEEN))
    status = ask(mediator, "status", **which)
    killed = ask(mediator, "kill", signal=0, **which)
    stop(mediator, which)
    group = int(mediator.machine.run(["getent", "group", "jupyterhub"]).stdout.split(":")[2])
    assert (seen["uids"], seen["cwd"], seen["groups"]) == ([UID] * 3, HOME, sorted([UID, group]))
    assert (status["alive"], status["uid"]) == (True, UID)
    assert killed == {"ok": True, "alive": True}
    assert which.get("unit") == (UNIT if isinstance(mediator, UnitMediator) else None)


def test_the_line_about_it_has_no_field_that_the_name_has_made(mediator: Mediator) -> None:
    machine = mediator.machine
    machine.run("journalctl --sync; journalctl --quiet --lines=0 --cursor-file=/run/read-so-far")
    ask(mediator, "kill", pid=999999, signal=0)
    journal = ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "--output=cat", "--quiet"]
    journal += ["--cursor-file=/run/read-so-far"]
    lines: list[str] = []

    def read_on() -> int:
        lines.extend(machine.run(journal, check=False).stdout.splitlines())
        return len(lines)

    wait_until(read_on, "the line")
    machine.run(["rm", "/run/read-so-far"])
    caller = machine.look_up_account("rhea").uid
    assert lines == [f"caller=rhea({caller}) target=domain\\x20user action=kill code=ok"]


@pytest.mark.parametrize("mediator", ["root", "unit"], indirect=True)
def test_a_hook_is_told_the_name_as_it_is(mediator: RootMediator) -> None:
    mediator.add_hook("10-who", '#!/bin/sh\necho "$SUDOSPAWNER_USER, $NB_USER" >/run/hook-was\n')
    which = start(mediator)
    stop(mediator, which)
    assert mediator.machine.read("/run/hook-was") == f"{NAME}, {NAME}\n"
    mediator.machine.run(["rm", "/run/hook-was"])


@pytest.mark.parametrize("mediator", ["unit"], indirect=True)
def test_in_a_unit_each_path_with_the_name_is_one_path(mediator: UnitMediator) -> None:
    mediator.set_policy(
        """
        [systemd]
        extra_paths = ["/opt/{user}/bin"]
        working_directory = "/srv/{user}"
        read_only_paths = ["/srv"]
        read_write_paths = ["/srv/{user}"]

        [systemd.properties]
        ExecStartPre = "+/bin/mkdir -p /run/of/{user}/new"
        BindPaths = "-/of/{user}"
        """
    )
    machine = mediator.machine
    machine.run(["install", "--directory", f"--owner={UID}", f"/srv/{NAME}", f"/srv/{HALF}"])
    which = start(mediator)
    seen = json.loads(machine.read(SEEN))
    shown = mediator.show("ReadWritePaths", "ReadOnlyPaths", "BindPaths", unit=UNIT)
    inside = ["nsenter", f"--target={which['pid']}", "--mount"]
    machine.run([*inside, "touch", f"/srv/{NAME}/new"])
    other = machine.run([*inside, "touch", f"/srv/{HALF}/new"], check=False)
    stop(mediator, which)
    made = machine.run("cd /run/of && find . -mindepth 1").stdout.splitlines()
    machine.run(["rm", "-r", "/run/of", f"/srv/{NAME}", f"/srv/{HALF}"])
    assert seen["cwd"] == f"/srv/{NAME}"
    assert seen["env"]["PATH"].startswith(f"/opt/{NAME}/bin")
    assert shown == {
        "ReadWritePaths": f'"/srv/{NAME}"',
        "ReadOnlyPaths": "/srv",
        "BindPaths": "-/of/domain\\x20user:/of/domain\\x20user:rbind",
    }
    assert "Read-only file system" in other.stderr
    assert made == ["./domain\\x20user", "./domain\\x20user/new"]


@pytest.mark.parametrize("mediator", ["unit"], indirect=True)
@pytest.mark.parametrize("name", READ_BY_SYSTEMD)
def test_no_name_is_another_one_in_roots_own_commands(mediator: UnitMediator, name: str) -> None:
    command = "+/bin/mkdir -p /run/of/{user}"
    mediator.set_policy(f'[systemd]\nproperties = {{ ExecStartPre = "{command}" }}\n')
    spawned = mediator.spawn("exit", "0", target=name)
    made = mediator.machine.run(["ls", "/run/of"]).stdout
    mediator.machine.run(["rm", "-r", "/run/of"])
    assert spawned.reply["ok"], spawned
    assert made == f"{READ_BY_SYSTEMD[name]}\n"


def test_it_has_a_server_of_jsd_helper(machine_with_name: Machine, hub6: Cache) -> None:
    machine = machine_with_name
    helper = Helper(machine, hub6.bin / "jsd-helper")
    command = "+/bin/mkdir -p /run/of/{USERNAME}"
    helper.set_policy(
        '[systemd]\nslice = "jhub.slice"\nread_only_paths = ["/srv"]\n'
        f'read_write_paths = ["/srv/{{user}}"]\nproperties = {{ ExecStartPre = "{command}" }}\n'
    )
    machine.run(["install", "--directory", f"--owner={UID}", f"/srv/{NAME}"])
    words = {"unit": "jsu-x", "directory": HOME, "uid": str(UID), "gid": str(UID)}
    try:
        run = helper.call(helper.list_words(args=["report", SEEN], **words))
        assert run.returncode == 0, run.stderr
        wait_until(
            lambda: machine.run(["test", "-s", SEEN], check=False).returncode == 0, "a server"
        )
        shown = helper.show("ReadWritePaths", unit="jsu-x")
        made = machine.run(["ls", "/run/of"]).stdout
    finally:
        helper.remove_all()
    assert json.loads(machine.read(SEEN))["uids"] == [UID] * 3
    machine.run(["rm", "-r", SEEN, "/run/of", f"/srv/{NAME}"])
    assert shown == {"ReadWritePaths": f'"/srv/{NAME}"'}
    assert made == "domain\\x20user\n"
