"""Servers of one account: a hook takes nothing away that another server needs, and leaves nothing.

The mount is one for the whole machine (`private_mounts = false`): made by a hook before a server if
it is not there, and taken away after the last one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.after_hooks import AFTER, HOOKS, LAUNCHERS, LISTS, Followed, followed_in
from system.mediator import Answer, wait_until

PLACE = "/mnt/shared"
PRIVATE = "private_mounts = false\ntimeout_seconds = 60\n"
# A daemon that a hook leaves ends with its own server. So systemd keeps this one.
MOUNT = f"""\
#!/bin/sh
set -eu
mkdir -p {PLACE}
mountpoint -q {PLACE} || systemd-run --quiet --collect --unit=shared-$SUDOSPAWNER_UID \\
    --service-type=forking bindfs --force-user="$SUDOSPAWNER_UID" /srv {PLACE}
"""
UNMOUNT = """\
#!/bin/sh
[ "$SUDOSPAWNER_SERVERS_LEFT" != 0 ] || systemctl stop shared-$SUDOSPAWNER_UID
"""
# Whoever finds no mount says so, for as long as it runs.
SERVER = f"""\
#!/bin/sh
trap 'exit 0' TERM
while :; do
    mountpoint -q {PLACE} || echo "$$" >>/tmp/without
    sleep 0.05 & wait $!
done
"""


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Followed]:
    """A mediator whose hooks make a mount for the whole machine and take it away, with bindfs."""
    machine.run("test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229")
    with followed_in(request.param, machine, hub6.bin / "sudospawner") as followed:
        followed.set_policy(hooks=PRIVATE)
        followed.mediator.add_hook("10-note", MOUNT)
        followed.add_after("10-note", UNMOUNT)
        yield followed
        followed.await_quiet()
        left = [line for line in machine.read("/proc/mounts").splitlines() if PLACE in line]
        assert left == []
        assert "bindfs" not in " ".join(followed.mediator.list_processes("root"))
        machine.run(["rm", "-df", PLACE])


def spawn(followed: Followed, name: str = "") -> Answer:
    """Start a server whose hook has succeeded."""
    spawned = followed.mediator.spawn(server_name=name)
    assert spawned.reply["ok"] is True, spawned
    assert [hook["status"] for hook in spawned.reply["hooks"]] == ["ok"], spawned
    return spawned


def end(followed: Followed, spawned: Answer, name: str = "") -> None:
    """Stop it."""
    pid = spawned.reply["pid"]
    stop = {"action": "stop", "pid": pid, "server_name": name, "interrupt_seconds": 0}
    assert followed.mediator.call(stop).reply["alive"] is False


def test_a_hundred_starts_and_stops_leave_no_mount(followed: Followed) -> None:
    for _ in range(50):
        end(followed, spawn(followed))


def test_what_a_second_server_needs_stays_until_it_ends(followed: Followed) -> None:
    first, second = spawn(followed), spawn(followed, "second")
    end(followed, first)
    assert PLACE in followed.machine.read("/proc/mounts")
    end(followed, second, "second")


def test_servers_that_start_and_end_at_random_are_never_without_it(followed: Followed) -> None:
    followed.mediator.put_server(SERVER)
    generator = random.Random(7)
    orders = [[generator.random() / 4 for _ in range(8)] for _ in range(3)]
    failures: list[str] = []

    def play(name: str, pauses: list[float]) -> None:
        try:
            for pause in pauses:
                spawned = spawn(followed, name)
                threading.Event().wait(pause)
                end(followed, spawned, name)
        except AssertionError as error:
            failures.append(str(error))

    players = [
        threading.Thread(target=play, args=(f"server{number}", pauses))
        for number, pauses in enumerate(orders)
    ]
    for player in players:
        player.start()
    for player in players:
        player.join()
    assert failures == []
    assert followed.machine.run(["test", "-e", "/tmp/without"], check=False).returncode == 1


@pytest.mark.parametrize("followed", ["root"], indirect=True)
def test_a_server_whose_keeper_was_killed_still_counts(followed: Followed) -> None:
    """Its hooks cannot run any more: those after the next server do their work."""
    first, second = spawn(followed), spawn(followed, "second")
    machine = followed.machine
    supervisor = machine.run(["ps", "--format=ppid=", "--pid", str(first.reply["pid"])]).stdout
    keeper = machine.run(["ps", "--format=ppid=", "--pid", supervisor.strip()]).stdout
    machine.run(["kill", "-KILL", keeper.strip()])
    end(followed, second, "second")

    def has_keeper() -> bool:
        return "sudospawner-keeper" in " ".join(followed.mediator.list_processes("root"))

    wait_until(lambda: not has_keeper(), "the end of the other keeper")
    assert PLACE in machine.read("/proc/mounts")
    end(followed, first)
    end(followed, spawn(followed))


def test_servers_of_both_launchers_are_counted_together(followed: Followed) -> None:
    first = spawn(followed)
    other = "process" if followed.is_unit else "systemd"
    followed.mediator.set_policy(f'{HOOKS}{PRIVATE}[server]\nlauncher = "{other}"\n')
    second = spawn(followed, "second")
    end(followed, second, "second")
    wait_until(lambda: followed.machine.run(f"ls {LISTS}/*").stdout.count("\n") == 1, "one entry")
    assert PLACE in followed.machine.read("/proc/mounts")
    followed.set_policy(hooks=PRIVATE)
    end(followed, first)


def test_while_hooks_of_an_account_run_those_of_its_other_servers_wait(followed: Followed) -> None:
    """They are refused in the end, in words."""
    followed.set_policy(hooks="private_mounts = false\ntimeout_seconds = 1\n")
    folder = f"{LISTS}/{followed.machine.look_up_account('zoe').uid}"
    followed.machine.run(["mkdir", "-p", "-m", "0700", folder])
    holder = followed.machine.start(["flock", folder, "sleep", "9999"])
    try:
        reply = followed.mediator.spawn().reply
    finally:
        followed.machine.run(["pkill", "--full", "^sleep 9999$"])
        holder.wait()
    assert reply["code"] == "hooks_busy"
    assert "31 seconds" in reply["error"] and "hooks.after_dir" in reply["error"]
    assert followed.mediator.list_processes() == []


def test_lists_and_their_folders_are_roots_alone(followed: Followed) -> None:
    spawned = spawn(followed)
    stat = f"stat --format='%U %a' {LISTS}/.. {LISTS} {LISTS}/*"
    modes = followed.machine.run(stat).stdout
    end(followed, spawned)
    assert set(modes.splitlines()) == {"root 700"}
    assert AFTER.parent == followed.mediator.POLICY.parent
