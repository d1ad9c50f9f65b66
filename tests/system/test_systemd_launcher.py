"""The systemd launcher: servers in units, with limits, and nothing of ours beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Answer, RootMediator, wait_for_file, wait_until

PORT = 4300
POLICY = '[server]\nlauncher = "systemd"\n'
UNIT = "jupyter-zoe.service"


class UnitMediator(RootMediator):
    """A mediator in root mode whose servers live in units."""

    def set_policy(self, more: str = "") -> None:
        """Install a policy with the systemd launcher; `more` are further lines of it."""
        super().set_policy((POLICY if "[server]" not in more else "") + more)

    def show(self, *names: str, unit: str = UNIT) -> dict[str, str]:
        """Properties of a unit."""
        words = ["systemctl", "show", "--property", ",".join(names), unit]
        lines = self.machine.run(words).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def list_units(self) -> list[str]:
        """The units of all servers, failed ones too."""
        words = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "jupyter-*.service"]
        lines = self.machine.run(words).stdout.splitlines()
        return [line.split()[0] for line in lines]


@pytest.fixture
def mediator(machine: Machine, hub6: Cache) -> Iterator[UnitMediator]:
    """A mediator whose servers live in units; none may outlive the test."""
    mediator = UnitMediator(machine, "/opt/unit-mediator/bin")
    machine.run(["install", "-D", hub6.bin / "sudospawner", mediator.path])
    mediator.put_server()
    mediator.permit()
    mediator.set_policy()
    yield mediator
    left = mediator.list_units()
    for unit in left:
        machine.run(["systemctl", "stop", unit], check=False)
        machine.run(["systemctl", "reset-failed", unit], check=False)
    mediator.remove_all()
    assert left == []


def get_report(mediator: UnitMediator, *args: str, **fields: Any) -> dict[str, Any]:
    """What a server of zoe's sees of itself; it is stopped again."""
    file = "/home/zoe/seen.json"
    spawned = mediator.spawn("report", file, *args, **fields)
    assert spawned.reply["ok"], spawned
    wait_for_file(mediator, file)
    seen = json.loads(mediator.machine.read(file))
    mediator.machine.run(["rm", file])
    assert mediator.stop(spawned, unit=spawned.reply["unit"])["alive"] is False
    return seen


def test_a_server_in_a_unit_is_the_target_and_nothing_else(mediator: UnitMediator) -> None:
    seen = get_report(mediator, env={"A": "b", "LD_PRELOAD": "/x"})
    zoe = mediator.machine.look_up_account("zoe")
    groups = mediator.machine.run(["id", "-G", "zoe"]).stdout.split()
    assert seen["uids"] == [zoe.uid] * 3
    assert seen["gids"] == [zoe.gid] * 3
    assert seen["groups"] == sorted(map(int, groups))
    assert int(seen["capabilities"], 16) == 0
    assert seen["env"] == {"A": "b"}
    assert seen["cwd"] == "/home/zoe"
    assert seen["stdin"] == "/dev/null"
    assert seen["umask"] == 0o022
    assert (seen["ignored"], seen["blocked"]) == (0, 0)
    assert {"0", "1", "2"} >= set(seen["descriptors"])


def test_the_reply_names_unit_process_and_limits(mediator: UnitMediator) -> None:
    mediator.set_policy('[limits]\nmemory = "512M"\ncpus = 2\ntasks = 99\n')
    spawned = mediator.spawn(
        "listen", str(PORT), wait={"port": PORT, "seconds": 60}, limits={"cpus": 0.5}
    )
    reply = spawned.reply
    assert (reply["unit"], reply["listening"]) == (UNIT, True)
    assert reply["limits"] == {"memory": 512 << 20, "cpus": 0.5}
    shown = mediator.show("MainPID", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "Slice")
    assert shown == {
        "MainPID": str(reply["pid"]),
        "MemoryMax": str(512 << 20),
        "CPUQuotaPerSecUSec": "500ms",
        "TasksMax": "99",
        "Slice": "jupyterhub.slice",
    }
    status = {"action": "status", "pid": reply["pid"], "unit": UNIT}
    answer = mediator.call(status).reply
    assert (answer["ok"], answer["alive"], answer["processes"]) == (True, True, 1)
    mediator.stop(spawned)
    assert mediator.call(status).reply == {"ok": True, "alive": False, "exit": 0, "signal": None}


def test_nothing_of_ours_stays_beside_a_server_in_a_unit(mediator: UnitMediator) -> None:
    spawned = mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    group = mediator.show("ControlGroup")["ControlGroup"]
    pids = mediator.machine.run(
        f"cat /sys/fs/cgroup/systemd{group}/cgroup.procs 2>/dev/null "
        f"|| cat /sys/fs/cgroup{group}/cgroup.procs"
    ).stdout.split()
    assert pids == [str(spawned.reply["pid"])]

    def list_ours() -> list[str]:
        return [line for line in mediator.list_processes("root") if str(mediator.path) in line]

    wait_until(lambda: list_ours() == [], "the end of root's part")
    mediator.stop(spawned)
