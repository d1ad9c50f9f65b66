"""A session of PAM's round a server: what a server has of it, with each launcher."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.mediator import OWN, Answer, wait_for_file, wait_until
from system.sessions import FILE, LAUNCHERS, MODULES, NOTE, Sessions, sessions_in

DEBIANS = (13, 12)

PORT = 4500
SEEN = "/home/zoe/seen.json"


@pytest.fixture(params=LAUNCHERS)
def sessions(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Sessions]:
    """Sessions of servers with each launcher."""
    with sessions_in(machine, request.param, hub6.bin / "sudospawner") as sessions:
        yield sessions


def start(sessions: Sessions, *args: str, **fields: Any) -> Answer:
    """Start a server of zoe's that listens."""
    wait = {"port": PORT, "seconds": 120}
    spawned = sessions.mediator.spawn(*args, "listen", str(PORT), wait=wait, **fields)
    assert spawned.reply["ok"], spawned
    return spawned


def report(sessions: Sessions, **fields: Any) -> tuple[Answer, dict[str, Any]]:
    """Start one, and what it has seen of itself."""
    spawned = start(sessions, "report", SEEN, **fields)
    seen = json.loads(sessions.machine.read(SEEN))
    sessions.machine.run(["rm", SEEN])
    return spawned, seen


def stop(sessions: Sessions, spawned: Answer) -> None:
    """Stop it, and wait until its session is closed."""
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
    sessions.wait_for_close()


def read_limit(sessions: Sessions, spawned: Answer, name: str) -> list[str]:
    """A soft and a hard limit of a server."""
    lines = sessions.machine.read(f"/proc/{spawned.reply['pid']}/limits").splitlines()
    [line] = [line for line in lines if line.startswith(f"Max {name} ")]
    return line.removeprefix(f"Max {name} ").split()[:2]


def test_a_server_has_what_the_modules_give_and_is_the_target_alone(sessions: Sessions) -> None:
    spawned, seen = report(sessions, env={"A": "b"})
    zoe = sessions.machine.look_up_account("zoe")
    runtime = f"/run/user/{zoe.uid}"
    assert (seen["env"]["A"], seen["env"]["FROM_PAM"]) == ("b", "for-zoe")
    assert seen["env"]["XDG_RUNTIME_DIR"] == runtime
    assert sessions.machine.run(["stat", "-c", "%U %a", runtime]).stdout == "zoe 700\n"
    assert read_limit(sessions, spawned, "pending signals") == ["4711", "4711"]
    assert sessions.list_of_logind() == [seen["env"]["XDG_SESSION_ID"]]
    assert seen["uids"] == [zoe.uid] * 3
    assert seen["groups"] == sorted(map(int, sessions.machine.run("id -G zoe").stdout.split()))
    assert int(seen["capabilities"], 16) == 0
    assert (seen["ignored"], seen["blocked"]) == (0, 0)
    assert {"0", "1", "2"} >= set(seen["descriptors"])
    assert (seen["umask"], seen["cwd"]) == (0o022, "/home/zoe")
    assert sessions.read_notes() == ["open_session zoe"]
    [closer] = sessions.list_closers()
    assert sessions.machine.run(["stat", "-c", "%U", f"/proc/{closer}"]).stdout == "root\n"
    # It holds nothing of the call.
    links = sessions.machine.run(f"find /proc/{closer}/fd -type l -printf '%l\\n'").stdout
    assert "/dev/null" in links
    assert "memfd" not in links and "pipe" not in links
    stop(sessions, spawned)


def test_what_request_and_policy_say_wins(sessions: Sessions) -> None:
    sessions.set_policy(
        more="[limits]\nrlimits = { sigpending = 99 }\n"
        '[environment]\nremove = ["XDG_RUNTIME_*"]\nset = { XDG_SESSION_ID = "set" }\n'
    )
    spawned, seen = report(sessions, env={"FROM_PAM": "mine"})
    assert seen["env"]["FROM_PAM"] == "mine"
    assert seen["env"]["XDG_SESSION_ID"] == "set"
    assert "XDG_RUNTIME_DIR" not in seen["env"]
    assert read_limit(sessions, spawned, "pending signals") == ["99", "99"]
    stop(sessions, spawned)


def test_without_the_key_nothing_is_opened(sessions: Sessions) -> None:
    launcher = "systemd" if sessions.is_in_unit else "process"
    sessions.mediator.set_policy(f'[server]\nlauncher = "{launcher}"\n')
    program = sessions.mediator.path.with_name("sudospawner-session")
    sessions.machine.run(["rm", program])
    spawned, seen = report(sessions)
    assert "FROM_PAM" not in seen["env"]
    assert sessions.read_notes() == []
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False


@pytest.mark.parametrize("sessions", ["systemd"], indirect=True)
def test_the_limits_of_a_unit_hold_although_logind_has_a_session(sessions: Sessions) -> None:
    sessions.set_policy(more='[limits]\nmemory = "64M"\n')
    spawned = start(sessions, "eat", "256")
    assert sessions.list_of_logind() != []
    wait_for_file(sessions.mediator, "/home/zoe/eaten")
    assert sessions.machine.read("/home/zoe/eaten") == "-9"
    sessions.machine.run(["rm", "/home/zoe/eaten"])
    stop(sessions, spawned)


def test_a_home_can_be_made_by_a_module(sessions: Sessions) -> None:
    home = "/home/nohome"
    sessions.set_modules(f"{MODULES}session required pam_mkhomedir.so umask=0077\n")
    request = {"action": "spawn", "args": ["report", f"{home}/seen.json"], "env": {}}
    try:
        spawned = sessions.mediator.call(request, target="nohome")
        assert spawned.reply["ok"], spawned
        wait_for_file(sessions.mediator, f"{home}/seen.json")
        assert sessions.machine.run(["stat", "-c", "%U %a", home]).stdout == "nohome 700\n"
        named = {key: spawned.reply[key] for key in ("pid", "unit") if key in spawned.reply}
        stop_it = {"action": "stop", "interrupt_seconds": 0, **named}
        assert sessions.mediator.call(stop_it, target="nohome").reply["alive"] is False
        sessions.wait_for_close("nohome")
    finally:
        sessions.machine.run(["rm", "-rf", home])


def test_two_servers_of_a_user_have_a_session_each(sessions: Sessions) -> None:
    first = start(sessions)
    second = sessions.mediator.spawn(server_name="gpu")
    assert second.reply["ok"], second
    assert len(sessions.list_of_logind()) == len(sessions.list_closers()) == 2
    unit = second.reply.get("unit", "")
    stopped = sessions.mediator.stop(second, unit=unit, server_name="gpu")
    assert stopped["alive"] is False
    stop(sessions, first)


def test_the_example_is_a_service_as_it_stands(sessions: Sessions) -> None:
    sessions.set_modules((REPOSITORY / "examples/pam/sudospawner").read_text())
    spawned, seen = report(sessions)
    assert seen["env"]["XDG_RUNTIME_DIR"].startswith("/run/user/")
    assert len(sessions.list_closers()) == 1
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
    wait_until(lambda: sessions.list_closers() == [], "the end of what closes it")


def test_the_service_is_a_file_that_is_read_at_each_start(sessions: Sessions) -> None:
    sessions.set_modules(
        f"auth required pam_permit.so\naccount required pam_permit.so\n"
        f"session required pam_exec.so {NOTE}\n"
    )
    spawned, seen = report(sessions)
    assert seen["env"] == OWN
    sessions.machine.run(["rm", FILE])
    reply = sessions.mediator.spawn(server_name="gpu").reply
    assert (reply["ok"], reply["code"]) == (False, "pam_failed")
    assert "there is no file /etc/pam.d/sudospawner" in reply["error"]
    stop(sessions, spawned)


def test_the_process_is_back_in_its_unit_on_cgroup_v2_alone(debian: int) -> None:
    hub6 = cache_named("hub6")
    with Machine(cgroups="v2", release=debian) as machine:
        install_what_is_tested(machine, hub6)
        with sessions_in(machine, "systemd", hub6.bin / "sudospawner") as sessions:
            spawned = start(sessions)
            assert sessions.list_of_logind() != []
            groups = machine.read(f"/proc/{spawned.reply['pid']}/cgroup").splitlines()
            assert "0::/jupyterhub.slice/jupyter-zoe.service" in groups
            stop(sessions, spawned)
