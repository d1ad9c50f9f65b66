"""A session of PAM's is closed whatever ends its server, and modules that hang are given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Answer, wait_until
from system.sessions import LAUNCHERS, NOTE, NOTES, Sessions, sessions_in

PORT = 4510
# A module that does not come back when a file is there, and what it starts.
HANG = f"""#!/bin/sh
echo "$PAM_TYPE $PAM_USER" >>{NOTES}
[ ! -e "/run/hang-$PAM_TYPE" ] || exec sleep 4321
"""


@pytest.fixture(params=LAUNCHERS)
def sessions(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Sessions]:
    """Sessions of servers with each launcher."""
    with sessions_in(machine, request.param, hub6.bin / "sudospawner") as sessions:
        yield sessions


def start(sessions: Sessions, *args: str) -> Answer:
    """Start a server of zoe's that listens, in a session."""
    wait = {"port": PORT, "seconds": 120}
    spawned = sessions.mediator.spawn(*args, "listen", str(PORT), wait=wait)
    assert spawned.reply["ok"], spawned
    assert sessions.list_closers() != []
    return spawned


def find_parent(sessions: Sessions, pid: int) -> int:
    """The parent of a process."""
    return int(sessions.machine.run(["ps", "--format", "ppid=", "--pid", str(pid)]).stdout)


def kill_server(sessions: Sessions, pid: int) -> None:
    """End the server alone."""
    sessions.machine.run(["kill", "-KILL", str(pid)], user="zoe")


def kill_supervisor(sessions: Sessions, pid: int) -> None:
    """End what is beside the server, and then the server, which it would have ended."""
    supervisor = find_parent(sessions, pid)
    ended = [supervisor, pid] if supervisor > 1 else [pid]
    sessions.machine.run(["kill", "-KILL", *map(str, ended)], user="zoe")


def kill_everything(sessions: Sessions, _: int) -> None:
    """End all processes of the account."""
    sessions.machine.run(["pkill", "-KILL", "-u", "zoe"])


def terminate(sessions: Sessions, pid: int) -> None:
    """Have logind end the session; in a unit, the server is not in its control group."""
    [session] = sessions.list_of_logind()
    sessions.machine.run(["loginctl", "terminate-session", session])
    if sessions.is_in_unit:
        kill_server(sessions, pid)


def stop_unit(sessions: Sessions, pid: int) -> None:
    """Have systemd end whatever it can: the unit, or the scope of the session."""
    group = sessions.machine.run(f"grep name=systemd /proc/{pid}/cgroup || cat /proc/{pid}/cgroup")
    unit = group.stdout.strip().rsplit("/", 1)[-1]
    sessions.machine.run(["systemctl", "stop", unit])


ENDS = [kill_server, kill_supervisor, kill_everything, terminate, stop_unit]


@pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])
def test_the_session_is_closed_however_its_server_ends(
    sessions: Sessions, end: Callable[[Sessions, int], None]
) -> None:
    spawned = start(sessions)
    end(sessions, spawned.reply["pid"])
    sessions.wait_for_close()
    assert sessions.read_notes() == ["open_session zoe", "close_session zoe"]


def test_a_spawn_that_is_undone_has_its_session_closed(sessions: Sessions) -> None:
    reply = sessions.mediator.spawn("exit", "3", wait={"port": PORT, "seconds": 60}).reply
    assert (reply["code"], reply["exit"]) == ("exited_early", 3)
    sessions.wait_for_close()
    # Its caller goes while it starts.
    request = {"action": "spawn", "args": [], "env": {}, "wait": {"port": PORT, "seconds": 60}}
    call = sessions.mediator.start(request)
    wait_until(lambda: sessions.list_closers() != [], "a session")
    assert call.stdout is not None and call.stderr is not None
    call.stdout.close()
    call.stderr.close()
    call.wait()
    sessions.wait_for_close()


def test_a_daemon_of_a_hook_and_a_session_both_end_with_the_server(sessions: Sessions) -> None:
    daemon = "#!/bin/sh\nsetsid sleep 5432 >/dev/null 2>&1 &\n"
    sessions.mediator.add_hook("10-daemon", daemon)
    spawned = start(sessions)
    assert "sleep 5432" in sessions.mediator.list_processes("root")
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
    sessions.wait_for_close()
    wait_until(
        lambda: "sleep 5432" not in sessions.mediator.list_processes("root"), "the daemon's end"
    )


def test_what_a_server_may_leave_has_its_session_beside_the_hub_alone(sessions: Sessions) -> None:
    sessions.set_policy('leftovers = "keep"')
    spawned = start(sessions, "leave")
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
    left = ["sleep 9999"]
    if sessions.is_in_unit:
        wait_until(lambda: sessions.list_closers() == [], "the end of what closes it")
    else:
        # Its supervisor stays.
        assert sessions.read_notes() == ["open_session zoe"]
    assert set(left) <= set(sessions.mediator.list_processes())
    sessions.machine.run(["pkill", "-KILL", "-u", "zoe"])
    sessions.wait_for_close()


def test_modules_that_hang_are_given_up(machine: Machine, hub6: Cache) -> None:
    """At the end of a session and at its beginning, beside the Hub and in a unit: all at once."""
    binary = hub6.bin / "sudospawner"
    request = {"action": "spawn", "args": [], "env": {}, "server_name": "gpu"}

    def count_sleepers() -> int:
        ps = ["pgrep", "--count", "--exact", "--full", "sleep 4321"]
        return int(machine.run(ps, check=False).stdout)

    with sessions_in(machine, "process", binary) as beside:
        machine.write(NOTE, HANG, mode=0o755)
        spawned = start(beside)
        machine.run(["touch", "/run/hang-open_session", "/run/hang-close_session"])
        try:
            kill_server(beside, spawned.reply["pid"])
            call = beside.mediator.start(request)
            wait_until(lambda: count_sleepers() == 2, "modules that hang")
            with sessions_in(machine, "systemd", binary) as in_unit:
                machine.write(NOTE, HANG, mode=0o755)
                replies = [in_unit.mediator.call(request).reply]
                assert call.stdout is not None and call.stderr is not None
                replies.append(json.loads(call.stdout.read()))
                call.stdout.close()
                call.stderr.close()
                call.wait()
                wait_until(lambda: beside.list_closers() == [], "the end of what closes it")
                wait_until(lambda: count_sleepers() == 0, "the end of what modules have started")
        finally:
            machine.run(["rm", "-f", "/run/hang-open_session", "/run/hang-close_session"])
    for reply in replies:
        assert (reply["ok"], reply["code"]) == (False, "pam_failed")
        assert "session: no answer within 30 seconds" in reply["error"]
    log = machine.run(["journalctl", "--no-pager", "-t", "sudospawner-session"]).stdout
    assert "the modules have not closed the session in time" in log
