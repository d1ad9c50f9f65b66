"""The mediator through real sudo: what it starts, and how it tells what became of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from system.mediator import Mediator, wait_for_file, wait_until

PORT = 4000
TAKE_PID = Path(__file__).with_name("take_pid.py")


def test_the_reply_to_a_kill_of_nobody_is_one_object_and_nothing_else(mediator: Mediator) -> None:
    process = mediator.start('{"action":"kill","pid":999999,"signal":0}')
    output, _ = process.communicate()
    assert output == '{"ok":true,"alive":false}\n'
    assert process.returncode == 0


def test_help_works_for_those_who_test_their_sudoers(mediator: Mediator) -> None:
    process = mediator.start("", options=["--help"])
    output, _ = process.communicate()
    assert "--logging" in output
    assert process.returncode == 0


def test_root_is_no_target_whatever_sudoers_says(mediator: Mediator) -> None:
    mediator.permit(runas="ALL")
    answer = mediator.call({"action": "spawn", "args": [], "env": {}}, target="root")
    mediator.permit()
    assert (answer.reply["code"], answer.status) == ("target_is_root", 1)


def test_a_home_that_does_not_exist_is_said_with_its_path(mediator: Mediator) -> None:
    answer = mediator.spawn(target="nohome")
    assert (answer.reply["code"], answer.status) == ("home_missing", 0)
    assert "/home/nohome" in answer.reply["error"]


def test_a_closed_directory_above_the_server_is_named(mediator: Mediator) -> None:
    machine = mediator.machine
    machine.run(["mkdir", "--mode=0700", "/opt/closed"])
    machine.run(["install", "-D", "/usr/bin/true", "/opt/closed/bin/python3"])
    machine.run(["ln", "-sfn", "/opt/closed/bin/python3", "/opt/mediator/python3"])
    mediator.put_server("#!/opt/mediator/python3\n")
    reply = mediator.spawn().reply
    machine.run(
        ["ln", "-sfn", "/opt/closed/bin/python3", mediator.folder / "sudospawner-singleuser"]
    )
    linked = mediator.spawn().reply
    machine.run(["rm", mediator.folder / "sudospawner-singleuser"])
    mediator.put_server()
    assert reply["code"] == "exec_failed"
    assert "/opt/mediator/python3" in reply["error"]
    assert "the directory /opt/closed is closed" in reply["error"]
    assert linked["code"] == "server_not_executable"
    assert "the directory /opt/closed is closed" in linked["error"]


@pytest.mark.parametrize(
    ("program", "part"),
    [
        ("#!/usr/bin/no-such-python\n", "/usr/bin/no-such-python does not exist"),
        ("print('no first line')\n", "#!"),
    ],
)
def test_a_server_that_the_kernel_refuses_is_explained(
    mediator: Mediator, program: str, part: str
) -> None:
    mediator.put_server(program)
    reply = mediator.spawn().reply
    mediator.put_server()
    assert reply["code"] == "exec_failed"
    assert part in reply["error"]


def test_the_wrapper_wins_over_the_server_itself(mediator: Mediator) -> None:
    mediator.put_server("#!/bin/sh\necho plain >&2; exit 3\n", name="jupyterhub-singleuser")
    wrapped = mediator.spawn("say", "wrapped", "exit", "3", wait={"port": PORT, "seconds": 60})
    assert wrapped.reply["stderr"] == "wrapped\n"
    mediator.machine.run(["rm", mediator.folder / "sudospawner-singleuser"])
    plain = mediator.spawn().reply
    mediator.put_server()
    assert plain["stderr"] == "plain\n"


def test_a_wait_ends_when_the_server_listens(mediator: Mediator) -> None:
    spawned = mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60}, events=True)
    assert spawned.reply["listening"] is True
    assert spawned.events == [
        {"event": "started", "pid": spawned.reply["pid"], "started": spawned.reply["started"]}
    ]
    assert mediator.stop(spawned)["alive"] is False


def test_a_wait_that_is_over_leaves_the_server_to_the_hub(mediator: Mediator) -> None:
    spawned = mediator.spawn(wait={"port": PORT, "seconds": 0.2})
    assert (spawned.reply["ok"], spawned.reply["listening"]) == (True, False)
    assert mediator.stop(spawned)["alive"] is False


@pytest.mark.parametrize(
    ("ending", "reply"),
    [
        (["exit", "3"], {"error": "Exited with status: 3", "exit": 3, "signal": None}),
        (["exit", "0"], {"error": "Exited with status: 0", "exit": 0, "signal": None}),
        (["die", "9"], {"error": "Exited with status: -9", "exit": None, "signal": 9}),
    ],
)
def test_an_end_before_listening_is_told_with_its_last_words(
    mediator: Mediator, ending: list[str], reply: dict[str, object]
) -> None:
    wait = {"port": PORT, "seconds": 600}
    answer = mediator.spawn(
        "sleep", "1.2", "print", "out", "say", "<err>\x1b[0m", *ending, wait=wait
    )
    assert answer.reply == {
        "ok": False,
        "code": "exited_early",
        "stderr": "out\n<err>\\u{1b}[0m\n",
        **reply,
    }
    assert answer.status == 0


def test_a_caller_that_reads_the_log_last_gets_its_reply_all_the_same(mediator: Mediator) -> None:
    # The pipe of the log is full when the mediator has something to log itself.
    request = {"action": "spawn", "args": ["flood", "1", "exit", "1"], "env": {}}
    process = mediator.start({**request, "wait": {"port": PORT, "seconds": 60}})
    assert process.stdout is not None and process.stderr is not None
    assert '"exited_early"' in process.stdout.read()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_of_many_last_words_the_last_4_kib_are_told(mediator: Mediator) -> None:
    ended = mediator.spawn(
        "flood", "1", "say", "end", "exit", "1", wait={"port": PORT, "seconds": 60}
    )
    stderr = ended.reply["stderr"]
    assert stderr.endswith("x\nend\n")
    assert len(stderr) == 4096


def test_a_port_that_another_account_has_is_not_mistaken_for_the_server(mediator: Mediator) -> None:
    thief = mediator.machine.start(
        ["/usr/bin/python3", "-c",
         "import os, signal, socket, sys;"
         "s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
         "print(os.getpid(), flush=True); signal.pause()", str(PORT)],
        user="mal",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert thief.stdout is not None
    pid = thief.stdout.readline().decode().strip()
    answer = mediator.spawn(wait={"port": PORT, "seconds": 600})
    mediator.machine.run(["kill", pid])
    thief.wait()
    assert answer.reply["code"] == "port_taken"
    uid = mediator.machine.look_up_account("mal").uid
    assert f"uid {uid}" in answer.reply["error"]


def test_a_recycled_pid_is_never_signalled(mediator: Mediator) -> None:
    spawned = mediator.spawn()
    pid = spawned.reply["pid"]
    boot, ticks = spawned.reply["started"].split(":")
    for started in (f"{boot}:{int(ticks) + 1}", f"{boot[::-1]}:{ticks}"):
        kill = {"action": "kill", "pid": pid, "signal": 9, "started": started}
        assert mediator.call(kill).reply == {"ok": True, "alive": False}
        stop = {"action": "stop", "pid": pid, "started": started}
        assert mediator.call(stop).reply["leftovers_killed"] == 0
        status = {"action": "status", "pid": pid, "started": started}
        assert mediator.call(status).reply == {"ok": True, "alive": False}
    alive = {"action": "kill", "pid": pid, "signal": 0, "started": spawned.reply["started"]}
    assert mediator.call(alive).reply == {"ok": True, "alive": True}
    assert mediator.stop(spawned, started=spawned.reply["started"])["alive"] is False


def test_what_has_a_servers_pid_after_it_is_left_alone(mediator: Mediator) -> None:
    machine = mediator.machine
    spawned = mediator.spawn()
    pid, started = spawned.reply["pid"], spawned.reply["started"]
    assert mediator.stop(spawned, started=started)["alive"] is False
    wait_until(lambda: mediator.list_processes() == [], "the end of the server")
    machine.write("/run/take_pid", TAKE_PID.read_text(), mode=0o755)
    zoe = machine.look_up_account("zoe").uid
    assert machine.run(["/run/take_pid", str(pid), str(zoe)]).stdout.strip() == str(pid)
    try:
        identity = {"pid": pid, "started": started}
        assert mediator.call({"action": "kill", "signal": 9, **identity}).reply["alive"] is False
        stop = {"action": "stop", "interrupt_seconds": 0, "term_seconds": 0, **identity}
        reply = mediator.call(stop).reply
        assert (reply["alive"], reply["leftovers_killed"]) == (False, 0)
        assert mediator.call({"action": "status", **identity}).reply["alive"] is False
        assert mediator.list_processes() == ["sleep 9999"]
        # Without `started` a pid is all that there is to go by.
        assert mediator.call({"action": "kill", "signal": 0, "pid": pid}).reply["alive"] is True
    finally:
        machine.run(["kill", "-KILL", str(pid)], check=False)


def test_a_server_of_another_account_is_out_of_reach(mediator: Mediator) -> None:
    spawned = mediator.spawn(target="wash")
    pid = spawned.reply["pid"]
    assert mediator.call({"action": "status", "pid": pid}).reply == {"ok": True, "alive": False}
    assert mediator.call({"action": "kill", "pid": pid, "signal": 9}).reply["alive"] is False
    assert mediator.call({"action": "stop", "pid": pid}).reply["alive"] is False
    stop = {"action": "stop", "pid": pid, "interrupt_seconds": 0}
    assert mediator.call({"action": "kill", "pid": pid, "signal": 0}, target="wash").reply["alive"]
    assert mediator.call(stop, target="wash").reply["alive"] is False
    wait_until(lambda: mediator.list_processes("wash") == [], "the end of wash's processes")


def test_status_tells_what_the_server_uses_with_all_that_it_started(mediator: Mediator) -> None:
    spawned = mediator.spawn("leave", "say", "ready")
    wait_until(lambda: len(mediator.list_processes()) == 4, "both processes of the server")
    status = mediator.call({"action": "status", "pid": spawned.reply["pid"]}).reply
    assert status["alive"] is True
    assert status["uid"] == mediator.machine.look_up_account("zoe").uid
    assert status["processes"] == 3
    assert 3_000_000 < status["memory"] < 300_000_000
    assert 0 <= status["cpu_seconds"] < 60
    assert 0 <= status["uptime"] < 600
    assert mediator.stop(spawned)["leftovers_killed"] == 2


def test_stop_ends_a_server_that_ignores_what_is_polite(mediator: Mediator) -> None:
    spawned = mediator.spawn("stubborn", "listen", str(PORT), wait={"port": PORT, "seconds": 60})
    stopped = mediator.stop(spawned, interrupt_seconds=0.2, term_seconds=0.2)
    assert (stopped["alive"], stopped["leftovers_killed"]) == (False, 0)
    assert stopped["seconds"] >= 0.4


def test_what_a_server_leaves_behind_ends_with_it(mediator: Mediator) -> None:
    mediator.spawn("leave", "exit", "0")
    wait_until(lambda: mediator.list_processes() == [], "the end of what the server left")


def test_the_decision_is_one_line_for_the_authentication_log(mediator: Mediator) -> None:
    machine = mediator.machine
    journal = ["journalctl", "--sync"]
    machine.run(journal)
    forged = {"server_name": "a b", "target": "wash", "wait": {"port": PORT, "seconds": 60}}
    mediator.spawn("say", "\nforged", "exit", "3", **forged)
    mediator.call({"action": "dance"})
    machine.run(journal)
    entries = machine.run(
        ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "--output=json", "--lines=3"]
    ).stdout.splitlines()
    granted, spawn, dance = map(json.loads, entries)
    rhea = machine.look_up_account("rhea").uid
    assert granted["MESSAGE"] == f"caller=rhea({rhea}) target=wash action=spawn code=ok"
    assert spawn["MESSAGE"] == f"caller=rhea({rhea}) target=wash action=spawn code=exited_early"
    assert dance["MESSAGE"] == f"caller=rhea({rhea}) target=zoe action=? code=malformed_request"
    assert spawn["SYSLOG_FACILITY"] == "10"


def test_the_server_gets_the_umask_that_the_hub_has(mediator: Mediator) -> None:
    mediator.permit(more="Defaults!" + str(mediator.path) + " umask=0077\n")
    spawned = mediator.spawn("report", "seen.json")
    wait_for_file(mediator, "/home/zoe/seen.json")
    seen = json.loads(mediator.machine.read("/home/zoe/seen.json"))
    mediator.machine.run(["rm", "/home/zoe/seen.json"])
    mediator.permit()
    mediator.stop(spawned)
    assert seen["umask"] == 0o077
