"""A home whose file server answers no more holds nobody up, and leaves nothing behind.

The file server is stopped by SIGSTOP, so that each access to the home waits until SIGCONT. In each
mode a start says in time that the home hangs, servers are watched and ended, and other users notice
nothing. When the file server comes back, nothing is left of what waited for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.hub import Hub
from machine.machine import Machine
from system.homes import (
    HOME,
    FileServer,
    set_server,
    wait_for_the_end,
)
from system.mediator import SERVER, Answer, Mediator, RootMediator, read_what_is_there, wait_until
from system.units import MODES, UnitMediator, mediator_in

PORT = 4700
# Longer than a slow computer takes for any call, and shorter than the home hangs.
IN_TIME = 120.0


@pytest.fixture(params=MODES)
def mediator(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in each mode."""
    with mediator_in(request.param, machine, hub6.bin / "sudospawner") as mediator:
        yield mediator


@pytest.fixture(params=["unkillable"])
def home(request: pytest.FixtureRequest, mediator: Mediator) -> Iterator[FileServer]:
    """A home on a file server; when it has come back, no process may have stayed."""
    server = FileServer(mediator.machine, is_killable=request.param == "killable")
    try:
        yield server
        server.resume()
        wait_for_the_end(mediator)
    finally:
        server.resume()
        mediator.kill_processes()
        server.unmount()
    wait_until(
        lambda: not any(line.startswith("D") for line in list_states(mediator.machine)),
        "the end of all that waits in the kernel",
    )


def list_states(machine: Machine) -> list[str]:
    """Each process of the machine, its state first."""
    return machine.run(["ps", "-eo", "stat=,user=,args="]).stdout.splitlines()


def begin_spawn(mediator: Mediator, *args: str, seconds: float) -> subprocess.Popen[str]:
    """Begin to start a server of zoe's that is to listen within this time."""
    wait = {"port": PORT, "seconds": seconds}
    return mediator.start({"action": "spawn", "args": list(args), "env": {}, "wait": wait})


def take_answer(process: subprocess.Popen[str]) -> Answer:
    """The answer of a call, which has to end in time, whoever else holds its pipes."""
    assert process.stdout is not None and process.stderr is not None
    wait_until(lambda: process.poll() is not None, "the end of the call", IN_TIME)
    lines = read_what_is_there(process.stdout.fileno()).splitlines()
    log = read_what_is_there(process.stderr.fileno())
    process.stdout.close()
    process.stderr.close()
    replies = [json.loads(line) for line in lines]
    return Answer(replies[-1] if replies else {}, replies[:-1], process.returncode, log)


def call(mediator: Mediator, action: str, spawned: Answer, **fields: Any) -> dict[str, Any]:
    """Ask about a server, or end it, in time."""
    server = {key: spawned.reply[key] for key in ("pid", "started", "unit") if key in spawned.reply}
    name = spawned.reply["name"]
    request = {"action": action, "server_name": name, **server, **fields}
    return take_answer(mediator.start(request)).reply


def start_server(mediator: Mediator, name: str, port: int, *args: str) -> Answer:
    """Start one of zoe's servers, and see that it listens before it does what `args` say."""
    wait = {"port": port, "seconds": 60}
    spawned = mediator.spawn("listen", str(port), *args, server_name=name, wait=wait)
    assert spawned.reply["ok"] and spawned.reply["listening"], spawned
    spawned.reply["name"] = name
    return spawned


def check(mediator: Mediator, viewer: str) -> dict[str, dict[str, Any]]:
    """What the check says of the machine and zoe, by code."""
    words = [mediator.path, "check", "--json", "--mode=user", "--hub-user=rhea", "--user=zoe"]
    run = mediator.machine.run(words, user=viewer, check=False, timeout=IN_TIME)
    return {finding["code"]: finding for finding in json.loads(run.stdout)["findings"]}


def find_holders(mediator: Mediator, process: subprocess.Popen[str]) -> list[str]:
    """The pids of processes that act for zoe and could write to the stdout of a call."""
    assert process.stdout is not None
    pipe = f"pipe:[{os.fstat(process.stdout.fileno()).st_ino}]"
    pids = mediator.machine.run(["pgrep", "--uid", "zoe,nobody"], check=False).stdout.split()
    look = 'for pid; do readlink /proc/$pid/fd/* | grep -qxF "$PIPE" && echo $pid; done; true'
    command = ["sh", "-c", look, "sh", *pids]
    return mediator.machine.run(command, env={"PIPE": pipe}).stdout.split()


def test_a_home_that_answers_late_is_waited_for_and_delays_nobody_else(
    mediator: Mediator, home: FileServer
) -> None:
    home.stop()
    late = begin_spawn(mediator, "listen", str(PORT), seconds=600)
    wait_until(home.is_waited_for, "a process that waits for its home")
    # Whoever reads the reply to the end of its pipe would wait with that process.
    assert len(find_holders(mediator, late)) == 1
    wait = {"port": PORT + 1, "seconds": 60}
    other = mediator.spawn("listen", str(PORT + 1), target="wash", wait=wait)
    assert other.reply["ok"] and other.reply["listening"], other
    request = {"action": "stop", "pid": other.reply["pid"], "unit": other.reply.get("unit", "")}
    assert mediator.call(request, target="wash").reply["alive"] is False
    assert late.poll() is None
    home.resume()
    spawned = take_answer(late)
    assert (spawned.reply["ok"], spawned.reply["listening"]) == (True, True)
    assert mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False


@pytest.mark.parametrize(
    ("mediator", "home", "log"),
    [
        ("user", "killable", "hub"),
        ("root", "unkillable", "hub"),
        # Here the supervisor, too, waits for the home, and nobody ends the server's process.
        ("user", "unkillable", "file"),
        ("root", "unkillable", "file"),
        # Here the server's own process opens the log.
        ("unit", "killable", "file"),
    ],
    indirect=["mediator", "home"],
)
def test_a_start_in_a_home_that_hangs_ends_with_an_error_that_names_it(
    mediator: Mediator, home: FileServer, log: str
) -> None:
    if log == "file":
        set_server(mediator, 'log = "file"')
    home.stop()
    answer = take_answer(begin_spawn(mediator, "listen", str(PORT), seconds=0))
    assert (answer.reply["ok"], answer.reply.get("code"), answer.status) == (
        False,
        "home_unresponsive",
        0,
    )
    assert HOME in answer.reply["error"]
    if isinstance(mediator, RootMediator) and log == "file":
        # When the home answers, nobody is left who could end what waited for it.
        ours = f"{mediator.folder.parent}/[b]in/"
        look = ["pgrep", "--uid", "root", "--full", ours]
        wait_until(
            lambda: mediator.machine.run(look, check=False).stdout == "",
            "the end of the monitor",
            IN_TIME,
        )
    home.resume()
    wait_for_the_end(mediator)


def test_a_directory_of_the_servers_program_that_hangs_is_named_in_time(
    mediator: Mediator,
) -> None:
    machine, programs, place = mediator.machine, "/srv/source", "/srv/programs"
    machine.write(f"{programs}/sudospawner-singleuser", SERVER.read_text(), mode=0o755)
    machine.run(["mkdir", "--parents", place])
    server = FileServer(machine, home=place, source=programs)
    set_server(mediator, f'directory = "{place}"')
    try:
        server.stop()
        answer = take_answer(begin_spawn(mediator, seconds=5))
        assert (answer.reply["code"], answer.status) == ("server_unresponsive", 0)
        assert place in answer.reply["error"]
        status = take_answer(mediator.start({"action": "status", "pid": 999999}))
        assert status.reply["alive"] is False
        server.resume()
        wait_for_the_end(mediator)
        assert mediator.stop(mediator.spawn())["ok"]
    finally:
        server.unmount()


@pytest.mark.parametrize("mediator", ["unit"], indirect=True)
def test_a_unit_with_a_process_that_the_kernel_keeps_is_in_the_way_of_the_next_start(
    mediator: UnitMediator, home: FileServer
) -> None:
    # systemd gives up after four times as long.
    mediator.set_policy('[systemd]\nproperties = { TimeoutStopSec = "1" }\n')
    home.stop()
    first, second = (
        take_answer(begin_spawn(mediator, "listen", str(PORT), seconds=0)) for _ in range(2)
    )
    assert first.reply["code"] == "home_unresponsive", first
    assert second.reply["code"] == "already_running", second
    assert "systemctl status" in second.reply["error"]
    home.resume()
    wait_for_the_end(mediator)
    third = take_answer(begin_spawn(mediator, "listen", str(PORT), seconds=60))
    assert third.reply["ok"] is True, third
    assert mediator.stop(third, unit=third.reply["unit"])["alive"] is False


@pytest.mark.parametrize("mediator", ["user"], indirect=True)
@pytest.mark.parametrize("viewer", ["root", "rhea"])
def test_the_check_says_of_a_home_that_it_hangs_and_sees_the_rest(
    mediator: Mediator, home: FileServer, viewer: str
) -> None:
    home.stop()
    found = check(mediator, viewer)
    assert found["home_unresponsive"]["level"] == "problem", found
    assert HOME in found["home_unresponsive"]["sentence"]
    assert found["server_not_executable"]["level"] == "ok"
    # Of what root has to run, nothing asks the file server.
    if viewer == "root":
        assert "fuse" in mediator.machine.run(found["home_unresponsive"]["remedy"]).stdout


def test_servers_in_a_home_that_hangs_are_watched_and_ended(
    mediator: Mediator, home: FileServer
) -> None:
    idle = start_server(mediator, "idle", PORT)
    waits = start_server(mediator, "waits", PORT + 1, "wait-for", f"{HOME}/never")
    home.stop()
    wait_until(home.is_waited_for, "a server that waits for its home")
    for server in (idle, waits):
        assert call(mediator, "status", server)["alive"] is True
        assert call(mediator, "kill", server, signal=0)["alive"] is True
    assert call(mediator, "stop", idle)["alive"] is False
    seconds = {"interrupt_seconds": 0, "term_seconds": 0, "kill_seconds": 1}
    # The kernel keeps what waits for the file server.
    assert call(mediator, "stop", waits, **seconds)["alive"] is True
    home.resume()
    wait_for_the_end(mediator)
    assert call(mediator, "stop", waits)["alive"] is False


@pytest.mark.parametrize("mediator", ["user"], indirect=True)
def test_a_remedy_for_a_home_is_looked_for_in_time(mediator: Mediator) -> None:
    """A closed directory keeps zoe from the place where the home hangs, but not root."""
    machine, closed = mediator.machine, "/srv/closed"
    machine.run(["install", "-d", "-m", "0700", closed])
    home = FileServer(machine, home=f"{closed}/zoe", is_killable=True)
    machine.run(["usermod", "--home", f"{closed}/zoe", "zoe"])
    home.stop()
    try:
        found = check(mediator, "root")["home_closed"]
    finally:
        machine.run(["usermod", "--home", HOME, "zoe"])
        home.unmount()
    assert found["level"] == "problem", found
    # What mends it is not known, but how to find out.
    assert found["remedy"].startswith("findmnt ")


@pytest.mark.parametrize("mediator", ["user"], indirect=True)
def test_a_hub_serves_others_while_a_home_hangs(
    mediator: Mediator, home: FileServer, hub6: Cache
) -> None:
    settings = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}\n'
    with Hub(mediator.machine, hub6, configuration=settings, port=8060) as hub:
        home.stop()
        hub.request("POST", "/hub/api/users/zoe/server")
        wait_until(home.is_waited_for, "a process that waits for its home")
        hub.start_server("wash")
        hub.stop_server("wash")
        assert hub.find_server("zoe")["pending"] == "spawn"
        home.resume()
        assert list(hub.follow_progress("zoe"))[-1]["ready"] is True
        hub.stop_server("zoe")
