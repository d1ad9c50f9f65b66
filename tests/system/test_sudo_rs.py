"""sudo-rs in the place of sudo, as newer distributions have it: the calls, a Hub, and the check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.kernel import Kernel
from machine.machine import Machine
from system.mediator import Mediator, RootMediator, wait_until
from system.sudo_rs import ORIGINS, sudo_rs_in

RULES = "/etc/sudoers.d/printed"
POLICY = "/etc/sudospawner/policy.toml"
ROOT_MODE = 'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n'
PORT = 4300


@pytest.fixture(scope="module", params=ORIGINS)
def sudo_rs(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Machine]:
    """The machine with sudo-rs, and the tests' rules for sudo out of the way."""
    with sudo_rs_in(machine, request.param):
        yield machine


@pytest.fixture(params=["user", "root"])
def mode(request: pytest.FixtureRequest, sudo_rs: Machine, hub6: Cache) -> Iterator[str]:
    """A mode, with the rules that `sudospawner sudoers` prints for it, and a policy."""
    words: list[Any] = [hub6.bin / "sudospawner", "sudoers", "--hub-user=rhea"]
    words.append("--mode=root" if request.param == "root" else "--group=jupyterhub")
    try:
        if request.param == "root":
            sudo_rs.write(POLICY, ROOT_MODE)
        sudo_rs.write(RULES, sudo_rs.run(words).stdout, mode=0o440)
        sudo_rs.run(["visudo", "--check", "--file", RULES])
        yield request.param
    finally:
        sudo_rs.run(["rm", "-rf", RULES, "/etc/sudospawner"])


def check(machine: Machine, mode: str, viewer: str = "rhea") -> dict[str, dict[str, Any]]:
    """What the check finds wrong with sudo, by code, as an account sees it.

    Other tests' Hubs may be running in the machine, and are none of this.
    """
    program = cache_named("hub6").bin / "sudospawner"
    words = [program, "check", "--json", "--hub-user=rhea", "--user=zoe", f"--mode={mode}"]
    report = json.loads(machine.run(words, user=viewer, check=False).stdout)
    problems = [found for found in report["findings"] if found["level"] == "problem"]
    return {found["code"]: found for found in problems if found["area"] == "sudo"}


def use(mediator: Mediator) -> None:
    """Start a server, look at it, signal it and stop it."""
    spawned = mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    assert spawned.reply.get("listening") is True, spawned
    identity = {"pid": spawned.reply["pid"], "started": spawned.reply["started"]}
    status = mediator.call({"action": "status", **identity}).reply
    assert status["alive"] and status["uid"] == mediator.machine.look_up_account("zoe").uid
    killed = mediator.call({"action": "kill", "signal": 0, **identity}).reply
    assert killed == {"ok": True, "alive": True}
    assert mediator.stop(spawned, started=identity["started"])["alive"] is False
    sudos = mediator.machine.run(["pgrep", "-x", "sudo"], check=False).stdout
    assert sudos == "", "sudo has ended with the call"


def test_every_request_is_answered_in_user_mode(sudo_rs: Machine, mediator: Mediator) -> None:
    use(mediator)


def test_every_request_is_answered_in_root_mode(
    sudo_rs: Machine, root_mediator: RootMediator
) -> None:
    root_mediator.add_hook("10-who", "#!/bin/sh\nid -u >/run/hook-was\n")
    journal = ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "_UID=0", "--output=cat", "--quiet"]
    journal += ["--cursor-file=/run/read-so-far"]
    # Status 1 says that there is no line yet.
    sudo_rs.run(journal, check=False)
    use(root_mediator)
    assert sudo_rs.run(["cat", "/run/hook-was"]).stdout == "0\n"
    caller = f"caller=rhea({sudo_rs.look_up_account('rhea').uid}) target=zoe"
    lines: list[str] = []

    def read_on() -> int:
        lines.extend(sudo_rs.run(journal, check=False).stdout.splitlines())
        return len(lines)

    # Each call's line is written by a process of its own, which may outlive the call.
    wait_until(lambda: read_on() >= 4, "the lines of all calls")
    actions = ("kill", "spawn", "status", "stop")
    assert sorted(lines) == [f"{caller} action={action} code=ok" for action in actions]
    sudo_rs.run(["rm", "/run/hook-was", journal[-1].partition("=")[2]])


def test_a_hub_starts_a_server_that_runs_a_cell(sudo_rs: Machine, hub6: Cache, mode: str) -> None:
    setting = f'c.SudoSpawner.mode = "{mode}"\n'
    with Hub(sudo_rs, hub6, configuration=setting, port=8050) as hub:
        hub.start_server("zoe")
        with Kernel(hub, "zoe") as kernel:
            assert kernel.run("import getpass; print(getpass.getuser())") == "zoe\n"
        hub.stop_server("zoe")
        with pytest.raises(HubError) as refusal:
            hub.start_server("mal")
    assert "mal" in refusal.value.message.partition(": ")[2]


def test_the_check_finds_nothing_wrong_with_printed_rules(sudo_rs: Machine, mode: str) -> None:
    for viewer in ("rhea", "root"):
        assert check(sudo_rs, mode, viewer) == {}, viewer


def test_the_check_says_what_mends_missing_rules(sudo_rs: Machine, mode: str) -> None:
    sudo_rs.run(["rm", RULES])
    found = check(sudo_rs, mode, "root")
    assert set(found) == {"sudo_refuses"}
    sudo_rs.run(["sh", "-c", found["sudo_refuses"]["remedy"]])
    assert check(sudo_rs, mode, "root") == {}
    sudo_rs.run("rm /etc/sudoers.d/sudospawner*")
