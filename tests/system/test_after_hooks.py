"""Hooks after a server, in both launchers: what they are told, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.after_hooks import AFTER, LAUNCHERS, Followed, followed_in, note
from system.mediator import wait_until

DEBIANS = (13, 12)
PORT = 4700


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Followed]:
    """A mediator with a hook before and one after, in each launcher."""
    with followed_in(request.param, machine, hub6.bin / "sudospawner") as followed:
        yield followed


def test_hooks_after_a_server_run_in_reverse_order_when_it_is_stopped(followed: Followed) -> None:
    followed.add_after("20-second", note("second"))
    spawned = followed.mediator.spawn()
    assert followed.read_diary() == ["before  exit= signal= left="]
    followed.end(spawned)
    second, after = followed.await_diary(3)[1:]
    assert second.startswith("second ") and after.startswith("after ")
    assert after.endswith("signal=15 left=0")


# What a server does, and what its hooks are told of that.
ENDS = {
    "exit": (["exit", "3"], "exit=3 signal="),
    "success": (["exit", "0"], "exit=0 signal="),
    "crash": (["die", "6"], "exit= signal=6"),
    "kill": (["die", "9"], "exit= signal=9"),
}


@pytest.mark.parametrize("end", ENDS)
def test_hooks_after_a_server_are_told_how_it_ended(followed: Followed, end: str) -> None:
    words, told = ENDS[end]
    go = "/run/go"
    spawned = followed.mediator.spawn("wait-for", go, "leave", *words)
    assert spawned.reply["ok"] is True, spawned
    followed.machine.run(["touch", go])
    assert followed.await_diary(2)[1] == f"after  {told} left=0"
    followed.machine.run(["rm", go])
    # What the server left was gone before.
    assert followed.mediator.list_processes() == []
    followed.machine.run(["systemctl", "reset-failed"])


def test_everything_that_a_hook_is_told_is_known_from_the_start(followed: Followed) -> None:
    """The same variables as before, and four more; of an account that is gone by then, too."""
    machine = followed.machine
    env = "#!/bin/sh\nenv | grep -v '^_=\\|^PWD=' | sort >/run/"
    followed.mediator.add_hook("20-env", env + "before\n")
    followed.add_after("20-env", env + "after\n")
    machine.run(["useradd", "--create-home", "--groups", "jupyterhub", "kaylee"])
    name = "a \"b' $HOME %h \\x41 é"
    spawned = followed.mediator.spawn(target="kaylee", server_name=name)
    assert spawned.reply["ok"] is True, spawned
    # An account with processes cannot be removed in any other way.
    machine.run(["sed", "-i", "/^kaylee:/d", "/etc/passwd", "/etc/shadow"])
    machine.run(["kill", "-KILL", str(spawned.reply["pid"])])
    followed.await_diary(2)
    before = machine.read("/run/before").splitlines()
    after = machine.read("/run/after").splitlines()
    more = dict(line.split("=", 1) for line in set(after) - set(before))
    assert set(before) - set(after) == set()
    assert f"SUDOSPAWNER_SERVER_NAME={name}" in after
    assert int(more.pop("SUDOSPAWNER_SECONDS")) >= 0
    assert more == {
        "SUDOSPAWNER_EXIT": "",
        "SUDOSPAWNER_SIGNAL": "9",
        "SUDOSPAWNER_SERVERS_LEFT": "0",
    }
    machine.run("groupdel kaylee; rm -r /home/kaylee /run/before /run/after")
    machine.run(["systemctl", "reset-failed"])


def test_a_spawn_that_is_undone_has_its_hooks_after(followed: Followed) -> None:
    """The server ends early, or its reader goes."""
    wait = {"port": PORT, "seconds": 600}
    assert followed.mediator.spawn("exit", "3", wait=wait).reply["code"] == "exited_early"
    followed.await_diary(2)
    process = followed.mediator.start({"action": "spawn", "args": [], "env": {}, "wait": wait})
    followed.await_diary(3)
    wait_until(lambda: followed.mediator.list_processes() != [], "the server")
    assert process.stdout is not None
    process.stdout.close()
    assert followed.await_diary(4)[3].startswith("after ")
    process.communicate()


def test_where_a_hook_before_fails_those_after_run_all_the_same(followed: Followed) -> None:
    followed.set_policy(hooks='on_failure = "fail"\n')
    followed.mediator.add_hook("20-fails", "#!/bin/sh\nexit 1\n")
    assert followed.mediator.spawn().reply["code"] == "hook_failed"
    assert followed.await_diary(2)[1].startswith("after ")


def test_a_server_that_was_never_permitted_has_no_hooks_after(followed: Followed) -> None:
    assert followed.mediator.spawn(target="mal").reply["code"] == "target_not_permitted"
    assert followed.mediator.spawn(umask=3).reply["code"] == "malformed_request"
    followed.await_quiet()
    assert followed.read_diary() == []


def test_a_hook_that_hangs_is_ended_and_the_others_run(followed: Followed) -> None:
    followed.set_policy(hooks="timeout_seconds = 1\n")
    followed.add_after("20-hangs", "#!/bin/sh\ntrap '' TERM\nsetsid sleep 7791 & sleep 7792\n")
    followed.end(followed.mediator.spawn())
    followed.await_diary(2)
    followed.await_quiet()
    left = [line for line in followed.mediator.list_processes("root") if "sleep 779" in line]
    assert left == []


def read_log(followed: Followed, since: str) -> str:
    """What root has written to the log since then."""
    followed.machine.run(["journalctl", "--sync"])
    query = ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "_UID=0", "--output=cat"]
    return followed.machine.run([*query, f"--after-cursor={since}"]).stdout


def find_cursor(followed: Followed) -> str:
    """Where the log ends now."""
    followed.machine.run(["logger", "here"])
    followed.machine.run(["journalctl", "--sync"])
    shown = followed.machine.run(["journalctl", "--lines=1", "--show-cursor"]).stdout
    return shown.rsplit("-- cursor: ", 1)[1].strip()


def test_what_ran_after_a_server_is_in_roots_log(followed: Followed) -> None:
    since = find_cursor(followed)
    followed.end(followed.mediator.spawn())
    followed.await_quiet()
    assert "caller=0 target=zoe action=after code=ok" in read_log(followed, since).splitlines()
    since = find_cursor(followed)
    followed.add_after("20-fails", "#!/bin/sh\nprintf 'no\\033 way\\nroot: x\\n'; exit 7\n")
    followed.end(followed.mediator.spawn())
    followed.await_quiet()
    lines = read_log(followed, since).splitlines()
    how = 'the hook "20-fails" after a server of zoe exited with status 7: '
    assert how + "no\\u{1b} way\\nroot: x" in lines
    assert "caller=0 target=zoe action=after code=hook_failed" in lines


@pytest.mark.parametrize(("owner", "mode"), [("zoe", 0o755), ("root", 0o757), ("root", 0o775)])
def test_a_hook_after_that_others_could_have_written_is_not_run(
    followed: Followed, owner: str, mode: int
) -> None:
    since = find_cursor(followed)
    followed.add_after("20-forged", note("forged"), owner=owner, mode=mode)
    followed.end(followed.mediator.spawn())
    followed.await_quiet()
    assert len(followed.read_diary()) == 2
    log = read_log(followed, since)
    assert 'the hook "20-forged" after a server of zoe was refused: ' in log
    assert "target=zoe action=after code=hook_failed" in log


def test_the_policy_is_read_anew_and_has_to_be_roots(followed: Followed) -> None:
    since = find_cursor(followed)
    spawned = followed.mediator.spawn()
    policy = followed.mediator.POLICY
    followed.machine.run(["chmod", "o+w", policy])
    followed.machine.run(["kill", "-KILL", str(spawned.reply["pid"])])
    done = "target=zoe action=after code=policy_untrusted"
    wait_until(lambda: done in read_log(followed, since), "root's line")
    followed.machine.run(["systemctl", "reset-failed"])
    followed.await_quiet()
    assert len(followed.read_diary()) == 1


def test_without_hooks_after_nothing_of_this_is_there(followed: Followed) -> None:
    followed.machine.run(["rm", "-rf", "/run/sudospawner"])
    followed.mediator.set_policy()
    spawned = followed.mediator.spawn()
    assert followed.machine.run(["test", "-e", "/run/sudospawner"], check=False).returncode == 1
    followed.end(spawned)
    assert len(followed.read_diary()) == 1
    assert followed.machine.run(["test", "-d", AFTER]).returncode == 0


@pytest.mark.parametrize("followed", ["unit"], indirect=True)
def test_nobody_but_systemd_has_hooks_run_after_a_server(followed: Followed) -> None:
    """The words of `ExecStopPost=` are no command line for a Hub behind sudo, nor for root."""
    spawned = followed.mediator.spawn()
    machine, path = followed.machine, str(followed.mediator.path)
    uid = machine.look_up_account("zoe").uid
    words = [path, "--after", "jupyter-zoe.service", "SUDOSPAWNER_USER=zoe"]
    words.append(f"SUDOSPAWNER_UID={uid}")
    for user, call in [("rhea", ["sudo", "-n", *words]), ("root", words)]:
        assert machine.run(call, user=user, check=False).returncode == 1
    # Left to PID 1, which sudo's variables show.
    left = f"(sleep 0.1; exec {' '.join(words)}) </dev/null >/dev/null 2>&1 &"
    machine.run(["sudo", "-n", "sh", "-c", left], env={"SUDO_UID": "1"})
    assert len(followed.read_diary()) == 1
    followed.end(spawned)
