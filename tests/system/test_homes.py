"""Homes that are not simply there: closed to root, made by a hook, mounted on first use, or full.

In each mode the server starts in such a home, with its log there, and nothing of ours touches the
home as anyone but its user. Homes that hang are in `test_hanging_homes.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.homes import (
    HOME,
    SOURCE,
    UNCACHED,
    find_mounts,
    prepare_fuse,
    set_server,
)
from system.how_to import read_program
from system.mediator import Answer, Mediator, RootMediator, wait_for_file, wait_until
from system.units import MODES, mediator_in

PORT = 4600
LOG = ".local/state/sudospawner/singleuser.log"
# Of systemd's units, in which an automounter needs no package.
AUTOMOUNT = {
    "home-zoe.mount": f"[Mount]\nWhat={SOURCE}\nWhere={HOME}\nType=none\nOptions=bind\n",
    "home-zoe.automount": f"[Automount]\nWhere={HOME}\n",
}


@pytest.fixture(params=MODES)
def mediator(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in each mode."""
    with mediator_in(request.param, machine, hub6.bin / "sudospawner") as mediator:
        yield mediator


@pytest.fixture
def source(machine: Machine) -> Iterator[str]:
    """An empty folder of zoe's, which is served as the home."""
    prepare_fuse(machine)
    yield SOURCE
    machine.run(f"find {SOURCE} -mindepth 1 -delete")


@pytest.fixture
def closed_home(machine: Machine, source: str) -> Iterator[str]:
    """A home that only zoe can look at: FUSE asks its daemon for nobody else."""
    words = ["bindfs", "--no-allow-other", "-o", UNCACHED, source, HOME]
    machine.run(words, user="zoe", cwd="/")
    yield HOME
    machine.run(["umount", HOME])


@pytest.fixture
def automounted_home(machine: Machine, source: str) -> Iterator[str]:
    """A home that is mounted when somebody looks at it."""
    if "autofs" not in machine.read("/proc/filesystems"):
        pytest.skip("the kernel of this computer has no autofs")
    machine.run("test -e /dev/autofs || mknod -m 600 /dev/autofs c 10 235")
    for name, text in AUTOMOUNT.items():
        machine.write(f"/etc/systemd/system/{name}", text)
    # PID 1 looks for the device when it begins, and not again.
    machine.run("systemctl daemon-reexec && systemctl start home-zoe.automount")
    yield HOME
    machine.run(["systemctl", "stop", *AUTOMOUNT])
    machine.run(["rm", *(f"/etc/systemd/system/{name}" for name in AUTOMOUNT)])
    machine.run(["systemctl", "daemon-reload"])


@pytest.fixture
def full_home(machine: Machine) -> Iterator[str]:
    """A home in which not one more byte or file has room."""
    owner = "uid=zoe,gid=zoe,mode=0700"
    machine.run(f"mount -t tmpfs -o {owner},size=64k,nr_inodes=2 full {HOME}")
    fill = f"cat /dev/zero >{HOME}/data 2>/dev/null; ! echo >{HOME}/more"
    machine.run(fill, user="zoe")
    yield HOME
    machine.run(["umount", HOME])


def start_and_report(mediator: Mediator, source: str, target: str = "zoe") -> dict[str, Any]:
    """What a server sees of itself that writes to its home and its log, and is asked and ended."""
    machine = mediator.machine
    words = ["say", "I am at home", "report", "seen.json", "listen", str(PORT)]
    spawned = mediator.spawn(*words, target=target, wait={"port": PORT, "seconds": 60})
    assert spawned.reply["ok"] and spawned.reply["listening"], spawned
    # The log has a process of its own to carry it.
    wait_for_file(mediator, f"{source}/{LOG}")
    assert machine.read(f"{source}/{LOG}") == "I am at home\n"
    seen: dict[str, Any] = json.loads(machine.read(f"{source}/seen.json"))
    request = {"pid": spawned.reply["pid"], "unit": spawned.reply.get("unit", "")}

    def call(action: str, **fields: Any) -> Answer:
        return mediator.call({"action": action, **request, **fields}, target=target)

    assert call("status").reply["alive"] is True
    assert call("kill", signal=0).reply["alive"] is True
    assert call("stop", interrupt_seconds=0).reply["alive"] is False
    wait_until(lambda: list_own(mediator, target) == [], "the end of its processes")
    return seen


def list_own(mediator: Mediator, user: str) -> list[str]:
    """What runs as an account, but for the daemon of its home."""
    return [line for line in mediator.list_processes(user) if not line.startswith("bindfs ")]


def check(mediator: Mediator, mode: str) -> list[dict[str, Any]]:
    """What the check finds of zoe's home."""
    words = [mediator.path, "check", "--json", f"--mode={mode}", "--hub-user=rhea", "--user=zoe"]
    report = json.loads(mediator.machine.run(words, check=False).stdout)
    return [finding for finding in report["findings"] if "home" in finding["code"]]


def test_a_server_starts_in_a_home_that_is_closed_to_root(
    mediator: Mediator, source: str, closed_home: str
) -> None:
    looked = mediator.machine.run(["stat", closed_home], check=False)
    assert "Permission denied" in looked.stderr
    set_server(mediator, 'log = "file"')
    assert start_and_report(mediator, source)["cwd"] == closed_home


@pytest.mark.parametrize("mediator", ["user"], indirect=True)
def test_the_check_sees_a_home_that_is_closed_to_root_as_its_user_does(
    mediator: Mediator, closed_home: str
) -> None:
    for mode in ("user", "root"):
        [found] = check(mediator, mode)
        assert found["level"] == "ok", found
        assert closed_home in found["sentence"]


def test_a_home_is_mounted_when_its_server_enters_it_and_not_before(
    mediator: Mediator, source: str, automounted_home: str
) -> None:
    machine = mediator.machine
    set_server(mediator, 'log = "file"')
    if isinstance(mediator, RootMediator):
        # So the server is in a mount namespace of its own when it enters.
        mediator.add_hook("10-nothing", "#!/bin/sh\n")
    for action in ("status", "stop"):
        assert mediator.call({"action": action, "pid": 999999}).reply["alive"] is False
    assert find_mounts(machine, automounted_home) == ["autofs"]
    assert start_and_report(mediator, source)["cwd"] == automounted_home
    assert len(find_mounts(machine, automounted_home)) == 2


@pytest.mark.parametrize("mediator", ["root", "unit"], indirect=True)
def test_a_home_is_made_by_the_hook_that_the_page_shows(mediator: RootMediator) -> None:
    machine = mediator.machine
    set_server(mediator, 'log = "file"')
    mediator.add_hook("10-home", read_program("hooks.md", "/etc/sudospawner/roothooks.d/10-home"))
    try:
        for _ in range(2):
            seen = start_and_report(mediator, "/home/nohome", "nohome")
            assert seen["cwd"] == "/home/nohome"
            machine.run(f"rm /home/nohome/seen.json /home/nohome/{LOG}")
        owner = machine.run(["stat", "--format=%U %G %a", "/home/nohome"]).stdout
        assert owner == "nohome nohome 700\n"
    finally:
        machine.run(["rm", "-rf", "/home/nohome"])


def test_where_a_home_is_full_the_log_is_in_the_journal(mediator: Mediator, full_home: str) -> None:
    set_server(mediator, 'log = "file"')
    line = f"no room for {mediator.folder.parent.name}"
    spawned = mediator.spawn("say", line)
    assert spawned.reply["ok"], spawned
    journal = ["journalctl", "--identifier=jupyterhub-singleuser", "--output=cat"]
    machine = mediator.machine
    wait_until(lambda: line in machine.run(journal).stdout.splitlines(), "the line in the journal")
    assert mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False


@pytest.mark.parametrize("mediator", ["user", "root"], indirect=True)
def test_of_a_log_that_finds_no_room_the_journal_has_the_rest(
    mediator: Mediator, machine: Machine
) -> None:
    """The file is there, and its disk is full at the first line."""
    machine.run(f"mount -t tmpfs -o uid=zoe,gid=zoe,mode=0700,size=64k full {HOME}")
    try:
        machine.run(f"cat /dev/zero >{HOME}/data 2>/dev/null; true", user="zoe")
        set_server(mediator, 'log = "file"')
        line = f"no byte for {mediator.folder.parent.name}"
        spawned = mediator.spawn("say", line)
        assert spawned.reply["ok"], spawned
        journal = ["journalctl", "--identifier=jupyterhub-singleuser", "--output=cat"]
        wait_until(
            lambda: line in machine.run(journal).stdout.splitlines(), "the line in the journal"
        )
        assert machine.read(f"{HOME}/{LOG}") == ""
        assert mediator.stop(spawned)["alive"] is False
        wait_until(lambda: mediator.list_processes() == [], "the end of its processes")
    finally:
        machine.run(["umount", HOME])
