"""What a user's processes do to those that act for the user: they stop, kill and trace them.

Nothing of root's may wait for them without end, and what root has decided is done all the same. The
process that reads the request and writes the reply is out of their reach.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Answer, Mediator, RootMediator, wait_until

ADVERSARY = Path(__file__).with_name("adversary.py")
PLACE = "/opt/adversary/adversary.py"
DAEMON = "#!/bin/sh\nsetsid sleep 7781 >/dev/null 2>&1 &\n"
UNITS = '[server]\nlauncher = "systemd"\n'
UNIT = "jupyter-zoe.service"
POLICIES = {"process": "", "systemd": UNITS}
# A caller waits so long for what will not come, in seconds.
PATIENCE = 3


class WatchedMediator(RootMediator):
    """A mediator whose caller is told of nothing but the end of sudo.

    nsenter(1), by which a test enters the machine, stops itself when its child has been stopped.
    """

    def list_words(self, target: str) -> list[str | Path]:
        """How the Hub calls it for this account."""
        return ["sh", "-c", 'exec 3<&0; "$@" <&3 3<&- & wait $!', "sh", *super().list_words(target)]


@pytest.fixture(params=POLICIES)
def mediator(
    request: pytest.FixtureRequest, machine: Machine, hub6: Cache
) -> Iterator[RootMediator]:
    """A mediator in root mode, with each launcher; nothing of a call may outlive a test."""
    binary = hub6.bin / "sudospawner"
    mediator = WatchedMediator.install(machine, "/opt/hostile/bin", binary)
    machine.write(PLACE, ADVERSARY.read_text(), mode=0o755)
    mediator.set_policy(POLICIES[request.param])
    yield mediator
    left = list_left(mediator)
    machine.run(["systemctl", "stop", UNIT], check=False)
    machine.run(["systemctl", "reset-failed", UNIT], check=False)
    mediator.kill_processes()
    for pid in list_pids_of_root(mediator):
        machine.run(["kill", "-KILL", pid], check=False)
    mediator.remove_all()
    assert left == []


@contextlib.contextmanager
def adversary(mediator: Mediator, *words: str) -> Iterator[list[str]]:
    """Zoe's process that does this to each new process of hers that is called sudospawner.

    What it has said is in the list when it has been ended.
    """
    said: list[str] = []
    process = mediator.machine.start([PLACE, *words], user="zoe", stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield said
    finally:
        mediator.machine.run(["pkill", "-KILL", "-u", "zoe", "-f", PLACE], check=False)
        said += process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()


def list_pids_of_root(mediator: RootMediator) -> list[str]:
    """Root's processes that are ours: monitors, keepers, hooks' daemons, and sudo with its call."""
    lines = mediator.machine.run(["ps", "-u", "root", "-o", "pid=,stat=,args="]).stdout
    ours = (str(mediator.path), "sudospawner-keeper", "sleep 7781")
    fields = [line.split(maxsplit=2) for line in lines.splitlines()]
    return [
        pid
        for pid, stat, args in fields
        if not stat.startswith("Z")
        and any(word in args for word in ours)
        # The words of a test's own shell.
        and "nsenter" not in args
    ]


def list_left(mediator: RootMediator) -> list[str]:
    """What is left of calls and servers."""
    active = mediator.machine.run(["systemctl", "is-active", UNIT], check=False).stdout.strip()
    left = [active] if active in ("active", "activating", "deactivating") else []
    return left + list_pids_of_root(mediator) + list_readers(mediator) + mediator.list_processes()


def give_up(process: subprocess.Popen[str], seconds: float = PATIENCE) -> None:
    """Wait a while for the reply of a call, and then close all pipes, as the Hub does."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def stop_by_command_line(mediator: RootMediator, spawned: Answer) -> subprocess.Popen[str]:
    """Begin a stop as the class does: the command line says what it is about."""
    request = {"action": "stop", "pid": spawned.reply["pid"], "interrupt_seconds": 0}
    return mediator.start(request, options=["--action=stop"])


def read_decisions(machine: Machine, word: str) -> list[str]:
    """Root's lines in the authentication log that have this word."""
    machine.run(["journalctl", "--sync"])
    query = ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "_UID=0", "--output=cat"]
    return [line for line in machine.run(query).stdout.splitlines() if word in line]


def test_a_target_that_stops_what_acts_for_it_keeps_nothing_of_a_call(
    mediator: RootMediator,
) -> None:
    status = {"action": "status", "pid": 999999}
    with adversary(mediator, "stop"):
        for call in [mediator.start(status) for _ in range(10)]:
            give_up(call, 0.5)
    wait_until(lambda: list_left(mediator) == [], "the end of all calls")


def test_a_target_that_kills_what_acts_for_it_is_named_in_the_reply(
    mediator: RootMediator,
) -> None:
    spawned = mediator.spawn("stubborn")
    with adversary(mediator, "kill"):
        request = {"action": "stop", "pid": spawned.reply["pid"], "interrupt_seconds": 600}
        answer = mediator.call(request)
    assert (answer.reply["code"], answer.status) == ("target_unresponsive", 0)
    assert "zoe" in answer.reply["error"]
    mediator.kill_processes()


def test_what_a_target_does_to_the_limits_of_its_processes_ends_no_call_without_a_reply(
    mediator: RootMediator,
) -> None:
    spawned = mediator.spawn()
    status = {"action": "status", "pid": spawned.reply["pid"]}
    for limit in ("CPU", "NOFILE", "AS", "FSIZE", "NPROC"):
        with adversary(mediator, "limit", limit):
            replies = [mediator.call(status).reply for _ in range(10)]
        assert all(reply["ok"] or reply["code"] for reply in replies)
    assert mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False
    wait_until(lambda: list_left(mediator) == [], "the end of all calls")


def test_a_target_whose_table_of_processes_is_full_is_answered(mediator: RootMediator) -> None:
    # The kernel looks before it counts the new process. So there have to be two others.
    other = mediator.machine.start(["sleep", "7784"], user="zoe")
    spawned = mediator.spawn()
    unit = spawned.reply.get("unit", "")
    mediator.set_policy(
        POLICIES["systemd" if unit else "process"] + "[limits]\nrlimits = { nproc = 1 }\n"
    )
    status = mediator.call({"action": "status", "pid": spawned.reply["pid"], "unit": unit})
    assert status.reply["alive"] is True
    refused = mediator.spawn(server_name="second")
    assert refused.reply["ok"] is False
    assert "EAGAIN" in refused.reply["error"], refused.reply
    assert mediator.stop(spawned, unit=unit)["alive"] is False
    mediator.machine.run(["pkill", "-KILL", "-u", "zoe", "-x", "sleep"])
    other.wait()
    wait_until(lambda: list_left(mediator) == [], "the end of what was started")


def start_without_request(mediator: RootMediator, *options: str) -> subprocess.Popen[str]:
    """Begin a call, and wait until its mediator, which is nobody by then, waits for the request."""
    words = [*mediator.list_words("zoe"), *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = mediator.machine.start(words, user="rhea", text=True, **pipes)
    wait_until(lambda: list_readers(mediator), "the process that reads")
    return process


def list_readers(mediator: RootMediator) -> list[str]:
    """The pids of the mediators, which read requests as nobody."""
    find = ["pgrep", "--uid", "nobody", "--exact", "sudospawner"]
    return mediator.machine.run(find, check=False).stdout.split()


def count_undecided(mediator: RootMediator, action: str) -> int:
    """How many lines of root's say that nothing was decided about this action."""
    rhea = mediator.machine.look_up_account("rhea").uid
    line = f"caller=rhea({rhea}) target=zoe action={action} code=undecided"
    return read_decisions(mediator.machine, "code=undecided").count(line)


@pytest.mark.parametrize("attacker", ["zoe", "rhea"])
def test_who_reads_the_request_can_be_stopped_by_neither_target_nor_caller(
    mediator: RootMediator, attacker: str
) -> None:
    call = start_without_request(mediator)
    [reader] = list_readers(mediator)
    for attack in (
        *(["kill", f"-{number}", reader] for number in ("STOP", "KILL", "TERM", "XCPU", "SEGV")),
        ["prlimit", "--pid", reader, "--cpu=0"],
        ["renice", "--priority", "19", "--pid", reader],
        ["cat", f"/proc/{reader}/environ"],
    ):
        run = mediator.machine.run(attack, user=attacker, check=False)
        assert run.returncode != 0, attack
    output, _ = call.communicate(json.dumps({"action": "status", "pid": 999999}), timeout=300)
    assert json.loads(output)["ok"] is True


def test_a_caller_that_has_sudo_stop_the_call_keeps_no_process_of_roots(
    mediator: RootMediator,
) -> None:
    call = start_without_request(mediator)
    [reader] = list_readers(mediator)

    def has_got_it() -> bool:
        # sudo may not have been ready for the last one.
        mediator.machine.run(["pkill", "-TSTP", "-x", "sudo"], user="rhea", check=False)
        status = mediator.machine.run(["cat", f"/proc/{reader}/status"]).stdout
        assert "T (stopped)" not in status
        [pending] = re.findall(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)
        return bool(int(pending, 16) >> (signal.SIGTSTP - 1) & 1)

    wait_until(has_got_it, "the signal that sudo passes on, which waits to be unblocked")
    give_up(call, 0.2)
    assert call.stdin is not None
    call.stdin.close()
    wait_until(lambda: list_left(mediator) == [], "the end of the call")


@pytest.mark.parametrize("number", ["KILL", "SEGV"])
def test_a_call_that_ends_before_its_decision_is_written_down(
    mediator: RootMediator, number: str
) -> None:
    for action, options in [("?", []), ("kill", ["--action=kill"]), ("?", ["--action=x y"])]:
        before = count_undecided(mediator, action)
        call = start_without_request(mediator, *options)
        mediator.machine.run(["kill", f"-{number}", *list_readers(mediator)])
        give_up(call, 0.2)
        wait_until(lambda: list_left(mediator) == [], "the end of the call")
        assert call.stdin is not None
        call.stdin.close()
        wait_until(
            lambda action=action, before=before: count_undecided(mediator, action) == before + 1,
            "root's line",
        )


def test_a_hook_that_ends_all_processes_of_its_user_leaves_the_call_alone(
    mediator: RootMediator,
) -> None:
    mediator.add_hook("10-clean", '#!/bin/sh\npkill -KILL -u "$NB_USER"; true\n')
    other = mediator.machine.start(["sleep", "7783"], user="zoe")
    spawned = mediator.spawn()
    assert (spawned.reply["ok"], spawned.reply["hooks"][0]["status"]) == (True, "ok")
    wait_until(lambda: other.poll() is not None, "the end of the user's other process")
    assert mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False


@pytest.mark.parametrize("number", ["STOP", "KILL", "TERM", "XCPU"])
def test_a_spawn_whose_processes_all_get_a_signal_leaves_no_server(
    mediator: RootMediator, number: str
) -> None:
    mediator.add_hook("10-daemon", DAEMON)
    request = {"action": "spawn", "args": [], "env": {}, "wait": {"port": 4301, "seconds": 600}}
    for _ in range(2):
        with adversary(mediator, "signal", str(int(signal.Signals[f"SIG{number}"]))):
            give_up(mediator.start(request))
            wait_until(lambda: list_pids_of_root(mediator) == [], "the end of root's part")
        # What zoe stopped before it was the server has been ended with it.
        wait_until(lambda: list_left(mediator) == [], "the end of what was started")


def test_a_spawn_whose_supervisor_is_stopped_and_whose_caller_goes_is_undone(
    mediator: RootMediator,
) -> None:
    mediator.add_hook("10-daemon", DAEMON)
    request = {
        **{"action": "spawn", "args": [], "env": {}, "events": True},
        "wait": {"port": 4301, "seconds": 600},
    }
    call = mediator.start(request)
    assert call.stdout is not None
    while '"started"' not in call.stdout.readline():
        pass
    # The supervisor; the server goes on.
    mediator.machine.run(["pkill", "-STOP", "-u", "zoe", "-x", "sudospawner"], check=False)
    give_up(call, 0.1)
    wait_until(lambda: list_left(mediator) == [], "the end of an undelivered server")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_stop_is_carried_out_whatever_becomes_of_the_process_that_was_asked(
    mediator: RootMediator, how: str
) -> None:
    spawned = mediator.spawn()
    with adversary(mediator, how):
        for _ in range(2):
            give_up(stop_by_command_line(mediator, spawned))
        wait_until(lambda: list_pids_of_root(mediator) == [], "the end of root's part")
    state = mediator.machine.run(["systemctl", "is-active", UNIT], check=False).stdout.strip()
    # Beside the Hub a server can only be ended by its account's own processes.
    mediator.kill_processes()
    assert state in ("inactive", "failed")


def test_a_caller_that_has_its_reply_and_closes_keeps_its_server(mediator: RootMediator) -> None:
    request = {"action": "spawn", "args": [], "env": {}}
    for name in ("a", "b", "c", "d", "e", "f"):
        call = mediator.start({**request, "server_name": name})
        assert call.stdout is not None and call.stderr is not None
        reply = json.loads(call.stdout.readline())
        call.stdout.close()
        call.wait()
        call.stderr.close()
        identity = {"pid": reply["pid"], "server_name": name, "unit": reply.get("unit", "")}
        wait_until(lambda: list_pids_of_root(mediator) == [], "the end of root's part")
        status = mediator.call({"action": "status", **identity})
        assert status.reply["alive"] is True, name
        stop = {"action": "stop", "interrupt_seconds": 0, **identity}
        assert mediator.call(stop).reply["alive"] is False


def test_who_asks_for_help_is_not_killed(mediator: RootMediator) -> None:
    for _ in range(30):
        run = mediator.machine.run(
            ["sudo", "-n", mediator.path, "--user=zoe", "--version"], user="rhea"
        )
        assert run.stdout.startswith("sudospawner-rs ")


def test_a_stop_that_was_not_decided_ends_no_server_of_another_name(
    mediator: RootMediator,
) -> None:
    spawned = mediator.spawn()
    with adversary(mediator, "kill"):
        request = {"action": "stop", "pid": 999999, "server_name": "gpu"}
        give_up(mediator.start(request, options=["--action=stop", "--server-name=gpu"]))
        status = {"action": "status", "pid": spawned.reply["pid"]}
        give_up(mediator.start(status, options=["--action=status"]))
        wait_until(lambda: list_pids_of_root(mediator) == [], "the end of root's part")
    assert mediator.call({"action": "status", "pid": spawned.reply["pid"]}).reply["alive"] is True
    assert mediator.stop(spawned)["alive"] is False


def test_command_line_and_request_have_to_agree(mediator: RootMediator) -> None:
    request = {"action": "status", "pid": 999999, "server_name": "gpu"}
    for options, code in [
        (["--action=status", "--server-name=gpu"], None),
        (["--server-name=gpu"], None),
        ([], None),
        (["--action=stop", "--server-name=gpu"], "usage"),
        (["--action=status"], "usage"),
        (["--action=status", "--server-name=GPU"], "usage"),
        (["--server-name=a\nb"], "usage"),
    ]:
        answer = mediator.call(request, options=options)
        assert answer.reply.get("code") == code, options


@pytest.mark.parametrize("hook", [DAEMON, "#!/bin/sh\n"], ids=["kept", "alone"])
def test_a_supervisor_that_its_target_stops_holds_up_no_stop_and_no_process_of_roots(
    mediator: RootMediator, hook: str
) -> None:
    mediator.add_hook("10-hook", hook)
    spawned = mediator.spawn("leave")
    if "unit" not in spawned.reply:
        wait_until(lambda: len(mediator.list_processes()) == 4, "all that the server starts")
        mediator.machine.run(["pkill", "-STOP", "-u", "zoe", "-x", "sudospawner"])
    mediator.machine.run(["kill", "-STOP", str(spawned.reply["pid"])])
    stopped = mediator.stop(spawned, term_seconds=60, unit=spawned.reply.get("unit", ""))
    assert stopped["alive"] is False
    # It took no more than SIGTERM, and the time that what it left has for that.
    assert stopped["seconds"] < 15
    wait_until(lambda: list_left(mediator) == [], "the end of all that hook and server left")


def test_a_server_that_ends_under_a_stopped_supervisor_takes_roots_keeper_along(
    mediator: RootMediator,
) -> None:
    mediator.add_hook("10-daemon", DAEMON)
    spawned = mediator.spawn()
    mediator.machine.run(["pkill", "-STOP", "-u", "zoe", "-x", "sudospawner"], check=False)
    mediator.machine.run(["kill", "-KILL", str(spawned.reply["pid"])])
    wait_until(lambda: list_left(mediator) == [], "the end of root's keeper")


def test_a_supervisor_that_is_stopped_for_ever_is_ended_with_its_server(
    mediator: RootMediator,
) -> None:
    mediator.add_hook("10-daemon", DAEMON)
    spawned = mediator.spawn()
    if "unit" not in spawned.reply:
        [supervisor] = mediator.machine.run(
            ["pgrep", "-u", "zoe", "-x", "sudospawner"]
        ).stdout.split()
        again = f"while kill -STOP {supervisor}; do :; done"
        mediator.machine.run(again, user="zoe", check=False)
        wait_until(lambda: list_left(mediator) == [], "the end of a supervisor that cannot work")
    else:
        mediator.stop(spawned, unit=spawned.reply["unit"])


FORGED = {
    "event": "hook",
    **{"name": "forged", "status": "ok", "exit": 0, "signal": None, "seconds": 0.0, "output": ""},
}


@pytest.mark.parametrize("descriptor", range(1, 10))
def test_nothing_is_taken_out_of_the_processes_that_act_for_a_target(
    mediator: RootMediator, descriptor: int
) -> None:
    forged = json.dumps({"Hook": FORGED}) + "\n" + json.dumps(FORGED) + "\n"
    request = {"action": "spawn", "args": ["sleep", "1", "listen", "4302"], "env": {}}
    request |= {"events": True, "wait": {"port": 4302, "seconds": 60}}
    said: list[str] = []
    # In a unit they live for milliseconds, and the adversary may come too late.
    while not said:
        with adversary(mediator, "take", str(descriptor), forged) as heard:
            answer = mediator.call(request)
            mediator.stop(answer, unit=answer.reply.get("unit", ""))
        assert [event["event"] for event in answer.events] == ["started"]
        assert answer.reply["ok"] is True
        said = heard
    assert "taken" not in said


def test_in_user_mode_too_nothing_is_taken_out_of_a_mediator(
    machine: Machine, installed_mediator: Mediator
) -> None:
    mediator = installed_mediator
    machine.write(PLACE, ADVERSARY.read_text(), mode=0o755)
    mediator.put_server()
    mediator.permit()
    with adversary(mediator, "take", "1", json.dumps(FORGED) + "\n") as said:
        # She misses a mediator that has ended before the processor was hers.
        answers = [mediator.call({"action": "status", "pid": 999999}) for _ in range(25)]
        spawned = mediator.spawn()
        mediator.stop(spawned)
    mediator.forbid()
    assert [answer.events for answer in answers] == [[]] * 25
    assert len(said) >= 5
    assert "taken" not in said
