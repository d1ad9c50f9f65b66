"""What lasts: the door under floods, calls whose door or caller ends, and nothing when idle."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.door import SERVICE, SOCKET, SocketMediator, describe_request
from system.mediator import RootMediator, wait_until
from system.socket_calls import (
    ANSWER,
    KILL,
    PROGRAM,
    Log,
    expect_the_hubs_answer,
    get_code,
    installed_door,
    list_of_root,
    say,
    tell,
    unchanged,
)

PORT = 4400


@pytest.fixture(scope="module")
def installed(machine: Machine, hub6: Cache) -> Iterator[SocketMediator]:
    """The mediator behind its door, for all tests of this file."""
    with installed_door(machine, hub6.bin / "sudospawner") as mediator:
        yield mediator


@pytest.fixture
def mediator(installed: SocketMediator) -> Iterator[SocketMediator]:
    """The same; what a test changes is undone."""
    with unchanged(installed) as mediator:
        yield mediator


# --- Floods ---


def test_a_thousand_connections_of_a_stranger_cost_the_hub_nothing(
    mediator: SocketMediator,
) -> None:
    machine = mediator.machine
    machine.run(["chmod", "0666", SOCKET])
    log = Log(machine)
    flood = [PROGRAM, *["many", "250"] * 4, "wait-for", "/run/enough"]
    stranger = machine.start(flood, user="mal", stdout=subprocess.PIPE, text=True)
    assert stranger.stdout is not None and stranger.stdout.readline().startswith("opened ")
    expect_the_hubs_answer(mediator)
    assert [line.split()[0] for line in (stranger.stdout.readline() for _ in range(3))] == [
        "opened"
    ] * 3
    expect_the_hubs_answer(mediator)
    machine.write("/run/enough", "")
    stranger.wait()
    machine.run(["rm", "/run/enough"])
    uid = machine.look_up_account("mal").uid
    lines = log.read()
    refused = lines.count(f"caller={uid} target=? action=? code=caller_not_permitted")
    # The door writes at most so many in ten seconds, and each refusal at most one.
    assert 1 <= refused <= 1000
    assert len(lines) == refused + 2


def test_a_thousand_connections_of_one_hub_leave_another_hub_its_places(
    mediator: SocketMediator,
) -> None:
    machine = mediator.machine
    machine.run(["chmod", "0666", SOCKET])
    policy = machine.read(RootMediator.POLICY)
    machine.write(RootMediator.POLICY, policy.replace('["rhea"]', '["rhea", "mal"]'))
    flood = [PROGRAM, "many", "1000", "wait-for", "/run/enough"]
    rhea = machine.start(flood, user="rhea", stdout=subprocess.PIPE, text=True)
    assert rhea.stdout is not None and rhea.stdout.readline().startswith("opened ")
    [told] = say(mediator, "open", "send", tell(), "shut", "read", user="mal")
    assert json.loads(told["text"]) == ANSWER
    # 64, less the 8 that the other account can count on.
    assert len([line for line in list_of_root(mediator) if "--call=rhea" in line]) <= 56
    [told] = say(mediator, "open", "read", user="rhea")
    assert get_code(told) == "too_many_calls"
    machine.write("/run/enough", "")
    rhea.wait()
    machine.run(["rm", "/run/enough"])
    wait_until(lambda: mediator.call(KILL).reply == ANSWER, "room for the Hub again")


def test_fifty_calls_at_once_are_all_answered(mediator: SocketMediator) -> None:
    calls = [mediator.start(KILL) for _ in range(50)]
    for call in calls:
        assert call.stdout is not None and call.stderr is not None
        assert json.loads(call.stdout.read()) == ANSWER
        call.wait()
        call.stdout.close()
        call.stderr.close()


# --- Ends ---


def test_a_caller_that_goes_away_at_any_moment_leaves_a_unit_or_nothing(
    mediator: SocketMediator,
) -> None:
    machine = mediator.machine
    moments = random.Random(3)
    wait = {"port": PORT, "seconds": 600}
    spawn = {"action": "spawn", "args": [], "env": {}, "wait": wait}
    machine.write("/run/call", describe_request(spawn, "zoe"))
    for _ in range(40):
        leave = (
            "import socket, sys, time\n"
            "made = socket.socket(socket.AF_UNIX)\n"
            f"made.connect({SOCKET!r})\n"
            "made.sendall(open('/run/call', 'rb').read())\n"
            "if sys.argv[2] == 'shut': made.shutdown(socket.SHUT_WR)\n"
            "time.sleep(float(sys.argv[1]))"
        )
        words = [f"{moments.uniform(0, 0.12):.3f}", moments.choice(["shut", "open"])]
        machine.run(["python3", "-I", "-c", leave, *words], user="rhea")

    def list_left() -> list[str]:
        ours = [line for line in list_of_root(mediator) if "-door" not in line]
        return ours + mediator.list_units() + mediator.list_processes()

    wait_until(lambda: list_left() == [], "the end of what was left")
    machine.run(["rm", "/run/call"])


def test_a_caller_that_reads_nothing_is_given_up_and_its_server_undone(
    mediator: SocketMediator,
) -> None:
    """Its reply is longer than what the kernel keeps of a connection."""
    machine = mediator.machine
    flood = "#!/bin/sh\nhead -c 4096 /dev/zero | tr '\\0' '\\1'\n"
    for number in range(20):
        mediator.add_hook(f"{number + 10}-flood", flood)
    wait = {"port": PORT, "seconds": 60}
    spawn = {"action": "spawn", "args": ["listen", str(PORT)], "env": {}, "wait": wait}
    machine.write("/run/go-on", "")
    words = [PROGRAM, "open", "send", tell(spawn), "shut", "while", "/run/go-on"]
    caller = machine.start(words, user="rhea")
    wait_until(lambda: mediator.list_processes() != [], "the server")
    wait_until(lambda: mediator.list_processes() + mediator.list_units() == [], "its end")
    machine.run(["rm", "/run/go-on"])
    caller.wait()
    machine.run(["rm", "-r", mediator.HOOKS])


@pytest.mark.parametrize(
    "end", ["kill -KILL {pid}", f"systemctl stop {SERVICE}", "systemctl restart sudospawner.socket"]
)
def test_a_call_goes_on_when_the_door_ends(mediator: SocketMediator, end: str) -> None:
    machine = mediator.machine
    expect_the_hubs_answer(mediator)
    pid = mediator.door.pid
    wait = {"port": PORT, "seconds": 60}
    args = ["wait-for", "/run/go-on", "listen", str(PORT)]
    spawn = {"action": "spawn", "args": args, "env": {}, "wait": wait, "events": True}
    call = mediator.start(spawn)
    assert call.stdout is not None and call.stderr is not None
    assert '"started"' in call.stdout.readline()
    machine.run(end.format(pid=pid))
    machine.write("/run/go-on", "")
    reply = json.loads(call.stdout.read())
    call.wait()
    call.stdout.close()
    call.stderr.close()
    machine.run(["rm", "/run/go-on"])
    assert reply["listening"] is True
    stop = {"action": "stop", "pid": reply["pid"], "unit": reply["unit"], "interrupt_seconds": 0}
    assert mediator.call(stop).reply["alive"] is False
    assert mediator.door.pid not in ("0", pid)


def test_nothing_of_roots_is_left_when_nobody_has_called_for_a_while(
    mediator: SocketMediator,
) -> None:
    expect_the_hubs_answer(mediator)
    assert mediator.door.show("ActiveState")["ActiveState"] == "active"
    wait_until(lambda: list_of_root(mediator) == [], "the door's end")
    shown = mediator.door.show("ActiveState", "Result", "TasksCurrent")
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
    assert mediator.door.show("ActiveState", unit="sudospawner.socket")["ActiveState"] == "active"
    expect_the_hubs_answer(mediator)


def test_a_policy_that_has_changed_counts_for_the_next_call(mediator: SocketMediator) -> None:
    machine = mediator.machine
    expect_the_hubs_answer(mediator)
    policy = machine.read(RootMediator.POLICY)
    machine.run(["chmod", "0666", SOCKET])
    machine.write(RootMediator.POLICY, policy.replace('["rhea"]', '["mal"]'))
    for user, code in [("mal", "ok"), ("rhea", "caller_not_permitted")]:
        [told] = say(mediator, "open", "send", tell(), "shut", "read", user=user)
        assert get_code(told) == code
    machine.write(RootMediator.POLICY, policy)
    expect_the_hubs_answer(mediator)
    machine.write(RootMediator.POLICY, policy + "nonsense")
    [told] = say(mediator, "open", "send", tell(), "shut", "read")
    assert get_code(told) == "policy_malformed"
