"""Limits of a server as a whole where the kernel holds nobody to them: they are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.catalogue import cache_named
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.jsd import Helper
from system.units import UNIT, UnitMediator

# What the policy says, and the key that the refusal names.
LIMITS = [('memory = "256M"', "memory"), ("cpus = 0.5", "cpus"), ("tasks = 32", "tasks")]
CONTROLLERS = "memory pids cpu"


def boot_without_controllers(kind: str) -> Machine:
    """A machine with cgroup v2 or v1, in which systemd has none of the controllers."""
    machine = Machine(cgroups="v2" if kind == "v2" else "host")
    machine.boot()
    if kind == "v2":
        if machine.read("/sys/fs/cgroup/cgroup.controllers").strip():
            machine.close()
            pytest.skip("cgroup v2 has its controllers here")
        return machine
    if machine.run(["test", "-d", "/sys/fs/cgroup/memory"], check=False).returncode != 0:
        machine.close()
        pytest.skip("there is no cgroup v1 here")
    machine.run(
        f"for one in {CONTROLLERS}; do mount -o remount,bind,ro /sys/fs/cgroup/$one; done; "
        "systemctl daemon-reexec"
    )
    return machine


@pytest.fixture(scope="module", params=["v2", "v1"])
def bare(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Such a machine of each kind, with our programs."""
    machine = boot_without_controllers(request.param)
    try:
        install_what_is_tested(machine, cache_named("hub6"))
        yield machine
    finally:
        machine.close()


@pytest.fixture
def mediator(bare: Machine) -> Iterator[UnitMediator]:
    """A mediator whose servers live in units; none may outlive the test."""
    binary = cache_named("hub6").bin / "sudospawner"
    mediator = UnitMediator.install(bare, "/opt/unit-mediator/bin", binary)
    yield mediator
    left = mediator.end_units()
    mediator.remove_all()
    assert left == []


@pytest.mark.parametrize(("line", "key"), LIMITS, ids=[key for _, key in LIMITS])
def test_a_limit_that_the_kernel_does_not_hold_refuses_the_server(
    mediator: UnitMediator, line: str, key: str
) -> None:
    mediator.set_policy(f"[limits]\n{line}\n")
    answer = mediator.spawn()
    assert (answer.reply["code"], answer.status) == ("limit_not_enforceable", 1)
    assert f"limit of {key}" in answer.reply["error"]
    assert mediator.list_units() == []


def test_a_limit_of_the_hubs_that_the_kernel_does_not_hold_refuses_the_server(
    mediator: UnitMediator,
) -> None:
    answer = mediator.spawn(limits={"memory": 1 << 30})
    assert (answer.reply["code"], answer.status) == ("limit_not_enforceable", 1)


def test_a_property_of_roots_own_that_the_kernel_does_not_hold_refuses_the_server(
    mediator: UnitMediator,
) -> None:
    mediator.set_policy('[systemd]\nproperties = { TasksMax = "32" }\n')
    assert mediator.spawn().reply["code"] == "limit_not_enforceable"


def test_without_limits_a_server_starts(mediator: UnitMediator) -> None:
    spawned = mediator.spawn()
    assert spawned.reply["ok"], spawned.reply
    mediator.stop(spawned, unit=UNIT)


def test_the_check_says_before_that_a_limit_does_not_hold(mediator: UnitMediator) -> None:
    machine = mediator.machine
    if machine.run(["test", "-d", "/sys/fs/cgroup/memory"], check=False).returncode == 0:
        pytest.skip("on cgroup v1 systemd alone knows that it may not use a controller")
    mediator.set_policy('[limits]\nmemory = "256M"\n')
    words = [mediator.path, "check", "--json", "--mode=root", "--hub-user=rhea"]

    def find() -> list[str]:
        report = json.loads(machine.run(words, check=False).stdout)
        codes = [one for one in report["findings"] if one["code"] == "limit_not_enforceable"]
        return [one["remedy"] for one in codes]

    [remedy] = find()
    machine.run(["sh", "-c", remedy])
    assert find() == []


def test_jsd_helper_sets_no_limit_for_which_there_is_no_controller(bare: Machine) -> None:
    if bare.run(["test", "-d", "/sys/fs/cgroup/memory"], check=False).returncode == 0:
        pytest.skip("on cgroup v1 systemd alone knows that it may not use a controller")
    helper = Helper(bare, cache_named("hub6").bin / "jsd-helper")
    helper.set_policy()
    refused = helper.call(helper.list_words("--property=MemoryMax=536870912"))
    unlimited = helper.call(helper.list_words("--property=MemoryMax=infinity"))
    helper.remove_all()
    assert refused.returncode == 99
    assert "limit of memory" in refused.stderr
    assert unlimited.returncode == 0, unlimited.stderr
