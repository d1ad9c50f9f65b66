"""Root mode: what the server becomes, what hooks do, and what is left of root."""

from __future__ import annotations

import json
import time

import pytest

from system.mediator import OWN, RootMediator, wait_for_file, wait_until

PORT = 4100


def list_processes_of_root(mediator: RootMediator) -> list[str]:
    """The command lines of root's processes that are ours."""
    lines = mediator.list_processes("root")
    return [line for line in lines if "sudospawner" in line and "sshd" not in line]


def test_the_server_is_the_target_and_nothing_else(root_mediator: RootMediator) -> None:
    seen = root_mediator.take_report(env={"A": "b", "LD_PRELOAD": "/x", "PYTHONPATH": "/y"})
    zoe = root_mediator.machine.look_up_account("zoe")
    groups = root_mediator.machine.run(["id", "-G", "zoe"]).stdout.split()
    assert seen["uids"] == [zoe.uid] * 3
    assert seen["gids"] == [zoe.gid] * 3
    assert seen["groups"] == sorted(map(int, groups))
    assert int(seen["capabilities"], 16) == 0
    assert seen["env"] == {"A": "b", **OWN}
    assert seen["cwd"] == "/home/zoe"
    assert seen["stdin"] == "/dev/null"
    assert seen["umask"] == 0o022
    assert seen["open_files"][0] == seen["open_files"][1] <= 65536
    assert seen["blocked"] == 0
    assert {"0", "1", "2"} >= set(seen["descriptors"])


def test_a_target_in_a_hundred_groups_has_them_all(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    names = [f"group{number}" for number in range(100)]
    machine.run("for g in " + " ".join(names) + "; do groupadd $g; usermod -aG $g zoe; done")
    seen = root_mediator.take_report()
    machine.run("for g in " + " ".join(names) + "; do groupdel $g; done")
    assert len(seen["groups"]) >= 102


def test_no_process_of_root_stays_where_no_hook_left_one(root_mediator: RootMediator) -> None:
    root_mediator.add_hook("10-true", "#!/bin/sh\ntrue\n")
    spawned = root_mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    assert spawned.reply["listening"] is True
    wait_until(lambda: list_processes_of_root(root_mediator) == [], "the end of root's part")
    root_mediator.stop(spawned)


def test_kill_status_and_stop_act_as_the_target(root_mediator: RootMediator) -> None:
    spawned = root_mediator.spawn()
    pid = spawned.reply["pid"]
    for signal in (0, 9):
        kill = {"action": "kill", "pid": 1, "signal": signal}
        assert root_mediator.call(kill).reply == {"ok": True, "alive": False}
    assert root_mediator.call({"action": "kill", "pid": pid, "signal": 0}).reply["alive"] is True
    status = root_mediator.call({"action": "status", "pid": pid}).reply
    assert status["uid"] == root_mediator.machine.look_up_account("zoe").uid
    other = root_mediator.call({"action": "kill", "pid": pid, "signal": 9}, target="wash")
    assert other.reply["alive"] is False
    assert root_mediator.stop(spawned)["alive"] is False


def test_hooks_run_in_order_with_nothing_of_the_request(root_mediator: RootMediator) -> None:
    root_mediator.add_hook("20-second", "#!/bin/sh\nenv | sort >/run/second; id -u; exit 3\n")
    root_mediator.add_hook(
        "10-first", "#!/bin/sh\necho first: $0; umask; pwd; readlink /proc/self/fd/0\n"
    )
    root_mediator.add_hook("30-no-shebang", "true\n")
    root_mediator.add_hook("40-not-executable", "#!/bin/sh\n", mode=0o644)
    root_mediator.add_hook("50-killed", "#!/bin/sh\nkill -9 $$\n")
    spawned = root_mediator.spawn(
        env={"SECRET": "x", "PATH": "/evil"}, server_name="gpu one", events=True
    )
    hooks = spawned.reply["hooks"]
    assert [hook["name"] for hook in hooks] == [
        "10-first",
        "20-second",
        "30-no-shebang",
        "50-killed",
    ]
    first, second, shebang, killed = hooks
    path = root_mediator.HOOKS / "10-first"
    assert (first["status"], first["exit"]) == ("ok", 0)
    assert first["output"] == f"first: {path}\n0022\n/\n/dev/null\n"
    assert (second["status"], second["exit"], second["output"]) == ("failed", 3, "0\n")
    assert (shebang["status"], shebang["exit"]) == ("failed", None)
    assert "could not be executed" in shebang["output"]
    assert (killed["status"], killed["exit"], killed["signal"]) == ("failed", None, 9)
    zoe = root_mediator.machine.look_up_account("zoe")
    variables = dict(
        line.split("=", 1) for line in root_mediator.machine.read("/run/second").splitlines()
    )
    # What the shell itself adds.
    variables = {name: value for name, value in variables.items() if name not in ("PWD", "_")}
    assert variables == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "SUDOSPAWNER_USER": "zoe",
        "SUDOSPAWNER_UID": str(zoe.uid),
        "SUDOSPAWNER_GID": str(zoe.gid),
        "SUDOSPAWNER_HOME": "/home/zoe",
        "SUDOSPAWNER_SERVER_NAME": "gpu one",
        "NB_USER": "zoe",
        "NB_UID": str(zoe.uid),
        "NB_GID": str(zoe.gid),
    }
    seen = [(event.get("name"), event.get("status")) for event in spawned.events]
    assert seen[:4] == [
        ("10-first", "running"),
        ("10-first", "ok"),
        ("20-second", "running"),
        ("20-second", "failed"),
    ]
    assert spawned.events[-1]["event"] == "started"
    root_mediator.stop(spawned)


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(root_mediator: RootMediator) -> None:
    root_mediator.set_policy("[hooks]\ntimeout_seconds = 5\n")
    root_mediator.add_hook(
        "10-hangs",
        "#!/bin/sh\ntrap '' TERM\necho begun\n"
        "setsid sh -c 'trap \"\" TERM; setsid sleep 7771 & sleep 7772'\n",
    )
    spawned = root_mediator.spawn()
    [hook] = spawned.reply["hooks"]
    assert (hook["status"], hook["exit"], hook["output"]) == ("timeout", None, "begun\n")
    assert 6 <= hook["seconds"] < 60
    assert [line for line in root_mediator.list_processes("root") if "sleep 777" in line] == []
    root_mediator.stop(spawned)


def test_what_a_hook_that_failed_has_started_is_ended(root_mediator: RootMediator) -> None:
    root_mediator.add_hook("10-fails", "#!/bin/sh\nsetsid sleep 7785 >/dev/null 2>&1 &\nexit 1\n")
    spawned = root_mediator.spawn()
    assert [hook["status"] for hook in spawned.reply["hooks"]] == ["failed"]
    assert [line for line in root_mediator.list_processes("root") if "sleep 7785" in line] == []
    root_mediator.stop(spawned)


def test_a_hook_that_takes_too_long_can_clean_up_in_its_trap(root_mediator: RootMediator) -> None:
    root_mediator.set_policy("[hooks]\ntimeout_seconds = 2\n")
    # A shell runs its trap when the command that it waits for has ended, and not before.
    root_mediator.add_hook(
        "10-cleans-up",
        "#!/bin/sh\ntrap 'echo cleaned up; echo again >>/run/trapped; exit 3' TERM\nsleep 7784\n",
    )
    spawned = root_mediator.spawn()
    [hook] = spawned.reply["hooks"]
    # The shell says of the command that it was terminated.
    assert hook["status"] == "timeout"
    assert hook["output"].endswith("cleaned up\n")
    # Once, although it was the leader of its session and a child of ours.
    assert root_mediator.machine.read("/run/trapped") == "again\n"
    root_mediator.stop(spawned)


def test_a_limit_that_cannot_be_raised_is_said_once_for_a_spawn_and_for_nothing_else(
    root_mediator: RootMediator,
) -> None:
    # The kernel lets nobody have so many (fs.nr_open).
    root_mediator.set_policy("[limits]\nopen_files = 4000000000\n")
    spawned = root_mediator.spawn()
    asked = {"pid": spawned.reply["pid"]}
    calls = [
        root_mediator.call({"action": "status", **asked}),
        root_mediator.call({"action": "kill", "signal": 0, **asked}),
        root_mediator.call({"action": "stop", "interrupt_seconds": 0, **asked}),
    ]
    assert spawned.log.count("RLIMIT_NOFILE stays at") == 1
    assert [call.log for call in calls] == ["", "", ""]


def test_a_flood_of_output_is_cut_and_ends_with_the_hook(root_mediator: RootMediator) -> None:
    root_mediator.set_policy("[hooks]\ntimeout_seconds = 5\n")
    root_mediator.add_hook("10-flood", "#!/bin/sh\nyes 0123456789\n")
    root_mediator.add_hook("20-last", "#!/bin/sh\nprintf '%5000d\\033[1m<b>' 1\n")
    spawned = root_mediator.spawn()
    flood, last = spawned.reply["hooks"]
    assert flood["status"] == "timeout"
    assert len(flood["output"]) == 4096
    assert last["output"].endswith("1\\u{1b}[1m<b>")
    root_mediator.stop(spawned)


def test_where_a_failing_hook_matters_no_server_is_started(root_mediator: RootMediator) -> None:
    root_mediator.set_policy('[hooks]\non_failure = "fail"\n')
    root_mediator.add_hook("10-daemon", "#!/bin/sh\nsetsid sleep 7773 >/dev/null 2>&1 &\n")
    root_mediator.add_hook("20-fails", "#!/bin/sh\nexit 1\n")
    root_mediator.add_hook("30-not-reached", "#!/bin/sh\ntouch /run/reached\n")
    answer = root_mediator.spawn()
    assert (answer.reply["code"], answer.status) == ("hook_failed", 0)
    assert "20-fails" in answer.reply["error"]
    assert [hook["status"] for hook in answer.reply["hooks"]] == ["ok", "failed"]
    assert [line for line in root_mediator.list_processes("root") if "sleep 7773" in line] == []
    assert root_mediator.machine.run(["test", "-e", "/run/reached"], check=False).returncode == 1


def test_a_daemon_of_a_hook_lives_as_long_as_the_server(root_mediator: RootMediator) -> None:
    daemon = "#!/bin/sh\nsetsid sleep 7774 >/dev/null 2>&1 &\n"
    root_mediator.add_hook("10-daemon", daemon)

    def is_there() -> bool:
        return "sleep 7774" in root_mediator.list_processes("root")

    spawned = root_mediator.spawn("leave")
    assert spawned.reply["hooks"][0]["status"] == "ok"
    # What is forked goes by the name of what forked it, until it is executed.
    wait_until(is_there, "the hook's daemon")

    def list_keepers() -> list[str]:
        return [line for line in root_mediator.list_processes("root") if "keeper" in line]

    wait_until(lambda: len(list_keepers()) == 1, "the keeper")
    wait_until(lambda: len(root_mediator.list_processes()) == 4, "all that the server starts")
    assert root_mediator.stop(spawned)["leftovers_killed"] == 2
    assert not is_there()
    # The stop itself had a process of root's.
    wait_until(lambda: list_processes_of_root(root_mediator) == [], "the end of root's part")


def test_what_a_hook_mounts_the_server_sees_and_nobody_else(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    root_mediator.add_hook(
        "10-mount", "#!/bin/sh\nmount -t tmpfs -o uid=$NB_UID tmpfs /mnt && touch /mnt/here\n"
    )
    spawned = root_mediator.spawn("wait-for", "/mnt/here", "report", "/home/zoe/seen.json")
    assert spawned.reply["hooks"][0]["status"] == "ok", spawned
    wait_for_file(root_mediator, "/home/zoe/seen.json")
    machine.run(["rm", "/home/zoe/seen.json"])
    assert machine.run(["test", "-e", "/mnt/here"], check=False).returncode == 1
    mounts = machine.run(["cat", f"/proc/{spawned.reply['pid']}/mounts"]).stdout
    assert " /mnt tmpfs " in mounts
    # What the host mounts later comes in.
    machine.run(["mkdir", "-p", "/srv/later"])
    machine.run(["mount", "-t", "tmpfs", "later", "/srv/later"])
    mounts = machine.run(["cat", f"/proc/{spawned.reply['pid']}/mounts"]).stdout
    machine.run(["umount", "/srv/later"])
    assert " /srv/later tmpfs " in mounts
    root_mediator.stop(spawned)


def test_no_new_privileges_empties_the_bounding_set(root_mediator: RootMediator) -> None:
    root_mediator.set_policy("[server]\nno_new_privileges = true\n")
    spawned = root_mediator.spawn()
    status = root_mediator.machine.read(f"/proc/{spawned.reply['pid']}/status")
    root_mediator.stop(spawned)
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["NoNewPrivs"] == "1"
    assert {int(fields[name], 16) for name in ("CapBnd", "CapPrm", "CapInh", "CapAmb")} == {0}


@pytest.mark.parametrize("key", ["memory = '4G'", "cpus = 2", "tasks = 512"])
def test_a_limit_that_this_launcher_cannot_enforce_refuses_the_spawn(
    root_mediator: RootMediator, key: str
) -> None:
    root_mediator.set_policy(f"[limits]\n{key}\n")
    answer = root_mediator.spawn()
    assert (answer.reply["code"], answer.status) == ("limit_not_enforceable", 1)
    assert root_mediator.call({"action": "status", "pid": 999999}).reply["ok"] is True


def test_rlimits_log_file_umask_and_environment_are_as_the_policy_says(
    root_mediator: RootMediator,
) -> None:
    root_mediator.set_policy(
        "[limits]\nopen_files = 1000\nrlimits = { core = 0 }\n"
        '[server]\nlog = "file"\numask = "0027"\nleftovers = "keep"\n'
        '[environment]\nkeep = ["A*"]\nset = { LANG = "C.UTF-8" }\n'
    )
    env = {"A": "1", "AB": "2", "B": "3"}
    spawned = root_mediator.spawn(
        "report", "/home/zoe/seen.json", "say", "to-the-file", "leave", env=env, server_name="a b"
    )
    wait_for_file(root_mediator, "/home/zoe/seen.json")
    log = "/home/zoe/.local/state/sudospawner/singleuser-a\\x20b.log"
    wait_for_file(root_mediator, log)
    seen = json.loads(root_mediator.machine.read("/home/zoe/seen.json"))
    assert root_mediator.machine.read(log) == "to-the-file\n"
    mode = root_mediator.machine.run(["stat", "--format=%a %U", log]).stdout
    wait_until(lambda: len(root_mediator.list_processes()) == 4, "what the server leaves")
    stopped = root_mediator.stop(spawned)
    left = root_mediator.list_processes()
    root_mediator.kill_processes()
    root_mediator.machine.run(["rm", "-r", "/home/zoe/seen.json", "/home/zoe/.local"])
    assert mode == "600 zoe\n"
    assert seen["umask"] == 0o027
    assert seen["open_files"] == [1000, 1000]
    assert seen["env"] == {"A": "1", "AB": "2", "LANG": "C.UTF-8"}
    assert spawned.reply["dropped_env"] == ["B"]
    assert (stopped["alive"], stopped["leftovers_killed"]) == (False, 0)
    assert len(left) == 3


def test_the_decision_is_written_by_root(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    begin = time.time_ns() // 1000
    root_mediator.spawn("exit", "3")
    root_mediator.call({"action": "kill", "pid": 999999, "signal": 0})
    root_mediator.call("{")

    def look() -> list[dict[str, str]]:
        machine.run(["journalctl", "--sync"])
        query = [
            "journalctl",
            "SYSLOG_IDENTIFIER=sudospawner",
            "--output=json",
            "_UID=0",
        ]
        entries = [json.loads(line) for line in machine.run(query).stdout.splitlines()]
        return [entry for entry in entries if int(entry["__REALTIME_TIMESTAMP"]) >= begin]

    rhea = machine.look_up_account("rhea").uid
    expected = {
        f"caller=rhea({rhea}) target=zoe action=spawn code=ok",
        f"caller=rhea({rhea}) target=zoe action=kill code=ok",
        f"caller=rhea({rhea}) target=zoe action=? code=malformed_request",
    }
    wait_until(lambda: expected <= {entry["MESSAGE"] for entry in look()}, "root's lines")


def test_where_there_is_no_syslog_the_decision_is_on_stderr(root_mediator: RootMediator) -> None:
    """Of a spawn by the monitor, which writes before it starts anything; of a refusal by nobody."""
    machine = root_mediator.machine
    machine.run(["mv", "/dev/log", "/dev/log.away"])
    try:
        spawned = root_mediator.spawn("exit", "3").log
        root_mediator.set_policy("[targets]\nmin_uid = 60000\n")
        refused = root_mediator.spawn().log
    finally:
        machine.run(["mv", "/dev/log.away", "/dev/log"])
    rhea = machine.look_up_account("rhea").uid
    for log, decision in [
        (spawned, "target=zoe action=spawn code=ok"),
        (refused, "target=? action=? code=target_not_permitted"),
    ]:
        first = next(line for line in log.splitlines() if "audit (not in syslog" in line)
        assert first.endswith(f": caller=rhea({rhea}) {decision}")


def test_a_mediator_that_is_killed_during_a_hook_leaves_nothing(
    root_mediator: RootMediator,
) -> None:
    root_mediator.add_hook("10-slow", "#!/bin/sh\ntouch /run/hook-runs\nsleep 1.5\n")
    process = root_mediator.start({"action": "spawn", "args": [], "env": {}})
    machine = root_mediator.machine
    wait_until(
        lambda: machine.run(["test", "-e", "/run/hook-runs"], check=False).returncode == 0, "hook"
    )
    machine.run(["rm", "/run/hook-runs"])
    reader = ["pgrep", "--uid", "nobody", "--full", str(root_mediator.path)]
    machine.run(["kill", "-KILL", *machine.run(reader).stdout.split()])
    process.communicate()
    wait_until(lambda: list_processes_of_root(root_mediator) == [], "the end of root's part")
    assert root_mediator.list_processes() == []


def test_without_a_policy_root_mode_refuses(root_mediator: RootMediator) -> None:
    root_mediator.machine.run(["rm", root_mediator.POLICY])
    answer = root_mediator.spawn()
    assert (answer.reply["code"], answer.status) == ("policy_missing", 1)


@pytest.mark.parametrize(
    ("rest", "key"),
    [
        ('[environment]\nset = { "A=B" = "c" }\n', "environment.set"),
        ("[server]\numask = 22\n", "(umask)"),
        ("[systemd]\nslice = '-.slice'\n", "(slice)"),
    ],
)
def test_what_is_wrong_in_any_part_of_the_policy_refuses_the_call(
    root_mediator: RootMediator, rest: str, key: str
) -> None:
    root_mediator.set_policy(rest)
    root_mediator.add_hook("10-hook", "#!/bin/sh\ntouch /run/a-hook-ran\n")
    answer = root_mediator.spawn()
    assert (answer.reply["code"], answer.status) == ("policy_malformed", 1)
    assert key in answer.reply["error"]
    # Taken away if it is there, and then not there for those who come next.
    ran = root_mediator.machine.run(["rm", "/run/a-hook-ran"], check=False)
    assert ran.returncode == 1


def test_root_calls_for_a_target_without_sudo(root_mediator: RootMediator) -> None:
    run = root_mediator.machine.run(
        [root_mediator.path, "--user=zoe"], input='{"action":"kill","pid":999999,"signal":0}'
    )
    assert json.loads(run.stdout) == {"ok": True, "alive": False}


def test_hidden_processes_do_not_hide_the_server(root_mediator: RootMediator) -> None:
    machine = root_mediator.machine
    machine.run(["mount", "-o", "remount,hidepid=2", "/proc"])
    try:
        spawned = root_mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
        assert spawned.reply["listening"] is True
        assert spawned.reply["started"]
        assert root_mediator.stop(spawned, started=spawned.reply["started"])["alive"] is False
    finally:
        machine.run(["mount", "-o", "remount,hidepid=0", "/proc"])


def test_the_terminal_of_sudo_reaches_nothing(root_mediator: RootMediator) -> None:
    root_mediator.permit(more="Defaults use_pty, log_output\n")
    root_mediator.add_hook("10-daemon", "#!/bin/sh\nsetsid sleep 7775 >/dev/null 2>&1 &\n")
    spawned = root_mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})
    assert spawned.reply["listening"] is True
    sudos = ["pgrep", "-x", "sudo"]
    machine = root_mediator.machine
    wait_until(lambda: machine.run(sudos, check=False).stdout == "", "the end of sudo")
    assert root_mediator.stop(spawned)["alive"] is False
    wait_until(lambda: list_processes_of_root(root_mediator) == [], "the end of root's part")
