"""Names of targets, where the account database is less exact than the files in /etc."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.machine import Machine
from system.mediator import RootMediator
from system.units import POLICY

SWITCH = "/etc/nsswitch.conf"
CALL = {"action": "kill", "pid": 999999, "signal": 0}


@pytest.fixture
def loose_names(machine: Machine) -> Iterator[Machine]:
    """The machine, with an account database that takes many names for zoe."""
    zoe = machine.look_up_account("zoe").uid
    group = machine.run(["getent", "group", "jupyterhub"]).stdout.split(":")[2]
    machine.write("/run/loose.c", Path(__file__).with_name("loose_names.c").read_text())
    place = "/usr/lib/$(cc -print-multiarch)/libnss_loose.so.2"
    machine.run(
        f"cc -shared -fPIC -DZOE={zoe} -DJUPYTERHUB={group} -o {place} /run/loose.c && "
        f"cp {SWITCH} {SWITCH}.before && sed -i 's/^passwd:.*/& loose/' {SWITCH}"
    )
    yield machine
    machine.run(f"mv {SWITCH}.before {SWITCH} && rm {place}")


@pytest.mark.parametrize("name", ["ZOE", "Zoe", "#0", "#1000", "-x", "+x", "%x", " zoe", "zoe "])
def test_a_name_that_only_the_account_database_takes_for_somebodys_is_refused(
    root_mediator: RootMediator, loose_names: Machine, name: str
) -> None:
    assert loose_names.run(["getent", "passwd", "--", name]).stdout != ""
    answer = root_mediator.call(CALL, target=name)
    assert (answer.reply["code"], answer.status) == ("target_unknown", 1)


def test_libraries_for_accounts_see_nothing_of_the_callers_environment(
    root_mediator: RootMediator, loose_names: Machine
) -> None:
    seen, env = ["test", "-e", "/run/seen-by-names"], {"OF_THE_CALLER": "1"}
    loose_names.run(["getent", "passwd", "--", "ZOE"], env=env)
    loose_names.run(seen)
    loose_names.run(["rm", "/run/seen-by-names"])
    words = [root_mediator.path, "--user=ZOE"]
    run = loose_names.run(words, env=env, input=json.dumps(CALL), check=False)
    assert json.loads(run.stdout)["code"] == "target_unknown"
    assert loose_names.run(seen, check=False).returncode == 1


@pytest.mark.parametrize("launcher", ["", POLICY], ids=["process", "unit"])
def test_what_libraries_for_accounts_leave_open_reaches_neither_server_nor_hook(
    root_mediator: RootMediator, loose_names: Machine, launcher: str
) -> None:
    # It is asked about zoe, too.
    loose_names.run(["sed", "-i", "s/^passwd:.*/passwd: loose files/", SWITCH])
    root_mediator.set_policy(launcher)
    root_mediator.add_hook("10-daemon", "#!/bin/sh\nsetsid sleep 7785 >/dev/null 2>&1 &\n")
    spawned = root_mediator.spawn("sleep", "0")
    # The server, its supervisor, root's keeper, and what the hook left.
    names = "^sudospawner-(supervisor|keeper)|sudospawner-singleuser|^sleep 7785"
    look = f"for pid in $(pgrep -f '{names}'); do readlink /proc/$pid/exe /proc/$pid/fd/*; done"
    seen = loose_names.run(look, check=False).stdout
    root_mediator.stop(spawned, unit=spawned.reply.get("unit", ""))
    assert "/dev/null" in seen
    assert "/etc/shadow" not in seen
