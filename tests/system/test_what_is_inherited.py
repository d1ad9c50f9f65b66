"""What a caller passes on without a word: limits, priorities, keys, groups, and the environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.machine import Machine
from system.mediator import Mediator, RootMediator, wait_for_file

CALLER = Path(__file__).with_name("caller.py")
PLACE = "/opt/caller/caller.py"
SPAWN = {"action": "spawn", "args": ["exit", "0"], "env": {"HOME": "/home/zoe"}}
# Names of the resource module, with a value that would end or cripple most programs.
LIMITS = {
    "AS": 200 << 20, "CORE": 0, "CPU": 1, "DATA": 0, "FSIZE": 0, "LOCKS": 0, "MEMLOCK": 0,
    "MSGQUEUE": 0, "NICE": 0, "NOFILE": 9, "NPROC": 3, "RSS": 0, "RTPRIO": 0, "RTTIME": 1,
    "SIGPENDING": 0, "STACK": 384 << 10,
}  # fmt: skip
# Writes down what of it a caller could have passed on.
HOOK = """#!/usr/bin/python3 -I
import ctypes, json, os, resource, sys
names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
libc = ctypes.CDLL(None)
seen = {
    "limits": {name[7:]: resource.getrlimit(getattr(resource, name))[0] for name in names}
    | {"LOCKS": resource.getrlimit(10)[0]},
    "nice": os.nice(0),
    "scheduler": os.sched_getscheduler(0),
    "cpus": sorted(os.sched_getaffinity(0)),
    "ioprio": libc.syscall(252, 1, 0),
    "slack": libc.prctl(30, 0, 0, 0, 0),
    "oom": int(open("/proc/self/oom_score_adj").read()),
    "persona": libc.personality(0xffffffff),
}
with open("/run/hook-seen", "w") as file:
    file.write(json.dumps(seen))
"""
READ_KEY = """#!/usr/bin/python3 -I
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
buffer = ctypes.create_string_buffer(100)
length = libc.syscall(250, 11, int(sys.argv[1]), buffer, 100)
said = buffer.value.decode() if length >= 0 else os.strerror(ctypes.get_errno())
with open(os.path.expanduser("~/key"), "w") as file:
    file.write(said)
"""


def call_by(mediator: Mediator, user: str, *passed_on: str) -> dict:
    """The reply to a spawn by rhea through sudo, or by root, whose PAM puts nothing right."""
    mediator.machine.write(PLACE, CALLER.read_text(), mode=0o755)
    words = mediator.list_words("zoe") if user == "rhea" else [mediator.path, "--user=zoe"]
    run = mediator.machine.run(
        [PLACE, *passed_on, "--", *words], user=user, input=json.dumps(SPAWN), check=False
    )
    return json.loads(run.stdout) if run.stdout.strip() else {}


@pytest.fixture
def hook(root_mediator: RootMediator) -> Iterator[RootMediator]:
    """A mediator with a hook that writes down what it sees of itself."""
    root_mediator.add_hook("10-look", HOOK)
    yield root_mediator
    root_mediator.machine.run(["rm", "-f", "/run/hook-seen"])


def look_at_init(machine: Machine) -> dict[str, int]:
    """What a service of systemd's sees."""
    machine.write("/run/look", HOOK.replace("hook-seen", "service-seen"), mode=0o755)
    machine.run(["systemd-run", "--quiet", "--wait", "/run/look"])
    seen = json.loads(machine.read("/run/service-seen"))
    machine.run(["rm", "/run/look", "/run/service-seen"])
    return seen


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("user", ["rhea", "root"])
def test_no_limit_of_the_caller_reaches_a_hook(hook: RootMediator, user: str, name: str) -> None:
    reply = call_by(hook, user, "limit", name, str(LIMITS[name]))
    seen = hook.machine.run("cat /run/hook-seen 2>/dev/null", check=False).stdout
    if not seen:
        # sudo itself, or the mediator, could not do with so little: then nothing has run.
        assert not reply.get("ok"), reply
        return
    fresh = look_at_init(hook.machine)["limits"]
    limits = json.loads(seen)["limits"]
    infinity = -1
    for limit, value in limits.items():
        if limit in ("NICE", "RTPRIO", "CORE"):
            continue
        assert value == infinity or value >= fresh[limit] >= 0, (limit, value, fresh[limit])


@pytest.mark.parametrize("user", ["rhea", "root"])
def test_no_priority_of_the_caller_reaches_a_hook(hook: RootMediator, user: str) -> None:
    reply = call_by(hook, user, "idle", "cpu", "slack", "victim", "persona")
    assert reply["ok"] is True, reply
    seen = json.loads(hook.machine.read("/run/hook-seen"))
    fresh = look_at_init(hook.machine)
    del seen["limits"], fresh["limits"]
    assert seen == fresh


def test_limits_of_the_caller_are_the_servers_and_not_the_monitors(hook: RootMediator) -> None:
    hook.put_server("#!/bin/sh\nulimit -d >~/limit\nulimit -s >>~/limit\n")
    reply = call_by(hook, "root", "limit", "DATA", str(100 << 20), "limit", "STACK", str(1 << 20))
    assert [one["status"] for one in reply["hooks"]] == ["ok"]
    wait_for_file(hook, "/home/zoe/limit")
    assert hook.machine.read("/home/zoe/limit").split() == ["102400", "1024"]
    hook.machine.run(["rm", "/home/zoe/limit"])


@pytest.mark.parametrize("mode", ["user", "root"])
def test_a_key_of_the_callers_session_is_out_of_the_servers_reach(
    request: pytest.FixtureRequest, mode: str
) -> None:
    fixture = "mediator" if mode == "user" else "root_mediator"
    mediator: Mediator = request.getfixturevalue(fixture)
    mediator.put_server(READ_KEY)
    mediator.machine.run(["rm", "-f", "/home/zoe/key"])
    env = {"HOME": "/home/zoe"}
    # By sh, so that the number of the key gets into the request.
    spawn = json.dumps({"action": "spawn", "args": ["KEY"], "env": env})
    words = [*map(str, mediator.list_words("zoe"))]
    mediator.machine.write(PLACE, CALLER.read_text(), mode=0o755)
    feed = 'text=$1; shift; printf %s "$text" | "$@"'
    mediator.machine.run(
        [PLACE, "key", "secret-of-rhea", "--", "sh", "-c", feed, "sh", spawn, *words], user="rhea"
    )
    wait_for_file(mediator, "/home/zoe/key")
    said = mediator.machine.read("/home/zoe/key")
    mediator.machine.run(["rm", "/home/zoe/key"])
    assert "secret-of-rhea" not in said
    # The caller itself can read it.
    own = ["/usr/bin/python3", "-I", "-c", READ_KEY, "KEY"]
    mediator.machine.run(
        [PLACE, "key", "secret-of-rhea", "--", *own], user="rhea", env={"HOME": "/var/lib/rhea"}
    )
    assert mediator.machine.read("/var/lib/rhea/key") == "secret-of-rhea"
    mediator.machine.run(["rm", "/var/lib/rhea/key"])


def test_groups_that_sudo_leaves_to_the_target_are_refused(mediator: Mediator) -> None:
    machine = mediator.machine
    machine.run(["usermod", "--append", "--groups", "shadow", "rhea"])
    try:
        words = ["sudo", "-nPH", "-u", "zoe", mediator.path]
        run = machine.run(words, user="rhea", input=json.dumps(SPAWN), check=False)
        reply = json.loads(run.stdout)
        assert (reply["code"], run.returncode) == ("privileges_left", 1)
        shadow = machine.run(["getent", "group", "shadow"]).stdout.split(":")[2]
        rhea = machine.run(["id", "-g", "rhea"]).stdout.strip()
        assert any(f"the group {gid}," in reply["error"] for gid in (shadow, rhea)), reply
        assert mediator.spawn("exit", "0").reply["ok"] is True
    finally:
        machine.run(["gpasswd", "--delete", "rhea", "shadow"])


def test_an_account_that_has_expired_has_no_server(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    try:
        machine.run(["chage", "--expiredate", "2001-01-01", "zoe"])
        answer = root_mediator.spawn("exit", "0")
        assert (answer.reply["code"], answer.status) == ("target_not_permitted", 1)
        assert "expired" in answer.reply["error"]
        machine.run(["chage", "--expiredate", "2999-01-01", "zoe"])
        assert root_mediator.spawn("exit", "0").reply["ok"] is True
    finally:
        machine.run(["chage", "--expiredate", "-1", "zoe"])
    assert root_mediator.spawn("exit", "0").reply["ok"] is True


@pytest.mark.parametrize("name", [".", ".."])
def test_an_account_whose_name_leads_to_another_directory_has_no_server(
    mediator: Mediator, root_mediator: RootMediator, name: str
) -> None:
    machine = mediator.machine
    machine.run(["cp", "-p", "/etc/passwd", "/etc/passwd.before"])
    try:
        machine.run(f"echo '{name}:x:4242:4242::/srv:/bin/bash' >>/etc/passwd")
        root_mediator.set_policy(f'[targets]\nusers = ["{name}"]\n')
        answer = root_mediator.spawn("exit", "0", target=name)
        assert (answer.reply["code"], answer.status) == ("target_not_permitted", 1)
        mediator.permit(runas="#4242")
        spawn = json.dumps(SPAWN)
        words = ["sudo", "-nH", "-u", "#4242", mediator.path]
        run = machine.run(words, user="rhea", input=spawn, check=False)
        assert json.loads(run.stdout)["code"] == "target_not_permitted", run
    finally:
        machine.run(["mv", "/etc/passwd.before", "/etc/passwd"])


def test_a_flood_of_the_log_suppresses_no_decision(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    flood = (
        "import socket\n"
        "log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "log.connect('/dev/log')\n"
        "while True:\n"
        "    try:\n"
        "        log.send(b'<13>flood: ' + b'x' * 100)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    floods: list[subprocess.Popen[bytes]] = [
        machine.start(["/usr/bin/python3", "-I", "-c", flood], user="mal") for _ in range(3)
    ]
    kill = {"action": "kill", "pid": 999999, "signal": 0}
    try:
        logs = [root_mediator.call(kill).log for _ in range(20)]
    finally:
        machine.run(["pkill", "-KILL", "-u", "mal"], check=False)
        for process in floods:
            process.wait()
    assert [log for log in logs if "not in syslog" in log] == []
