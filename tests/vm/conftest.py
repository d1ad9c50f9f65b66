"""Fixtures of the tests in the virtual machine: it boots once, with the Debian package in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from machine.beginning import begin_process
from machine.catalogue import DISK
from machine.installation import find_debian_package
from machine.virtual import VirtualMachine
from system.units import UnitMediator

begin_process()

VERSIONS = pytest.StashKey[str]()


def install_package(vm: VirtualMachine) -> None:
    """Install the Debian package with apt, without a network."""
    vm.write("/run/sudospawner.deb", find_debian_package().read_bytes())
    vm.run(["apt-get", "install", "--yes", "/run/sudospawner.deb"], timeout=900)


@pytest.fixture(scope="session")
def vm(pytestconfig: pytest.Config) -> Iterator[VirtualMachine]:
    """The virtual machine, with our package."""
    with VirtualMachine(DISK) as vm:
        install_package(vm)
        pytestconfig.stash[VERSIONS] = read_versions(vm)
        yield vm


@pytest.fixture
def mediator(vm: VirtualMachine) -> Iterator[UnitMediator]:
    """The package's mediator, with a server beside it; none may outlive the test."""
    mediator = UnitMediator(vm, "/usr/bin")
    mediator.put_server()
    mediator.permit()
    mediator.set_policy()
    yield mediator
    left = mediator.end_units()
    mediator.kill_processes()
    mediator.remove_all()
    assert left == []


def read_versions(vm: VirtualMachine) -> str:
    """What the tests ran on, for docs/security.md."""
    packages = ["systemd", "sudo", "selinux-policy-default", "sudospawner"]
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version}, ", *packages]
    kernel = vm.run(["uname", "--kernel-release"]).stdout.strip()
    return f"{vm.run(query).stdout}Linux {kernel}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say on what the tests ran."""
    terminalreporter.write_line(f"{datetime.now(UTC):%Y-%m-%d}: {config.stash.get(VERSIONS, '')}")
