"""Limits of a server as a whole on cgroup v2 with its controllers: the kernel holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.virtual import VirtualMachine
from system.jsd import Helper
from system.mediator import wait_for_file, wait_until
from system.units import UnitMediator

PORT = 4300
# Longer than any test takes here.
WAIT = {"port": PORT, "seconds": 600}
SECONDS = 600
BUSY = "#!/usr/bin/python3 -I\nwhile True:\n    pass\n"


def read_in_home(vm: VirtualMachine, name: str) -> str:
    """What the server has written to a file in zoe's home, which is removed."""
    path = f"/home/zoe/{name}"
    wait_for_file(UnitMediator(vm, "/usr/bin"), path, SECONDS)
    text = vm.read(path)
    vm.run(["rm", path])
    return text


def read_group(mediator: UnitMediator, name: str) -> str:
    """A file of the control group of zoe's server."""
    group = mediator.show("ControlGroup")["ControlGroup"]
    return mediator.machine.read(f"/sys/fs/cgroup{group}/{name}")


def count(statistics: str, key: str) -> int:
    """A number of a control group's file of keys and numbers."""
    return int(dict(line.split() for line in statistics.splitlines())[key])


def test_the_kernel_is_debians_and_has_all_controllers_on_cgroup_v2(vm: VirtualMachine) -> None:
    assert "-cloud-amd64" in vm.run(["uname", "--kernel-release"]).stdout
    controllers = vm.read("/sys/fs/cgroup/cgroup.controllers").split()
    assert {"memory", "pids", "cpu"} <= set(controllers)


def test_a_child_that_uses_too_much_memory_is_killed_and_the_server_lives(
    mediator: UnitMediator,
) -> None:
    mediator.set_policy('[limits]\nmemory = "64M"\n')
    spawned = mediator.spawn("eat", "256")
    assert read_in_home(mediator.machine, "eaten") == "-9"
    assert count(read_group(mediator, "memory.events"), "oom_kill") == 1
    assert read_group(mediator, "memory.max") == f"{64 << 20}\n"
    assert read_group(mediator, "memory.swap.max") == "0\n"
    status = {"action": "status", "pid": spawned.reply["pid"]}
    assert mediator.call(status).reply["alive"] is True
    mediator.stop(spawned)


def test_a_server_that_was_killed_for_its_memory_is_said_so(mediator: UnitMediator) -> None:
    mediator.set_policy('[limits]\nmemory = "64M"\n')
    reply = mediator.spawn("devour", "256", wait=WAIT).reply
    assert (reply["ok"], reply["code"]) == (False, "exited_early")
    assert (reply["exit"], reply["signal"]) == (None, 9)
    assert "memory" in reply["error"]


def test_processes_are_limited(mediator: UnitMediator) -> None:
    mediator.set_policy("[limits]\ntasks = 20\n")
    spawned = mediator.spawn("multiply", "99")
    assert 0 < int(read_in_home(mediator.machine, "multiplied")) < 20
    assert count(read_group(mediator, "pids.events"), "max") > 0
    assert mediator.stop(spawned)["leftovers_killed"] > 0


def test_cpus_are_limited(mediator: UnitMediator) -> None:
    mediator.set_policy("[limits]\ncpus = 0.25\n")
    mediator.put_server(BUSY)
    spawned = mediator.spawn()
    quota, period = map(int, read_group(mediator, "cpu.max").split())
    assert quota * 4 == period

    def is_throttled() -> bool:
        return count(read_group(mediator, "cpu.stat"), "nr_throttled") > 0

    wait_until(is_throttled, "a period in which the server had to wait", SECONDS)
    mediator.stop(spawned)


def test_the_check_finds_nothing_wrong_with_limits(mediator: UnitMediator) -> None:
    mediator.set_policy('[limits]\nmemory = "64M"\ncpus = 0.25\ntasks = 20\n')
    words = [mediator.path, "check", "--json", "--mode=root", "--hub-user=rhea"]
    report = json.loads(mediator.machine.run(words, check=False).stdout)
    assert "limit_not_enforceable" not in {one["code"] for one in report["findings"]}


@pytest.fixture
def helper(vm: VirtualMachine) -> Iterator[Helper]:
    """The package's `jsd-helper`; no unit outlives the test."""
    helper = Helper(vm, "/usr/bin/jsd-helper")
    helper.set_policy('[limits]\nmemory = "64M"\ntasks = 20\ncpus = 0.25\n')
    yield helper
    helper.remove_all()


def test_jsd_helper_starts_units_that_the_kernel_holds_to_the_policys_limits(
    helper: Helper,
) -> None:
    started = helper.call(helper.list_words(args=["eat", "256", "multiply", "99"]))
    assert started.returncode == 0, started.stderr
    assert read_in_home(helper.machine, "eaten") == "-9"
    assert 0 < int(read_in_home(helper.machine, "multiplied")) < 20
    assert helper.is_running()
    group = helper.show("ControlGroup")["ControlGroup"]
    assert helper.machine.read(f"/sys/fs/cgroup{group}/cpu.max").split()[0] == "25000"
