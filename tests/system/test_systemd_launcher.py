"""The systemd launcher: servers in units, with limits, and nothing of ours beside them."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.door import WAYS, in_each_way
from system.mediator import OWN, Answer, wait_for_file, wait_until
from system.units import UNIT, UnitMediator

DEBIANS = (13, 12)

PORT = 4300


@pytest.fixture
def mediator(
    request: pytest.FixtureRequest, machine: Machine, hub6: Cache
) -> Iterator[UnitMediator]:
    """A mediator whose servers live in units; none may outlive the test."""
    binary, way = hub6.bin / "sudospawner", WAYS[getattr(request, "param", "sudo")]
    mediator = way.install(machine, "/opt/unit-mediator/bin", binary)
    yield mediator
    left = mediator.end_units()
    mediator.remove_all()
    assert left == []


@in_each_way
def test_a_server_in_a_unit_is_the_target_and_nothing_else(mediator: UnitMediator) -> None:
    seen = mediator.take_report(env={"A": "b", "LD_PRELOAD": "/x"})
    zoe = mediator.machine.look_up_account("zoe")
    groups = mediator.machine.run(["id", "-G", "zoe"]).stdout.split()
    assert seen["uids"] == [zoe.uid] * 3
    assert seen["gids"] == [zoe.gid] * 3
    assert seen["groups"] == sorted(map(int, groups))
    assert int(seen["capabilities"], 16) == 0
    assert seen["env"] == {"A": "b", **OWN}
    assert seen["cwd"] == "/home/zoe"
    assert seen["stdin"] == "/dev/null"
    assert seen["umask"] == 0o022
    assert (seen["ignored"], seen["blocked"]) == (0, 0)
    assert {"0", "1", "2"} >= set(seen["descriptors"])


@in_each_way
def test_the_reply_names_unit_process_and_limits(mediator: UnitMediator) -> None:
    mediator.set_policy('[limits]\nmemory = "512M"\ncpus = 2\ntasks = 99\n')
    spawned = mediator.spawn(
        "listen", str(PORT), wait={"port": PORT, "seconds": 60}, limits={"cpus": 0.5}
    )
    reply = spawned.reply
    assert (reply["unit"], reply["listening"]) == (UNIT, True)
    assert reply["limits"] == {"memory": 512 << 20, "cpus": 0.5}
    shown = mediator.show("MainPID", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "Slice")
    assert shown == {
        "MainPID": str(reply["pid"]),
        "MemoryMax": str(512 << 20),
        "CPUQuotaPerSecUSec": "500ms",
        "TasksMax": "99",
        "Slice": "jupyterhub.slice",
    }
    status = {"action": "status", "pid": reply["pid"], "unit": UNIT}
    answer = mediator.call(status).reply
    assert (answer["ok"], answer["alive"], answer["processes"]) == (True, True, 1)
    mediator.stop(spawned)
    # systemd forgets a unit that has not failed: in the same boot that is an answer.
    known = {**status, "started": reply["started"]}
    assert mediator.call(known).reply == {"ok": True, "alive": False, "exit": 0, "signal": None}
    assert mediator.call(status).reply == {"ok": True, "alive": False}


@in_each_way
def test_a_unit_starts_where_its_caller_cannot_write_to_control_groups(
    mediator: UnitMediator,
) -> None:
    request = json.dumps({"action": "spawn", "args": ["listen", str(PORT)], "env": {}})
    shut_in = ["--property=User=rhea", "--property=ProtectControlGroups=yes"]
    run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *shut_in, "--"]
    answer = mediator.machine.run([*run, *mediator.list_words("zoe")], input=request)
    reply = json.loads(answer.stdout)
    assert (reply["ok"], reply["unit"]) == (True, UNIT)
    stop = {"action": "stop", "pid": reply["pid"], "unit": UNIT, "interrupt_seconds": 0}
    assert mediator.call(stop).reply["alive"] is False


@in_each_way
def test_nothing_of_ours_stays_beside_a_server_in_a_unit(mediator: UnitMediator) -> None:
    spawned = mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    group = mediator.show("ControlGroup")["ControlGroup"]
    pids = mediator.machine.run(
        f"cat /sys/fs/cgroup/systemd{group}/cgroup.procs 2>/dev/null "
        f"|| cat /sys/fs/cgroup{group}/cgroup.procs"
    ).stdout.split()
    assert pids == [str(spawned.reply["pid"])]

    def list_ours() -> list[str]:
        return [line for line in mediator.list_processes("root") if str(mediator.path) in line]

    wait_until(lambda: list_ours() == [], "the end of root's part")
    mediator.stop(spawned)


def read_in_home(mediator: UnitMediator, name: str) -> str:
    """What the server has written to a file in zoe's home, which is removed."""
    path = f"/home/zoe/{name}"
    wait_for_file(mediator, path)
    text = mediator.machine.read(path)
    mediator.machine.run(["rm", path])
    return text


def test_a_child_that_uses_too_much_memory_is_killed_and_the_server_lives(
    mediator: UnitMediator,
) -> None:
    mediator.set_policy('[limits]\nmemory = "64M"\n')
    spawned = mediator.spawn("eat", "256")
    assert read_in_home(mediator, "eaten") == "-9"
    status = {"action": "status", "pid": spawned.reply["pid"]}
    assert mediator.call(status).reply["alive"] is True
    mediator.stop(spawned)


def test_a_server_that_was_killed_for_its_memory_is_said_so(mediator: UnitMediator) -> None:
    mediator.set_policy('[limits]\nmemory = "64M"\n')
    reply = mediator.spawn("devour", "256", wait={"port": PORT, "seconds": 60}).reply
    assert (reply["ok"], reply["code"]) == (False, "exited_early")
    # With `OOMPolicy=continue` systemd does not say why.
    assert "result" not in reply
    assert (reply["exit"], reply["signal"]) == (None, 9)
    assert "memory" in reply["error"]


def test_processes_and_cpus_are_limited(mediator: UnitMediator) -> None:
    mediator.set_policy("[limits]\ntasks = 20\ncpus = 0.25\n")
    spawned = mediator.spawn("multiply", "99")
    assert 0 < int(read_in_home(mediator, "multiplied")) < 20
    group = mediator.show("ControlGroup")["ControlGroup"]
    folder = f"/sys/fs/cgroup/cpu{group}"
    quota = mediator.machine.run(
        f"cat {folder}/cpu.cfs_quota_us {folder}/cpu.cfs_period_us 2>/dev/null "
        f"|| cat /sys/fs/cgroup{group}/cpu.max"
    ).stdout.split()
    assert int(quota[0]) * 4 == int(quota[1])
    assert mediator.stop(spawned)["leftovers_killed"] > 0


@in_each_way
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"memory": 1 << 30}, "limit_exceeds_policy"),
        ({"cpus": 3}, "limit_exceeds_policy"),
        ({"memory": 1024}, "malformed_request"),
        ({"tasks": 1}, "malformed_request"),
    ],
)
def test_a_request_for_more_than_the_policy_gives_is_refused(
    mediator: UnitMediator, limits: dict[str, float], code: str
) -> None:
    mediator.set_policy('[limits]\nmemory = "512M"\ncpus = 2\n')
    answer = mediator.spawn(limits=limits)
    assert (answer.status, answer.reply["code"]) == (1, code)
    if code == "limit_exceeds_policy":
        assert str(512 << 20) in answer.reply["error"] or "at most 2 " in answer.reply["error"]


@in_each_way
def test_limits_that_the_process_launcher_cannot_hold_are_refused(mediator: UnitMediator) -> None:
    mediator.set_policy('[server]\nlauncher = "process"\n')
    answer = mediator.spawn(limits={"memory": 1 << 30})
    assert (answer.status, answer.reply["code"]) == (1, "limit_not_enforceable")
    assert 'launcher = "systemd"' in answer.reply["error"]
    assert "mem_limit" in answer.reply["error"]


@in_each_way
def test_stop_leaves_no_process_in_whatever_session_it_is(mediator: UnitMediator) -> None:
    mediator.add_hook("10-daemon", "#!/bin/sh\nsetsid sleep 7771 >/dev/null 2>&1 &\n")
    spawned = mediator.spawn("leave", "listen", str(PORT), wait={"port": PORT, "seconds": 60})
    assert spawned.reply["hooks"][0]["status"] == "ok"
    wait_until(lambda: "sleep 7771" in mediator.list_processes("root"), "the hook's daemon")
    stopped = mediator.stop(spawned, unit=UNIT)
    assert (stopped["alive"], stopped["leftovers_killed"]) == (False, 2)
    assert mediator.list_processes() == []
    assert "sleep 7771" not in mediator.list_processes("root")
    # A process had to be killed, which is a failure of the unit.
    wait_until(lambda: mediator.list_units() == [], "that the unit is forgotten")


def test_what_a_server_leaves_ends_when_it_ends_by_itself(mediator: UnitMediator) -> None:
    mediator.spawn("leave", "exit", "0")
    wait_until(lambda: mediator.list_processes() == [], "the end of zoe's processes")
    # One of them had to be killed, which systemd calls a failure of the unit.
    wait_until(lambda: mediator.show("ActiveState")["ActiveState"] == "failed", "the unit's end")
    mediator.machine.run(["systemctl", "reset-failed", UNIT])


@in_each_way
def test_a_second_spawn_ends_the_first_server_of_that_name_and_no_other(
    mediator: UnitMediator,
) -> None:
    first = mediator.spawn().reply
    other = mediator.spawn(server_name="gpu").reply
    second = mediator.spawn().reply
    assert [first["unit"], other["unit"]] == [UNIT, "jupyter-zoe-gpu.service"]
    alive = [
        mediator.call({"action": "kill", "pid": reply["pid"], "signal": 0}).reply["alive"]
        for reply in (first, other, second)
    ]
    assert alive == [False, True, True]
    for reply, name in ((other, "gpu"), (second, "")):
        request = {"action": "stop", "pid": reply["pid"], "unit": reply["unit"]}
        mediator.call({**request, "server_name": name, "interrupt_seconds": 0})


def test_a_unit_in_failed_state_is_no_obstacle(mediator: UnitMediator) -> None:
    ended = mediator.spawn("say", "goodbye", "exit", "3", wait={"port": PORT, "seconds": 60}).reply
    assert (ended["code"], ended["exit"]) == ("exited_early", 3)
    assert "goodbye" in ended["stderr"]
    assert mediator.list_units() == []
    spawned = mediator.spawn()
    pid = spawned.reply["pid"]
    mediator.machine.run(["kill", "-KILL", str(pid)])
    wait_until(lambda: mediator.show("ActiveState")["ActiveState"] == "failed", "the failure")
    status = {"action": "status", "pid": pid, "unit": UNIT}
    again = mediator.spawn()
    assert again.reply["ok"] is True
    # What is asked about the old server is not answered about the new one.
    assert mediator.call({**status, "pid": pid}).reply["alive"] is False
    assert mediator.call({"action": "stop", "pid": pid, "unit": UNIT}).reply["ok"] is True
    assert mediator.call({"action": "kill", "pid": again.reply["pid"], "signal": 0}).reply["alive"]
    mediator.stop(again)


@in_each_way
def test_a_failed_unit_is_forgotten_when_its_end_has_been_told(mediator: UnitMediator) -> None:
    spawned = mediator.spawn().reply
    status = {"action": "status", "pid": spawned["pid"], "unit": UNIT}
    status["started"] = spawned["started"]
    mediator.machine.run(["kill", "-KILL", str(spawned["pid"])])
    wait_until(lambda: mediator.show("ActiveState")["ActiveState"] == "failed", "the failure")
    # Nobody reads the first answer.
    unread = mediator.start(status)
    assert unread.stdout is not None and unread.stderr is not None
    unread.stdout.close()
    unread.stderr.read()
    unread.wait()
    expected = {"ok": True, "alive": False, "exit": None, "signal": 9}
    assert mediator.call(status).reply == expected
    wait_until(lambda: mediator.list_units() == [], "the unit to be forgotten")


def test_last_words_that_reach_the_journal_after_the_units_end_are_told(
    mediator: UnitMediator,
) -> None:
    journald = mediator.machine.run(["systemctl", "show", "-PMainPID", "systemd-journald"]).stdout
    wait = {"port": PORT, "seconds": 60}
    mediator.machine.run(["kill", "-STOP", journald.strip()])
    try:
        ended: list[Answer] = []
        call = threading.Thread(
            target=lambda: ended.append(mediator.spawn("say", "goodbye", "exit", "3", wait=wait))
        )
        call.start()
        # By now systemd has forgotten which invocation of the unit it was.
        wait_until(
            lambda: mediator.show("ActiveState")["ActiveState"] == "failed", "the unit's end"
        )
    finally:
        mediator.machine.run(["kill", "-CONT", journald.strip()])
    call.join()
    assert ended[0].reply["code"] == "exited_early"
    assert ended[0].reply["stderr"] == "goodbye\n"


def test_a_foreign_unit_of_the_name_is_never_touched(mediator: UnitMediator) -> None:
    machine = mediator.machine
    machine.run(["systemd-run", "-q", f"--unit={UNIT}", "sleep", "7772"])
    answer = mediator.spawn()
    assert (answer.status, answer.reply["code"]) == (0, "already_running")
    pid = mediator.show("MainPID")["MainPID"]
    mediator.call({"action": "stop", "pid": int(pid), "unit": UNIT})
    assert mediator.show("MainPID")["MainPID"] == pid
    machine.run(["systemctl", "stop", UNIT])


@in_each_way
@pytest.mark.parametrize(
    "unit", ["sshd.service", "jupyter-wash.service", "jupyter-*.service", "-x"]
)
def test_only_the_unit_of_this_target_and_server_may_be_named(
    mediator: UnitMediator, unit: str
) -> None:
    for action in ("stop", "status", "kill"):
        request = {"action": action, "pid": 1, "unit": unit}
        if action == "kill":
            request["signal"] = 0
        answer = mediator.call(request)
        assert (answer.status, answer.reply["code"]) == (1, "unit_not_permitted")


@pytest.mark.parametrize("name", ["../x", "a b", "%h$HOME", "ü-*?[", "-x", ".service", "a\\x2db"])
def test_hostile_names_are_units_of_their_own(mediator: UnitMediator, name: str) -> None:
    mediator.add_hook("10-name", '#!/bin/sh\nprintf %s "$SUDOSPAWNER_SERVER_NAME"\n')
    spawned = mediator.spawn(server_name=name)
    reply = spawned.reply
    assert reply["hooks"][0]["output"] == name
    assert mediator.list_units() == [reply["unit"]]
    assert mediator.stop(spawned, server_name=name, unit=reply["unit"])["alive"] is False


@in_each_way
def test_arguments_and_variables_arrive_unchanged_and_unseen(mediator: UnitMediator) -> None:
    strange = [
        "$HOME",
        "$$",
        "${PATH}",
        "%h%%",
        "{user}",
        "\"'`",
        "a\nb\tc",
        "\\x41",
        "",
        "ü\u202e",
    ]
    env = {f"V{number}": text for number, text in enumerate(strange)}
    env["TOKEN"] = "a-secret-token"
    seen = mediator.take_report("say", *strange, env=env)
    assert seen["env"] == {**env, **OWN}
    assert seen["argv"][-len(strange) :] == strange


@in_each_way
def test_nobody_else_sees_what_a_server_was_given(mediator: UnitMediator) -> None:
    token = "a-secret-token-of-zoes"
    spawned = mediator.spawn(env={"TOKEN": token}, server_name="gpu")
    unit = spawned.reply["unit"]
    script = (
        f"systemctl show {unit}; systemctl cat {unit}; cat /proc/[0-9]*/cmdline; "
        "cat /proc/[0-9]*/environ; grep -r . /run 2>/dev/null; journalctl --no-pager"
    )
    seen = mediator.machine.run(["sh", "-c", script], user="wash", check=False).stdout
    assert unit in seen and token not in seen
    root = f"systemctl show {unit}; systemctl cat {unit}; grep -ra {token} /run /var/log"
    seen = mediator.machine.run(["sh", "-c", root], check=False).stdout
    assert unit in seen and token not in seen
    mediator.stop(spawned, server_name="gpu")


def test_the_log_is_in_the_journal_under_the_unit(mediator: UnitMediator) -> None:
    spawned = mediator.spawn("say", "to stderr", "print", "to stdout")
    machine = mediator.machine

    def read_journal() -> str:
        words = ["journalctl", "--no-pager", "--output=cat", "--unit", UNIT]
        return machine.run(words, check=False).stdout

    wait_until(lambda: "to stderr" in read_journal() and "to stdout" in read_journal(), "the log")
    mediator.stop(spawned)


def test_the_log_goes_to_the_home_if_the_policy_says_so(mediator: UnitMediator) -> None:
    mediator.set_policy('[server]\nlauncher = "systemd"\nlog = "file"\n')
    spawned = mediator.spawn("say", "into the file")
    path = "/home/zoe/.local/state/sudospawner/singleuser.log"
    wait_until(lambda: "into the file" in mediator.machine.read(path), "the log")
    assert mediator.machine.run(["stat", "-c", "%U %a", path]).stdout == "zoe 600\n"
    mediator.stop(spawned)


def test_the_unit_is_what_the_policy_says(mediator: UnitMediator) -> None:
    mediator.set_policy(
        """
        [systemd]
        slice = "notebooks"
        unit_name = "nb-{USERNAME}-x-{server}"
        default_shell = "/bin/sh"
        extra_paths = ["/opt/{user}/bin", "/opt/bin"]
        working_directory = "/srv/{user}"
        private_tmp = true
        read_only_paths = ["/srv"]
        read_write_paths = ["/srv/{user}"]
        properties = { Nice = "7", Description = "Notebook of {user}" }
        """
    )
    machine = mediator.machine
    machine.run("install -d -o zoe /srv/zoe; touch /tmp/of-the-host")
    spawned = mediator.spawn(
        "report", "/srv/zoe/seen.json", env={"PATH": "/bin", "SHELL": "/bin/zsh"}, server_name="a"
    )
    unit = spawned.reply["unit"]
    assert unit == "nb-zoe-x-a.service"
    wait_for_file(mediator, "/srv/zoe/seen.json")
    seen = json.loads(machine.read("/srv/zoe/seen.json"))
    changed = {"PATH": "/opt/zoe/bin:/opt/bin:/bin", "SHELL": "/bin/sh"}
    assert seen["env"] == {**OWN, **changed}
    assert seen["cwd"] == "/srv/zoe"
    shown = mediator.show("Slice", "Nice", "Description", "PrivateTmp", unit=unit)
    assert shown["Slice"] == "notebooks.slice"
    assert (shown["Nice"], shown["Description"]) == ("7", "Notebook of zoe")
    inside = f"/proc/{spawned.reply['pid']}/root"
    listed = machine.run(["ls", "-A", f"{inside}/tmp"]).stdout
    assert listed == ""
    mediator.stop(spawned, server_name="a", unit=unit)
    machine.run(["rm", "-r", "/srv/zoe", "/tmp/of-the-host"])


@in_each_way
def test_what_cannot_be_started_is_said_as_with_the_other_launcher(mediator: UnitMediator) -> None:
    mediator.put_server("#!/no/such/interpreter\n")
    reply = mediator.spawn().reply
    assert (reply["ok"], reply["code"]) == (False, "exec_failed")
    assert "/no/such/interpreter" in reply["error"]
    mediator.put_server()
    mediator.machine.run(["mv", "/home/zoe", "/home/away"])
    reply = mediator.spawn().reply
    mediator.machine.run(["mv", "/home/away", "/home/zoe"])
    assert (reply["ok"], reply["code"]) == (False, "home_missing")
    mediator.set_policy('[hooks]\non_failure = "fail"\n')
    mediator.add_hook("10-fails", "#!/bin/sh\nexit 3\n")
    reply = mediator.spawn().reply
    assert (reply["ok"], reply["code"]) == (False, "hook_failed")
    assert reply["hooks"][0]["exit"] == 3


@in_each_way
def test_without_systemd_the_launcher_is_unavailable(mediator: UnitMediator) -> None:
    machine = mediator.machine
    machine.run(["mv", "/usr/bin/systemd-run", "/usr/bin/systemd-run.away"])
    answer = mediator.spawn()
    machine.run(["mv", "/usr/bin/systemd-run.away", "/usr/bin/systemd-run"])
    assert (answer.status, answer.reply["code"]) == (0, "launcher_unavailable")
    assert "/usr/bin/systemd-run" in answer.reply["error"]


def test_a_unit_that_systemd_cannot_start_is_said_to_be_so_in_systemds_words(
    mediator: UnitMediator,
) -> None:
    mediator.set_policy('[systemd]\nproperties = { ReadWritePaths = "/missing" }\n')
    for _ in range(2):
        answer = mediator.spawn("listen", str(PORT))
        assert answer.reply["code"] == "launcher_unavailable", answer
        assert UNIT in answer.reply["error"]


@pytest.mark.parametrize(
    "words", [["--foreground"], ["--groups=0", "--started-by=1", "--foreground"]]
)
def test_the_hub_cannot_be_the_first_process_of_a_unit(
    mediator: UnitMediator, words: list[str]
) -> None:
    answer = mediator.call({"action": "spawn", "args": [], "env": {}}, options=words)
    assert (answer.status, answer.reply["code"]) == (1, "usage")


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("DOAS_USER=rhea", "caller_unknown"),
        ("PKEXEC_UID=0", "caller_unknown"),
        ("SUDO_UID=0", "usage"),
    ],
)
def test_who_was_made_root_by_another_program_is_no_unit(
    mediator: UnitMediator, word: str, code: str
) -> None:
    # PID 1 is the parent of what these programs leave behind, too.
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--setenv={word}"]
    words = [*run, mediator.path, "--user=zoe", "--groups=0", "--started-by=1", "--foreground"]
    refused = mediator.machine.run(words, check=False)
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, code)


def test_a_unit_that_is_restarted_by_hand_ends_and_starts_nothing(mediator: UnitMediator) -> None:
    machine = mediator.machine
    mediator.add_hook("10-hook", "#!/bin/sh\necho ran >>/run/hook-ran\n")
    mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    # By now any process may have the pid by which systemd knows the request.
    assert machine.run(["systemctl", "restart", UNIT], check=False).returncode != 0
    assert mediator.show("Result")["Result"] == "start-limit-hit"
    wait_until(lambda: mediator.list_processes() == [], "the server's end")
    assert machine.read("/run/hook-ran") == "ran\n"
    again = mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    assert again.reply["ok"] is True
    mediator.stop(again)
    machine.run(["rm", "/run/hook-ran"])


# Root executes this: its files as stdin and stdout of a unit's first process.
FORGE = """
import fcntl, json, os, subprocess, sys
program, groups, kind = sys.argv[1:]
request = json.dumps({"action": "spawn", "args": ["exit", "0"], "env": {}}).encode()
with open("/run/forged", "wb") as file:
    file.write(bytes(256) + request)
stdin = "/run/forged"
read, write = os.pipe()
stdout = f"/proc/{os.getpid()}/fd/{write}"
if kind == "wash":
    os.chown(stdin, 1002, -1)
if kind == "sealed":
    memory = os.memfd_create("request", os.MFD_ALLOW_SEALING)
    os.write(memory, bytes(256) + request)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    stdin, stdout = f"/proc/{os.getpid()}/fd/{memory}", "/run/reports"
run = ["systemd-run", "--quiet", "--wait", "--collect", "--service-type=exec", "--unit=forged"]
run += [f"--property=StandardInput=file:{stdin}", f"--property=StandardOutput=file:{stdout}"]
run.append("--property=StandardError=journal")
words = ["--user=zoe", f"--groups={groups}", "--started-by=1", "--foreground"]
status = subprocess.call([*run, program, *words])
os.close(write)
with open("/run/reports", "ab") as file:
    file.write(os.read(read, 4096))
sys.exit(status)
"""


@pytest.mark.parametrize("kind", ["wash", "root", "sealed"])
def test_what_is_not_the_monitors_is_neither_request_nor_pipe(
    mediator: UnitMediator, kind: str
) -> None:
    machine = mediator.machine
    machine.write("/run/reports", "untouched\n")
    group = str(machine.look_up_account("zoe").gid)
    words = ["/usr/bin/python3", "-c", FORGE, mediator.path, group, kind]
    assert machine.run(words, check=False).returncode == 1
    assert machine.read("/run/reports") == "untouched\n"
    assert mediator.list_processes() == []
    machine.run(["journalctl", "--sync"])
    log = machine.run(["journalctl", "--unit=forged", "--output=cat", "--lines=20"]).stdout
    assert "started by sudospawner alone" in log
    machine.run(["rm", "/run/forged", "/run/reports"])


@in_each_way
def test_a_spawn_that_another_one_has_replaced_undoes_nothing_of_it(mediator: UnitMediator) -> None:
    wait = {"port": PORT + 1, "seconds": 600}
    request = {"action": "spawn", "args": ["say", "first"], "env": {}, "wait": wait}
    first = mediator.start({**request, "events": True})
    assert first.stdout is not None and first.stderr is not None
    assert '"started"' in first.stdout.readline()
    wait = {"port": PORT, "seconds": 60}
    second = mediator.spawn("say", "second", "listen", str(PORT), wait=wait)
    assert second.reply["ok"] is True
    # The first call sees its server end, and asks what it said last.
    told = json.loads(first.stdout.read())
    assert told["code"] == "exited_early" and "second" not in told["stderr"]
    first.wait()
    first.stdout.close()
    first.stderr.close()
    status = {"action": "status", "pid": second.reply["pid"], "unit": UNIT}
    assert mediator.call(status).reply["alive"] is True
    mediator.stop(second)


def test_a_unit_that_systemd_cannot_set_up_is_said_so_and_leaves_nothing(
    mediator: UnitMediator,
) -> None:
    mediator.set_policy('[systemd]\nread_only_paths = ["/no/such/folder"]\n')
    answer = mediator.spawn()
    assert answer.reply["ok"] is False
    wait_until(lambda: mediator.list_units() == [], "the end of the unit")


@in_each_way
def test_hooks_in_a_unit_do_not_have_the_servers_limits(mediator: UnitMediator) -> None:
    mediator.set_policy("[limits]\nopen_files = 123\nrlimits = { fsize = 4096 }\n")
    mediator.add_hook("10-limits", "#!/bin/sh\nulimit -f\nulimit -n\n")
    spawned = mediator.spawn("report", "/home/zoe/seen.json")
    size, files = spawned.reply["hooks"][0]["output"].split()
    assert size == "unlimited" and int(files) > 123
    limits = mediator.machine.read(f"/proc/{spawned.reply['pid']}/limits")
    assert re.search(r"^Max file size +4096 +4096 ", limits, re.MULTILINE)
    assert re.search(r"^Max open files +123 +123 ", limits, re.MULTILINE)
    mediator.stop(spawned)
    mediator.machine.run(["rm", "-f", "/home/zoe/seen.json"])


def test_a_unit_that_is_still_ending_is_waited_for(mediator: UnitMediator) -> None:
    wait = {"port": PORT, "seconds": 60}
    first = mediator.spawn("stubborn", "listen", str(PORT), wait=wait).reply
    mediator.machine.run(["systemctl", "stop", "--no-block", UNIT])
    second = mediator.spawn("listen", str(PORT), wait=wait)
    assert second.reply["ok"] is True
    assert second.reply["pid"] != first["pid"]
    mediator.stop(second)


@pytest.mark.parametrize("name", ["..", "$(id)", "a b"])
def test_a_servers_name_is_one_part_of_a_path_in_roots_own_commands(
    mediator: UnitMediator, name: str
) -> None:
    command = "+/bin/mkdir -p /run/of/{user}/{server}/new"
    mediator.set_policy(f'[systemd]\nproperties = {{ ExecStartPre = "{command}" }}\n')
    spawned = mediator.spawn(server_name=name)
    assert spawned.reply["ok"] is True
    made = mediator.machine.run("cd /run/of && find . -mindepth 1 -type d").stdout.splitlines()
    escaped = mediator.machine.run(["systemd-escape", name]).stdout.strip()
    assert made == ["./zoe", f"./zoe/{escaped}", f"./zoe/{escaped}/new"]
    mediator.stop(spawned, unit=spawned.reply["unit"], server_name=name)
    mediator.machine.run(["rm", "-r", "/run/of"])


@in_each_way
def test_a_recycled_pid_is_another_server_also_in_the_same_unit(mediator: UnitMediator) -> None:
    spawned = mediator.spawn()
    reply = spawned.reply
    boot, _, ticks = reply["started"].partition(":")
    earlier = {"pid": reply["pid"], "started": f"{boot}:{int(ticks) - 1}", "unit": UNIT}
    assert mediator.call({"action": "status", **earlier}).reply == {"ok": True, "alive": False}
    assert mediator.call({"action": "stop", **earlier}).reply["alive"] is False
    now = {"action": "kill", "pid": reply["pid"], "started": reply["started"], "signal": 0}
    assert mediator.call(now).reply["alive"] is True
    mediator.stop(spawned)


@in_each_way
def test_another_account_is_out_of_reach(mediator: UnitMediator) -> None:
    spawned = mediator.spawn()
    pid = spawned.reply["pid"]
    for request in ({"action": "stop", "pid": pid}, {"action": "status", "pid": pid}):
        assert mediator.call(request, target="wash").reply["alive"] is False
    assert mediator.call({"action": "kill", "pid": pid, "signal": 0}).reply["alive"] is True
    mediator.stop(spawned)


def test_a_mediator_killed_at_any_moment_leaves_a_unit_or_nothing(mediator: UnitMediator) -> None:
    machine = mediator.machine
    moments = random.Random(2)
    request = json.dumps(
        {"action": "spawn", "args": [], "env": {}, "wait": {"port": PORT, "seconds": 600}}
    )
    script = (
        f"printf '%s' '{request}' | sudo -n {mediator.path} --user=zoe >/dev/null 2>&1 & "
        "sleep $1; while kill -0 $! 2>/dev/null; do "
        f"for p in $(pgrep -P $! -f '{mediator.path} --user='); do "
        f'[ "$(readlink /proc/$p/exe)" = {mediator.path} ] && kill -KILL $p; done; done; wait'
    )
    find = ["find", "/run", "-name", "*sudospawner*", "-o", "-name", "*jupyter-*"]
    files = machine.run(find).stdout
    for _ in range(60):
        machine.run(["sh", "-c", script, "sh", f"{moments.uniform(0, 0.12):.3f}"])

    def list_left() -> list[str]:
        lines = mediator.list_processes("root") + mediator.list_processes()
        return [line for line in lines if "sudospawner" in line]

    wait_until(
        lambda: list_left() == [] and mediator.list_units() == [], "the end of what was left"
    )
    assert machine.run(find).stdout == files
