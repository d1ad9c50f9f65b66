"""`sudospawner check` in socket mode: what is wrong with socket and door, and what mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.door import SERVICE, SOCKET, SOCKET_UNIT, UNITS, Door
from system.mediator import RootMediator


class Checked:
    """A machine whose Hub, which may not use sudo, is rhea's."""

    def __init__(self, machine: Machine, mediator: RootMediator) -> None:
        self.machine = machine
        self.mediator = mediator

    def check(self, viewer: str) -> dict[str, dict[str, Any]]:
        """The findings that are about sudo, the socket or the policy, by their codes."""
        options = ["--json", "--mode=socket", "--hub-user=rhea", "--user=zoe", "--pam=no"]
        run = self.machine.run([self.mediator.path, "check", *options], user=viewer, check=False)
        assert run.returncode in (0, 1), run.stderr
        report = json.loads(run.stdout)
        assert report["mode"] == "socket"
        found = [it for it in report["findings"] if it["area"] in ("sudo", "socket", "policy")]
        return {it["code"]: it for it in found}

    def list_problems(self, viewer: str = "root") -> list[str]:
        """The codes of the problems."""
        return [code for code, it in self.check(viewer).items() if it["level"] == "problem"]

    def mend(self, finding: dict[str, Any]) -> None:
        """Hand a remedy to root's shell, as it is."""
        self.machine.run(["sh", "-c", finding["remedy"]])


@pytest.fixture(scope="module")
def checked(machine: Machine, hub6: Cache) -> Iterator[Checked]:
    """Where everything is installed but socket, service and policy."""
    mediator = RootMediator(machine, "/opt/checked/bin")
    mediator.install_binary(hub6.bin / "sudospawner")
    mediator.put_server()
    yield Checked(machine, mediator)
    machine.run(["systemctl", "disable", SOCKET_UNIT], check=False)
    Door(mediator).remove()
    machine.run(["rm", "-rf", UNITS / f"{SOCKET_UNIT}.d", mediator.folder, "/etc/sudospawner"])
    machine.run(["systemctl", "daemon-reload"])


def test_a_bare_machine_is_set_up_for_the_socket_by_remedies_alone(checked: Checked) -> None:
    assert {"door", "socket", "policy_missing"} <= set(checked.list_problems())
    for _ in range(9):
        problems = [it for it in checked.check("root").values() if it["level"] == "problem"]
        if not problems:
            break
        checked.mend(problems[0])
    for viewer in ("root", "rhea"):
        found = checked.check(viewer)
        assert {it["level"] for it in found.values()} == {"ok"}, found
        assert found["socket_call"]["level"] == "ok"
        assert not any(it["area"] == "sudo" for it in found.values())


@pytest.mark.parametrize(
    ("break_it", "code", "level"),
    [
        (f"systemctl stop {SERVICE} {SOCKET_UNIT}", "socket", "problem"),
        (f"chgrp root {SOCKET}", "socket_group", "problem"),
        (f"chmod 0666 {SOCKET}", "socket_mode", "warning"),
        ("chmod g+w /opt/checked/bin/sudospawner-door", "door", "problem"),
        (
            f"sed -i s:/opt/checked:/opt/another: {UNITS / SERVICE} && systemctl daemon-reload",
            "door",
            "problem",
        ),
        (
            "sed -i 's/launcher = .*/launcher = \"process\"/' /etc/sudospawner/policy.toml",
            "socket_launcher",
            "problem",
        ),
        ("sed -i 's/rhea/mal/' /etc/sudospawner/policy.toml", "hub_users", "problem"),
    ],
)
def test_each_thing_that_is_broken_is_found_and_mended(
    checked: Checked, break_it: str, code: str, level: str
) -> None:
    assert checked.list_problems() == []
    checked.machine.run(break_it)
    for viewer in ("rhea", "root"):
        found = checked.check(viewer)
        assert found[code]["level"] == level, found
    checked.mend(found[code])
    for viewer in ("root", "rhea"):
        found = checked.check(viewer)
        assert {it["level"] for it in found.values()} == {"ok"}, found
