"""What remains when something dies: mediator, Hub, supervisor, server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from machine.machine import Machine
from system.mediator import Answer, Mediator, wait_until

PORT = 4001
WAITING = {"action": "spawn", "args": [], "env": {}, "wait": {"port": PORT, "seconds": 600}}


def find_pids(machine: Machine, name: str, user: str = "zoe") -> list[str]:
    """The pids of an account's processes whose command line begins with `name`."""
    lines = machine.run(["ps", "-u", user, "-o", "pid=,stat=,args="], check=False).stdout
    fields = [line.split(maxsplit=2) for line in lines.splitlines()]
    return [pid for pid, stat, args in fields if args.startswith(name) and not stat.startswith("Z")]


def start_waiting(mediator: Mediator) -> subprocess.Popen[str]:
    """A spawn that waits for a port on which the server never listens; the server runs."""
    process = mediator.start({**WAITING, "events": True})
    assert process.stdout is not None
    assert '"started"' in process.stdout.readline()
    # Until they are executed anew, the mediator's children go by its name, too.
    wait_until(
        lambda: len(find_pids(mediator.machine, str(mediator.path))) == 1,
        "the executions of supervisor and server",
    )
    return process


def wait_for_nothing(mediator: Mediator) -> None:
    """Wait until the account has no process any more."""
    wait_until(lambda: mediator.list_processes() == [], "the end of the undelivered server")


def test_a_mediator_that_is_killed_takes_its_undelivered_server_along(mediator: Mediator) -> None:
    process = start_waiting(mediator)
    [pid] = find_pids(mediator.machine, str(mediator.path))
    mediator.machine.run(["kill", "-KILL", pid])
    process.communicate()
    wait_for_nothing(mediator)


def test_a_caller_that_closes_stdout_takes_its_undelivered_server_along(mediator: Mediator) -> None:
    process = start_waiting(mediator)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.wait()
    process.stderr.close()
    wait_for_nothing(mediator)


@pytest.mark.parametrize("site", ["", "Defaults use_pty, log_output\n"])
def test_sigterm_to_sudo_takes_the_undelivered_server_along(mediator: Mediator, site: str) -> None:
    mediator.permit(more=site)
    process = start_waiting(mediator)
    sudo = find_pids(mediator.machine, "sudo -nH", user="root")
    mediator.machine.run(["kill", "-TERM", *sudo])
    process.communicate()
    wait_for_nothing(mediator)


def test_a_reply_that_nobody_can_read_is_undone(mediator: Mediator) -> None:
    # The server never listens, and stdout is closed while the mediator waits for that.
    process = mediator.start(WAITING | {"wait": {"port": PORT, "seconds": 5}})
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.wait()
    process.stderr.close()
    wait_for_nothing(mediator)


def test_an_undelivered_server_that_ignores_sigterm_is_killed(mediator: Mediator) -> None:
    process = mediator.start(
        {**WAITING, "args": ["stubborn", "report", "/home/zoe/ready", "leave"], "events": True}
    )
    wait_until(lambda: len(mediator.list_processes()) == 5, "the server and what it left")
    assert process.stdout is not None
    process.stdout.close()
    process.communicate()
    wait_for_nothing(mediator)
    mediator.machine.run(["rm", "/home/zoe/ready"])


def test_without_its_supervisor_a_server_can_be_stopped_with_all_that_it_started(
    mediator: Mediator,
) -> None:
    spawned = mediator.spawn("leave", "say", "ready")
    wait_until(lambda: len(mediator.list_processes()) == 4, "both processes of the server")
    [supervisor] = find_pids(mediator.machine, "sudospawner-supervisor")
    mediator.machine.run(["kill", "-KILL", supervisor])
    assert mediator.call({"action": "status", "pid": spawned.reply["pid"]}).reply["alive"] is True
    stopped = mediator.stop(spawned)
    assert (stopped["alive"], stopped["leftovers_killed"]) == (False, 2)


def test_a_signal_to_the_supervisor_reaches_the_server(mediator: Mediator) -> None:
    mediator.spawn()
    mediator.machine.run(["kill", "-TERM", *find_pids(mediator.machine, "sudospawner-supervisor")])
    wait_for_nothing(mediator)


def spawn_with_open_log(mediator: Mediator, *args: str) -> tuple[Answer, subprocess.Popen[str]]:
    """A spawn whose log pipe stays open, and unread, as that of a Hub does."""
    process = mediator.start({"action": "spawn", "args": list(args), "env": {}})
    assert process.stdout is not None
    reply = json.loads(process.stdout.readline())
    process.wait()
    return Answer(reply, [], 0, ""), process


def test_a_hub_that_does_not_read_blocks_no_server_and_is_told_what_it_missed(
    mediator: Mediator,
) -> None:
    machine = mediator.machine
    # Another test's server may have left it.
    machine.run(["rm", "-f", "/home/zoe/flooded"])
    spawned, process = spawn_with_open_log(
        mediator, "flood", "10", "wait-for", "/home/zoe/go", "say", "after"
    )
    wait_until(
        lambda: machine.run(["test", "-e", "/home/zoe/flooded"], check=False).returncode == 0,
        "the server's end of writing",
    )
    # Now the Hub reads again, and is told at once; then the server says something.
    assert process.stderr is not None
    reader, lines = process.stderr, []

    def read() -> None:
        for line in reader:
            lines.append(line)
            if line == "after\n":
                return

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    missed = "lines of this server's log were dropped"
    wait_until(lambda: any(missed in line for line in list(lines)), "what the Hub has missed")
    machine.run(["touch", "/home/zoe/go"], user="zoe")
    reading.join(60)
    assert not reading.is_alive(), lines[-3:]
    machine.run(["rm", "/home/zoe/go", "/home/zoe/flooded"])
    notice = [line for line in lines if missed in line]
    written = sum(line == "x" * 99 + "\n" for line in lines)
    dropped = sum(int(line.split("] ")[1].split()[0]) for line in notice)
    assert dropped > 90_000
    # A line that was cut counts on neither side or on both.
    assert abs(written + dropped - 100_000) < 10
    mediator.stop(spawned)
    reader.close()


def test_the_log_goes_on_in_the_journal_when_the_hub_is_gone(mediator: Mediator) -> None:
    machine = mediator.machine
    spawned, process = spawn_with_open_log(
        mediator, "say", "to-the-hub", "wait-for", "/home/zoe/go", "say", "to-the-journal"
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line == "to-the-hub\n":
            break
    process.stderr.close()
    machine.run(["touch", "/home/zoe/go"], user="zoe")

    def look() -> bool:
        machine.run(["journalctl", "--sync"])
        query = ["journalctl", "--identifier=jupyterhub-singleuser", "--output=cat", "_UID=" + uid]
        return "to-the-journal\n" in machine.run(query).stdout

    uid = str(machine.look_up_account("zoe").uid)
    wait_until(look, "the line in the journal")
    machine.run(["rm", "/home/zoe/go"])
    mediator.stop(spawned)


def test_a_supervisor_holds_less_than_300_kb(mediator: Mediator) -> None:
    # Several, so that the pages of the binary, which all supervisors share, count for none.
    spawned = [mediator.spawn() for _ in range(8)]
    sizes = []
    for supervisor in find_pids(mediator.machine, "sudospawner-supervisor"):
        text = mediator.machine.read(f"/proc/{supervisor}/smaps_rollup")
        private = [line.split()[1] for line in text.splitlines() if line.startswith("Private_")]
        sizes.append(sum(map(int, private)))
    for server in spawned:
        mediator.stop(server)
    assert len(sizes) == len(spawned)
    assert max(sizes) <= 300, sizes


def test_signals_that_the_caller_ignores_change_nothing(mediator: Mediator) -> None:
    # Not by a shell's trap: dash does not pass an ignored SIGCHLD on.
    ignore = (
        "import os, signal, sys; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15, 17, 40)]"
    )
    ignoring = ["/usr/bin/python3", "-c", f"{ignore}; os.execvp('sudo', sys.argv[1:])"]
    args = ["report", "seen.json", "exit", "3"]
    request = {**WAITING, "args": args}
    words = [*ignoring, *mediator.list_words("zoe")]
    run = mediator.machine.run(words, user="rhea", input=json.dumps(request))
    reply = json.loads(run.stdout)
    seen = json.loads(mediator.machine.read("/home/zoe/seen.json"))
    mediator.machine.run(["rm", "/home/zoe/seen.json"])
    assert (reply["code"], reply["exit"]) == ("exited_early", 3)
    assert (seen["ignored"], seen["ignored_realtime"]) == (0, 0)


def test_a_request_that_never_ends_is_refused_after_a_minute(mediator: Mediator) -> None:
    process = mediator.machine.start(
        ["sudo", "-nH", "-u", "zoe", mediator.path],
        user="rhea",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    begin = time.monotonic()
    assert process.stdin is not None and process.stdout is not None
    os.write(process.stdin.fileno(), b'{"action":')
    output = process.stdout.read()
    assert b'"request_timeout"' in output
    assert process.wait() == 1
    assert time.monotonic() - begin >= 59
    process.stdin.close()
    process.stdout.close()


def test_twenty_spawns_killed_at_different_moments_leave_nothing(mediator: Mediator) -> None:
    # Only the mediator, sudo's child, and at once: what else has its command line for a moment is
    # the supervisor a moment later, and a server that loses both has nobody who would end it.
    script = (
        f"for s in $(pgrep -x sudo); do for p in $(pgrep -P $s -f '^{mediator.path}'); "
        f"do kill -{signal.SIGKILL.value} $p; done; done"
    )
    statuses = []
    for milliseconds in range(0, 40, 2):
        process = mediator.start(WAITING)
        time.sleep(milliseconds / 1000)
        mediator.machine.run(["sh", "-c", script], check=False)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        statuses.append(process.wait())
        process.stderr.close()
    killed = (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert any(status in killed for status in statuses), statuses
    wait_for_nothing(mediator)
