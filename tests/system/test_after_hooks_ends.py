"""However a server ends, the hooks after it run: one table over both launchers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine.caches import Cache
from machine.installation import install_wheel
from machine.machine import Machine
from system.after_hooks import (
    DIARY,
    LAUNCHERS,
    Followed,
    followed_in,
    install_followed,
    note,
)
from system.mediator import Answer, wait_until
from system.units import UNIT

PORT = 4710
SPAWN = {"action": "spawn", "args": ["listen", str(PORT)], "env": {}}


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Followed]:
    """A mediator with a hook before and one after, in each launcher."""
    with followed_in(request.param, machine, hub6.bin / "sudospawner") as followed:
        yield followed


def kill(followed: Followed, pid: int, signal: str = "KILL") -> None:
    """Send a signal as root."""
    followed.machine.run(["kill", f"-{signal}", str(pid)])


def find_parent(followed: Followed, pid: int) -> int:
    """The parent of a process."""
    return int(followed.machine.run(["ps", "--format=ppid=", "--pid", str(pid)]).stdout)


def stop_by_kill(followed: Followed, spawned: Answer) -> None:
    """A Hub of the Python sudospawner sends signals."""
    followed.mediator.call({"action": "kill", "pid": spawned.reply["pid"], "signal": 9})


def kill_server(followed: Followed, spawned: Answer) -> None:
    """The server alone."""
    kill(followed, spawned.reply["pid"])


def kill_all_of_the_user(followed: Followed, spawned: Answer) -> None:
    """Server and supervisor."""
    followed.machine.run(["pkill", "-KILL", "--uid", "zoe"])


def kill_supervisor(followed: Followed, spawned: Answer) -> None:
    """Root's keeper ends the server."""
    kill(followed, find_parent(followed, spawned.reply["pid"]))


def stop_unit(followed: Followed, spawned: Answer) -> None:
    """The administrator stops the unit."""
    followed.machine.run(["systemctl", "stop", UNIT])


def kill_unit(followed: Followed, spawned: Answer) -> None:
    """The administrator kills everything in the unit."""
    followed.machine.run(["systemctl", "kill", "--signal=KILL", UNIT])


def stop_slice(followed: Followed, spawned: Answer) -> None:
    """The administrator stops the slice with all servers."""
    followed.machine.run(["systemctl", "stop", "jupyterhub.slice"])


def end_of_time(followed: Followed, spawned: Answer) -> None:
    """A signal that a server gets at its limit of CPU time."""
    kill(followed, spawned.reply["pid"], "XCPU")


End = Callable[[Followed, Answer], None]
BOTH: list[End] = [stop_by_kill, kill_server, kill_all_of_the_user, end_of_time]
ENDS: dict[str, list[End]] = {
    "root": [*BOTH, kill_supervisor],
    "unit": [*BOTH, stop_unit, kill_unit, stop_slice],
}
TABLE = [(launcher, end) for launcher, ends in ENDS.items() for end in ends]


@pytest.mark.parametrize(
    ("followed", "end"),
    TABLE,
    ids=[f"{launcher}-{end.__name__}" for launcher, end in TABLE],
    indirect=["followed"],
)
def test_hooks_after_a_server_run_however_it_ended(followed: Followed, end: End) -> None:
    wait = {"port": PORT, "seconds": 60}
    spawned = followed.mediator.spawn("leave", "listen", str(PORT), wait=wait)
    assert spawned.reply["listening"] is True, spawned
    end(followed, spawned)
    assert len(followed.await_diary(2)) == 2
    assert followed.mediator.list_processes() == []
    followed.machine.run(["systemctl", "reset-failed"])
    followed.await_quiet()
    assert len(followed.read_diary()) == 2


@pytest.mark.parametrize("followed", ["unit"], indirect=True)
def test_hooks_run_after_a_server_that_was_killed_for_its_memory(followed: Followed) -> None:
    followed.set_policy('[limits]\nmemory = "64M"\n')
    wait = {"port": PORT, "seconds": 60}
    assert followed.mediator.spawn("devour", "256", wait=wait).reply["code"] == "exited_early"
    assert followed.await_diary(2)[1].endswith("exit= signal=9 left=0")


def test_hooks_run_after_a_spawn_whose_mediator_was_killed(followed: Followed) -> None:
    wait = {"port": PORT + 1, "seconds": 600}
    process = followed.mediator.start({**SPAWN, "wait": wait})
    wait_until(lambda: followed.mediator.list_processes() != [], "the server")
    machine = followed.machine
    reader = ["pgrep", "--uid", "nobody", "--full", str(followed.mediator.path)]
    machine.run(["kill", "-KILL", *machine.run(reader).stdout.split()])
    process.communicate()
    assert len(followed.await_diary(2)) == 2


def start_in_unit(followed: Followed) -> None:
    """Spawn from a unit such as a Hub's, whose end is the end of all processes in it."""
    machine = followed.machine
    words = " ".join(str(word) for word in followed.mediator.list_words("zoe"))
    machine.write("/run/request", json.dumps(SPAWN))
    machine.write("/run/reply", "", owner="rhea")
    hub = f"{words} </run/request >/run/reply; exec sleep infinity"
    properties = ["User=rhea", "KillMode=control-group", "RequiresMountsFor=/mnt"]
    run = ["systemd-run", "--unit=hub", *(f"--property={one}" for one in properties)]
    machine.run([*run, "sh", "-c", hub])
    wait_until(lambda: '"ok":true' in machine.read("/run/reply"), "the server")
    machine.run(["rm", "/run/request", "/run/reply"])


@pytest.mark.parametrize("followed", ["root"], indirect=True)
def test_hooks_run_when_the_hubs_unit_is_stopped_with_all_in_it(followed: Followed) -> None:
    """SIGTERM comes to the Hub, to root's keeper and to servers alike."""
    followed.add_after("20-slow", "#!/bin/sh\nsleep 1\n")
    start_in_unit(followed)
    followed.machine.run(["systemctl", "stop", "hub"])
    # When systemd says that the Hub's unit has ended, they have run.
    assert len(followed.read_diary()) == 2


def test_hooks_of_a_unit_run_when_the_machine_is_shut_down(hub6: Cache, tmp_path: Path) -> None:
    """In a machine of its own: what hooks wrote to a folder of the host is there afterwards."""
    with Machine(options=[f"--bind={tmp_path}:/mnt"]) as machine:
        install_wheel(machine, hub6)
        followed = install_followed("unit", machine, hub6.bin / "sudospawner")
        # Otherwise systemd may unmount the folder before the hooks have run.
        followed.set_policy(more='[systemd]\nproperties = { RequiresMountsFor = "/mnt" }\n')
        followed.add_after("10-note", note("after").replace(DIARY, "/mnt/diary"))
        start_in_unit(followed)
        machine.run(["systemctl", "poweroff"], check=False)
        diary = tmp_path / "diary"
        wait_until(diary.exists, "the hook after the server")
        assert diary.read_text().startswith("after ")
