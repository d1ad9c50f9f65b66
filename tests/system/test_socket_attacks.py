"""Attacks on the door: by those who may not call, and by what callers say.

Each is refused or ended with one line of root's in the log, and costs others nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.door import SOCKET, SocketMediator, describe_request
from system.mediator import RootMediator, wait_until
from system.socket_calls import (
    ANSWER,
    KILL,
    PROGRAM,
    Log,
    expect_the_hubs_answer,
    get_code,
    installed_door,
    say,
    tell,
    unchanged,
)


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


# --- Who may call ---


@pytest.mark.parametrize("mistake", ["chmod 0666", "chgrp mal"])
def test_who_is_no_hub_user_is_refused_whatever_the_socket_lets_through(
    mediator: SocketMediator, mistake: str
) -> None:
    machine = mediator.machine
    machine.run(f"{mistake} {SOCKET}")
    log = Log(machine)
    [told] = say(mediator, "open", "send", tell(), "shut", "read", user="mal")
    assert get_code(told) == "caller_not_permitted"
    uid = machine.look_up_account("mal").uid
    log.wait_for(f"caller={uid} target=? action=? code=caller_not_permitted")


def test_root_itself_is_no_hub_user_at_a_socket(mediator: SocketMediator) -> None:
    """A program of root's may be had to connect by somebody else."""
    log = Log(mediator.machine)
    [told] = say(mediator, "open", "send", tell(), "shut", "read", user="root")
    assert get_code(told) == "caller_not_permitted"
    log.wait_for("caller=0 target=? action=? code=caller_not_permitted")


def test_nobody_is_no_hub_user_even_if_the_policy_says_so(mediator: SocketMediator) -> None:
    """Whoever does not exist in our user namespace is nobody to the kernel."""
    machine = mediator.machine
    machine.run(["chmod", "0666", SOCKET])
    policy = machine.read(RootMediator.POLICY)
    machine.write(RootMediator.POLICY, policy.replace('["rhea"]', '["rhea", "nobody"]'))
    call = [PROGRAM, "open", "send", tell(), "shut", "read"]
    told = json.loads(machine.run(call, user="nobody", cwd="/").stdout)
    assert get_code(told) == "caller_not_permitted"
    expect_the_hubs_answer(mediator)


def test_who_calls_from_other_namespaces_is_who_they_are(mediator: SocketMediator) -> None:
    machine = mediator.machine
    machine.run(["chmod", "0666", SOCKET])
    log = Log(machine)
    call = [PROGRAM, "open", "send", tell(), "shut", "read"]
    apart = ["unshare", "--user", "--map-root-user", "--mount", "--"]
    codes = {}
    for user in ("mal", "rhea"):
        said = machine.run([*apart, *call], user=user).stdout
        codes[user] = get_code(json.loads(said))
    assert codes == {"mal": "caller_not_permitted", "rhea": "ok"}
    # Root of a container, whose accounts are others here.
    mapped = ["unshare", "--user", "--map-users=0:100000:65536", "--map-groups=0:100000:65536"]
    said = machine.run([*mapped, "--setuid=0", "--setgid=0", "--mount", "--", *call]).stdout
    assert get_code(json.loads(said)) == "caller_not_permitted"
    rhea = machine.look_up_account("rhea").uid
    log.wait_for(f"caller=rhea({rhea}) target=zoe action=kill code=ok")
    log.wait_for("caller=100000 target=? action=? code=caller_not_permitted")


def test_a_connection_that_is_passed_on_stays_a_call_of_the_hubs(mediator: SocketMediator) -> None:
    machine = mediator.machine
    log = Log(machine)
    words = [PROGRAM, "take", "/tmp/taken", "send", tell(), "shut", "read"]
    zoe = machine.start(words, user="zoe", stdout=subprocess.PIPE, text=True)
    assert zoe.stdout is not None and zoe.stdout.readline() == "ready\n"
    say(mediator, "open", "give", "/tmp/taken")
    assert json.loads(json.loads(zoe.stdout.read())["text"]) == ANSWER
    zoe.wait()
    rhea = machine.look_up_account("rhea").uid
    log.wait_for(f"caller=rhea({rhea}) target=zoe action=kill code=ok")


@pytest.mark.parametrize("words", [["--call=rhea"], ["--call=rhea", "--user=zoe"]])
def test_a_hub_behind_sudo_cannot_bring_a_connection_of_its_own(
    mediator: SocketMediator, words: list[str]
) -> None:
    machine = mediator.machine
    rule = "/etc/sudoers.d/brings-a-connection"
    machine.write(rule, f"rhea ALL=(root) NOPASSWD: {mediator.path}\n", mode=0o440)
    bring = (
        "import socket, subprocess, sys\n"
        "ours, theirs = socket.socketpair()\n"
        f"ours.sendall({describe_request(KILL, 'zoe')!r}); ours.shutdown(socket.SHUT_WR)\n"
        "subprocess.run(sys.argv[1:], stdin=theirs, stdout=theirs); theirs.close()\n"
        "print(ours.recv(65536).decode())"
    )
    call = ["sudo", "-n", mediator.path, *words]
    said = machine.run(["python3", "-I", "-c", bring, *call], user="rhea").stdout
    machine.run(["rm", rule])
    assert json.loads(said)["code"] in ("usage", "target_is_root")


# --- What they say ---


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["send", "x" * 256 + "\\n{}", "shut"], "it is longer"),
        (["send", "x" * 100_000], "it is longer"),
        (["send", "kill zoe"] + ["shut"], "it has no end"),
        (["shut"], "it has no end"),
        (["send", "kill\\n", "shut"], "it has no blank"),
        (["send", "kill \\xff\\n", "shut"], "it is not UTF-8"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_first_line_that_is_none_is_refused_unread(
    mediator: SocketMediator, words: list[str], reason: str
) -> None:
    log = Log(mediator.machine)
    [told] = say(mediator, "open", *words, "read")
    assert get_code(told) == "malformed_request"
    assert reason in told["text"]
    rhea = mediator.machine.look_up_account("rhea").uid
    log.wait_for(f"caller=rhea({rhea}) target=? action=? code=malformed_request")


@pytest.mark.parametrize("name", ["zoe\\0", "#1000", "0", " zoe", "zoe ", "--help", "ZOE", ""])
def test_a_name_in_the_first_line_is_a_whole_name(mediator: SocketMediator, name: str) -> None:
    [told] = say(mediator, "open", "send", f"kill {name}\\n{json.dumps(KILL)}", "shut", "read")
    assert get_code(told) == "target_unknown"


def test_a_first_line_of_255_bytes_is_read_and_one_more_is_not(mediator: SocketMediator) -> None:
    for length, code in [(255, "target_unknown"), (256, "malformed_request")]:
        line = "kill ".ljust(length - 1, "x") + "\\n"
        [told] = say(mediator, "open", "send", line, "shut", "read")
        assert get_code(told) == code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["send", "kill zoe\\n", "shut"], "malformed_request"),
        (["send", "kill zoe\\n{", "shut"], "malformed_request"),
        (["send", tell().replace("kill", "stop", 1), "shut"], "usage"),
    ],
    ids=["none", "half", "another"],
)
def test_a_request_that_is_none_or_another_is_refused(
    mediator: SocketMediator, words: list[str], code: str
) -> None:
    log = Log(mediator.machine)
    [told] = say(mediator, "open", *words, "read")
    assert get_code(told) == code
    wait_until(lambda: any(line.endswith(f"code={code}") for line in log.read()), "the line")
    assert len(log.read()) == 1


def test_who_says_nothing_or_a_byte_a_second_is_ended_and_holds_nobody_up(
    mediator: SocketMediator,
) -> None:
    slow = [[PROGRAM, "open", *words, "read"] for words in ([], ["drip", "kill zoe" * 9])]
    log = Log(mediator.machine)
    calls = [
        mediator.machine.start(words, user="rhea", stdout=subprocess.PIPE, text=True)
        for words in slow
    ]
    expect_the_hubs_answer(mediator)
    for call in calls:
        assert call.stdout is not None
        told = json.loads(call.stdout.read())
        call.wait()
        assert get_code(told) == "malformed_request"
        assert 9 < told["seconds"] < 60
        assert "10 seconds" in told["text"]
    rhea = mediator.machine.look_up_account("rhea").uid
    line = f"caller=rhea({rhea}) target=? action=? code=malformed_request"
    wait_until(lambda: log.read().count(line) == 2, "both lines")


def test_servers_as_processes_would_live_in_the_doors_unit_and_are_refused(
    mediator: SocketMediator,
) -> None:
    mediator.set_policy('[server]\nlauncher = "process"\n')
    reply = mediator.spawn().reply
    assert (reply["ok"], reply["code"]) == (False, "launcher_unavailable")
    assert 'server.launcher = "systemd"' in reply["error"]
    assert mediator.list_processes() == []
    expect_the_hubs_answer(mediator)
