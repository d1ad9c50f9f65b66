"""SELinux, enforcing with Debian's policy: every mode works, and what the log has of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.virtual import VirtualMachine
from system.jsd import Helper
from system.mediator import Mediator, RootMediator
from vm.denials import watch_denials
from vm.hub_unit import RootHub, UnitHub, UserHub

PORT = 4400
WAIT = {"port": PORT, "seconds": 600}
HOOK = "#!/bin/sh\nset -eu\nmkdir -p /mnt/scratch\nmount -t tmpfs scratch /mnt/scratch\nid -Z\n"
HUBS = [UserHub, RootHub, UnitHub]
PROGRAMS = (
    "sudospawner",
    "sudospawner-slurm",
    "sudospawner-session",
    "sudospawner-setup",
    "jupyterhub-roothooks",
    "jsd-helper",
)
SOURCE = "/usr/share/doc/sudospawner/examples/selinux/sudospawner.te"


@pytest.fixture(params=HUBS)
def hub(request: pytest.FixtureRequest, vm: VirtualMachine) -> Iterator[Mediator]:
    """The package's mediator in each mode, called by a Hub that systemd started."""
    hub = request.param(vm, "/usr/bin")
    hub.put_server()
    hub.permit()
    if isinstance(hub, RootMediator):
        hub.set_policy()
        hub.add_hook("10-scratch", HOOK)
    yield hub
    if isinstance(hub, UnitHub):
        hub.end_units()
    hub.kill_processes()
    hub.remove_all() if isinstance(hub, RootMediator) else hub.forbid()


def use_a_server(hub: Mediator) -> None:
    """Start a server, ask about it, look at its domain, and stop it."""
    spawned = hub.spawn("listen", str(PORT), wait=WAIT)
    reply = spawned.reply
    assert (reply["ok"], reply["listening"]) == (True, True), spawned
    if isinstance(hub, RootMediator):
        assert [hook["status"] for hook in reply["hooks"]] == ["ok"]
        assert ":initrc_t:" in reply["hooks"][0]["output"]
    domain = hub.machine.run(["ps", "--format", "label=", str(reply["pid"])]).stdout
    assert ":initrc_t:" in domain
    unit = {"unit": reply["unit"]} if "unit" in reply else {}
    status = {"action": "status", "pid": reply["pid"], **unit}
    assert hub.call(status).reply["alive"] is True
    assert hub.stop(spawned, **unit)["alive"] is False


def test_selinux_enforces_and_the_packages_programs_have_their_labels(vm: VirtualMachine) -> None:
    assert vm.run(["getenforce"]).stdout == "Enforcing\n"
    vm.run(["matchpathcon", "-V", *(f"/usr/bin/{name}" for name in PROGRAMS)])
    assert vm.run(["dpkg", "--verify", "sudospawner"]).stdout == ""


def test_a_server_starts_and_stops_and_nothing_is_denied_but_what_has_no_effect(
    hub: Mediator,
) -> None:
    with watch_denials(hub.machine) as denials:
        use_a_server(hub)
    # sudospawner.te says what it is.
    harmless = 'name="fd" dev="proc"'
    assert [line for line in denials if harmless not in line] == []
    assert bool(denials) == isinstance(hub, UnitHub)


def test_jsd_helper_starts_and_stops_a_unit(vm: VirtualMachine) -> None:
    helper = Helper(vm, "/usr/bin/jsd-helper")
    helper.set_policy()
    with watch_denials(vm) as denials:
        run = helper.call(helper.list_words(args=["listen", str(PORT)]))
        assert run.returncode == 0, run.stderr
        assert helper.is_running()
        assert helper.call(["systemctl", "stop", "jsu-zoe.service"]).returncode == 0
    helper.remove_all()
    assert denials == []


def test_the_check_knows_that_selinux_enforces_and_finds_no_denial(vm: VirtualMachine) -> None:
    words = ["/usr/bin/sudospawner", "check", "--json", "--mode=user", "--hub-user=rhea"]
    report = json.loads(vm.run(words, check=False).stdout)
    found = {one["code"]: one["sentence"] for one in report["findings"]}
    assert found["selinux"] == "SELinux is enforcing"
    assert "selinux_denied" not in found


@pytest.fixture(scope="module")
def module(vm: VirtualMachine) -> Iterator[None]:
    """Our policy module, compiled and loaded as docs/sudo.md says, and removed again."""
    vm.run(["checkmodule", "-M", "-m", "-o", "sudospawner.mod", SOURCE])
    vm.run(["semodule_package", "-o", "sudospawner.pp", "-m", "sudospawner.mod"])
    vm.run(["semodule", "-i", "sudospawner.pp"], timeout=1200)
    yield
    vm.run(["semodule", "-r", "sudospawner"], timeout=1200)
    assert "sudospawner" not in vm.run(["semodule", "-l"]).stdout.split()


@pytest.mark.usefixtures("module")
def test_with_our_module_nothing_is_denied_at_all(hub: Mediator) -> None:
    with watch_denials(hub.machine) as denials:
        use_a_server(hub)
    assert denials == []
