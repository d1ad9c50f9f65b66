"""Attacks on root mode: one for each threat of `docs/security.md`, each against a real machine.

Every one of them begins from a working setup, changes one thing, and expects the refusal that names
it; nothing may be started, run or changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine.machine import Machine
from system.mediator import RootMediator, wait_until

SPAWN = {"action": "spawn", "args": [], "env": {}}
CALL = '{"action":"kill","pid":999999,"signal":0}'
GOOD_HOOK = "#!/bin/sh\ntouch /run/hook-ran\n"
POLICY = "/etc/sudospawner/policy.toml"
HOOKS = "/etc/sudospawner/roothooks.d"
WATCH_READS = Path(__file__).with_name("watch_reads.py")


@pytest.fixture
def mediator(root_mediator: RootMediator) -> Iterator[RootMediator]:
    """A mediator in root mode; everything that the attacks change is undone."""
    yield root_mediator
    machine = root_mediator.machine
    machine.run(["rm", "-rf", root_mediator.folder, "/opt/setuid", "/run/hook-ran", "/srv/evil"])
    machine.run("chown root /etc/sudospawner 2>/dev/null; chmod 755 /opt /etc", check=False)


def ask(mediator: RootMediator, *options: str, input: str = CALL) -> tuple[dict[str, Any], int]:
    """The reply to a call by rhea with exactly these options, and the exit status."""
    run = mediator.machine.run(
        ["sudo", "-n", mediator.path, *options], user="rhea", input=input, check=False
    )
    return json.loads(run.stdout), run.returncode


@pytest.mark.parametrize(
    ("options", "code_or_reason"),
    [
        (["--user=zoe", "--user=zoe"], "usage"),
        (["--user=zoe", "--user", "wash"], "usage"),
        (["--user="], "target_unknown"),
        (["--user=#0"], "target_unknown"),
        (["--user=#1000"], "target_unknown"),
        (["--user=0"], "target_unknown"),
        (["--user=-x"], "target_unknown"),
        (["--user=--help"], "target_unknown"),
        (["--user= zoe"], "target_unknown"),
        (["--user=zoe "], "target_unknown"),
        (["--user=zoe\n"], "target_unknown"),
        (["--user=zoe\x1b[2J"], "target_unknown"),
        (["--user=ZOE"], "target_unknown"),
        (["--user=Zoe"], "target_unknown"),
        (["--user=zoe:x"], "target_unknown"),
        (["--user=nobody-has-this-name"], "target_unknown"),
        (["--user=root"], "target_is_root"),
        (["--user=toor"], "target_is_root"),
        (["--user=daemon"], "below targets.min_uid"),
        (["--user=mal"], "neither in targets.users nor"),
        (["--user=rhea"], "one of hub_users"),
        (["--user=closed"], "shell lets nobody log in"),
        (["--user=nobody"], "as whom requests are read"),
        (["--user=zoe", "--foreground"], "usage"),
        (["--user=zoe", "--groups=0", "--foreground"], "usage"),
        (["--user=zoe", "--policy=/tmp/p"], "usage"),
        (["--user=zoe", "--log-file-prefix=/etc/x"], "option_refused"),
        ([], "target_is_root"),
    ],
    ids=lambda value: repr(value),
)
def test_a_command_line_that_means_anyone_else_is_refused(
    mediator: RootMediator, options: list[str], code_or_reason: str
) -> None:
    machine = mediator.machine
    # Whatever its uid is, the Hub's account is refused for what it is.
    least = min(1000, machine.look_up_account("rhea").uid)
    groups = f'groups = ["jupyterhub"]\nmin_uid = {least}\n'
    mediator.set_policy(f"[targets]\n{groups}")
    machine.run("id toor 2>/dev/null || useradd -o -u 0 toor; usermod -aG jupyterhub toor")
    machine.run("id closed 2>/dev/null || useradd -s /usr/sbin/nologin -G jupyterhub closed")
    for member in ("rhea", "daemon", "nobody"):
        machine.run(["gpasswd", "--add", member, "jupyterhub"])
    reply, status = ask(mediator, *options)
    machine.run("userdel -f toor; userdel closed", check=False)
    for member in ("rhea", "daemon", "nobody"):
        machine.run(["gpasswd", "--delete", member, "jupyterhub"])
    if " " in code_or_reason:
        assert code_or_reason in reply["error"]
        code_or_reason = "target_not_permitted"
    assert (reply["code"], status) == (code_or_reason, 1), reply


def test_an_account_that_the_policy_does_not_name_may_not_call(mediator: RootMediator) -> None:
    mediator.machine.write(
        "/etc/sudoers.d/mal", f"mal ALL=(root) NOPASSWD: {mediator.path}\n", mode=0o440
    )
    run = mediator.machine.run(
        ["sudo", "-n", mediator.path, "--user=zoe"], user="mal", input=CALL, check=False
    )
    mediator.machine.run(["rm", "/etc/sudoers.d/mal"])
    assert (json.loads(run.stdout)["code"], run.returncode) == ("caller_not_permitted", 1)


def test_root_executes_no_program_of_subcommands_that_others_could_have_written(
    mediator: RootMediator,
) -> None:
    machine, folder = mediator.machine, mediator.folder
    machine.run(["chmod", "o+w", folder])
    runs = {
        user: machine.run([mediator.path, "policy"], user=user, check=False)
        for user in ("root", "rhea")
    }
    machine.run(["chmod", "o-w", folder])
    assert (runs["root"].returncode, runs["root"].stdout) == (2, "")
    assert f"chmod go-w {folder}" in runs["root"].stderr
    assert runs["rhea"].returncode == 0


@pytest.mark.parametrize("viewer", ["rhea", "zoe", "mal"])
def test_subcommands_called_through_sudo_do_nothing_as_root(
    mediator: RootMediator, viewer: str
) -> None:
    machine, path = mediator.machine, mediator.path
    secret, report = "/root/secret.toml", ["check", "--json", "--hub-user=rhea"]
    machine.write(secret, "hub_users = []\n", mode=0o600)
    # As if somebody had been given the rule.
    other = "/etc/sudoers.d/other"
    machine.write(other, f"{viewer} ALL=(root) NOPASSWD: {path}\n", mode=0o440)
    try:
        for words in (["policy", "--check", secret], ["policy", f"--check={secret}"]):
            run = machine.run(["sudo", "-n", path, *words], user=viewer, check=False)
            assert run.returncode == 1
            assert "Permission denied" in run.stderr
        itself = machine.run([path, *report], user=viewer, check=False)
        through_sudo = machine.run(["sudo", "-n", path, *report], user=viewer, check=False)
        assert json.loads(through_sudo.stdout) == json.loads(itself.stdout)
        for variable in ("DOAS_USER=zoe", "PKEXEC_UID=1001"):
            run = machine.run(["env", variable, path, "policy", "--check", secret], check=False)
            assert run.returncode == 2
    finally:
        machine.run(["rm", secret, other])


def name_as_roots_own(program: str | Path) -> Iterator[str]:
    """Commands of bash that execute a program by the names of processes that root starts itself."""
    held = "exec 3</etc/hostname 4>/dev/null 5</dev/null 6</dev/null"
    for name, words in {
        "sudospawner-keeper": "1 SUDOSPAWNER_USER=zoe SUDOSPAWNER_UID= PATH=/tmp",
        "sudospawner-in-session": "Process zoe 0 3 4 5 6",
    }.items():
        yield f"{held}; exec -a {name} {program} {words}"


@pytest.mark.parametrize("user", ["mal", "rhea"])
def test_by_the_name_of_a_process_of_roots_nobody_is_one(mediator: RootMediator, user: str) -> None:
    for line in name_as_roots_own(mediator.path):
        run = mediator.machine.run(["bash", "-c", line], user=user, check=False)
        assert json.loads(run.stdout)["code"] == "usage", run


@pytest.mark.parametrize(
    ("owner", "mode"), [("root:root", "4755"), ("zoe:zoe", "4755"), ("root:shadow", "2755")]
)
@pytest.mark.parametrize("user", ["mal", "rhea"])
def test_a_mediator_with_a_setuid_bit_does_nothing_for_anyone(
    mediator: RootMediator, user: str, owner: str, mode: str
) -> None:
    machine, copy = mediator.machine, "/opt/setuid/sudospawner"
    machine.write("/root/secret.toml", "hub_users = []\n", mode=0o600)
    machine.run(["install", "-D", mediator.path, copy])
    machine.run(["chown", owner, copy])
    machine.run(["chmod", mode, copy])
    machine.write(f"{copy}-singleuser", "#!/bin/sh\nexit 3\n", mode=0o755)
    mediator.add_hook("10-hook", GOOD_HOOK)
    rhea = str(machine.look_up_account("rhea").uid)
    spawn = json.dumps(SPAWN)
    for uid in (None, "0", rhea):
        env = {"SUDO_UID": uid} if uid else {}
        for options in (["--user=zoe"], [], ["policy", "--check=/root/secret.toml"], ["check"]):
            run = machine.run([copy, *options], user=user, env=env, input=spawn, check=False)
            assert (json.loads(run.stdout)["code"], run.returncode) == ("binary_setuid", 1), run
            assert "chmod ug-s" in run.stderr
    for line in name_as_roots_own(copy):
        run = machine.run(["bash", "-c", line], user=user, input=spawn, check=False)
        assert (json.loads(run.stdout)["code"], run.returncode) == ("binary_setuid", 1), run
    machine.run(["rm", "/root/secret.toml"])
    assert machine.run(["test", "-e", "/run/hook-ran"], check=False).returncode == 1


def test_a_hook_is_root_in_every_respect(mediator: RootMediator) -> None:
    """Also where sudo leaves it the groups of whoever called."""
    mediator.add_hook("10-hook", "#!/bin/sh\ngrep -E '^(Uid|Gid|Groups)' /proc/self/status\n")
    run = mediator.machine.run(
        ["sudo", "-nP", mediator.path, "--user=zoe"],
        user="rhea",
        input=json.dumps({**SPAWN, "args": ["exit", "0"]}),
    )
    [hook] = json.loads(run.stdout)["hooks"]
    assert hook["output"].split() == [
        *("Uid:", "0", "0", "0", "0", "Gid:", "0", "0", "0", "0", "Groups:", "0")
    ]


@pytest.mark.parametrize(
    "env",
    [{"SUDO_UID": "x"}, {"SUDO_UID": ""}, {"SUDO_UID": "4294967295"}, {"SUDO_UID": "00"},
     {"DOAS_USER": "rhea"}, {"PKEXEC_UID": "0"}],
    ids=str,
)  # fmt: skip
def test_a_caller_in_words_that_sudo_does_not_use_is_refused(
    mediator: RootMediator, env: dict[str, str]
) -> None:
    run = mediator.machine.run([mediator.path, "--user=zoe"], env=env, input=CALL, check=False)
    assert (json.loads(run.stdout)["code"], run.returncode) == ("caller_unknown", 1)


def apply(line: str) -> Callable[[Machine], object]:
    """A change to the machine by one line of shell."""
    return lambda machine: machine.run(line)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (apply(f"chown zoe {POLICY}"), "policy_untrusted"),
        (apply(f"chmod g+w {POLICY}"), "policy_untrusted"),
        (apply(f"chmod o+w {POLICY}"), "policy_untrusted"),
        (apply(f"mv {POLICY} /etc/other.toml; ln -s /etc/other.toml {POLICY}"), "policy_untrusted"),
        (apply("mv /etc/sudospawner /srv/evil; ln -s /srv/evil /etc/sudospawner"),
         "policy_untrusted"),
        (apply("chown zoe /etc/sudospawner"), "policy_untrusted"),
        (apply("chmod o+w /etc/sudospawner"), "policy_untrusted"),
        (apply("chmod g+w /etc"), "policy_untrusted"),
        (apply(f"rm {POLICY}; mkdir {POLICY}"), "policy_untrusted"),
        (apply(f"rm {POLICY}; mkfifo {POLICY}"), "policy_untrusted"),
        (apply(f"rm {POLICY}; touch /home/zoe/p; chown zoe /home/zoe/p; ln /home/zoe/p {POLICY}"
               " 2>/dev/null || cp -p /home/zoe/p " + POLICY), "policy_untrusted"),
        (apply(f"rm {POLICY}"), "policy_missing"),
        (apply(f"head -c 70000 /dev/zero | tr '\\0' '#' >>{POLICY}"), "policy_malformed"),
        (apply(f"printf '\\377' >>{POLICY}"), "policy_malformed"),
        (apply(f"echo 'users = [\"mal\"]\\nnonsense = 1' >>{POLICY}"), "policy_malformed"),
        (apply(f"echo 'min_uid = 0' >>{POLICY}"), "policy_malformed"),
    ],
)  # fmt: skip
def test_a_policy_that_others_could_have_written_is_not_read(
    mediator: RootMediator, change: Callable[[Machine], object], code: str
) -> None:
    change(mediator.machine)
    reply, status = ask(mediator, "--user=zoe")
    mediator.machine.run("rm -rf /etc/other.toml /home/zoe/p; chmod g-w /etc")
    assert (reply["code"], status) == (code, 1), reply


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("chmod o+w {folder}/sudospawner", "binary_untrusted"),
        ("chmod o+w {folder}", "binary_untrusted"),
        ("chown zoe {folder}", "binary_untrusted"),
        ("chmod g+w /opt", "binary_untrusted"),
        ("chown zoe {folder}/sudospawner-singleuser", "server_untrusted"),
        ("chmod o+w {folder}/sudospawner-singleuser", "server_untrusted"),
        ("mv {folder}/sudospawner-singleuser /srv/evil; "
         "ln -s /srv/evil {folder}/sudospawner-singleuser", "server_untrusted"),
        ("install -D --owner=zoe /usr/bin/env /srv/evil/run; "
         "sed -i '1c #!/srv/evil/run python3' {folder}/sudospawner-singleuser", "server_untrusted"),
        ("install -D --owner=zoe /usr/bin/env /srv/evil/run; ln -s /srv/evil/run {folder}/python; "
         "sed -i '1c #!{folder}/python python3' {folder}/sudospawner-singleuser",
         "server_untrusted"),
    ],
)  # fmt: skip
def test_an_executable_that_others_could_have_written_is_not_executed(
    mediator: RootMediator, change: str, code: str
) -> None:
    mediator.machine.run(change.format(folder=mediator.folder))
    # Should it be executed after all, it ends at once.
    reply, _ = ask(mediator, "--user=zoe", input=json.dumps({**SPAWN, "args": ["exit", "0"]}))
    mediator.machine.run("chmod g-w /opt")
    assert reply["code"] == code, reply


@pytest.mark.parametrize(
    "change",
    [
        f"chown zoe {HOOKS}/10-hook",
        f"chmod g+w {HOOKS}/10-hook",
        f"chmod o+w {HOOKS}/10-hook",
        f"mv {HOOKS}/10-hook /srv/evil; ln -s /srv/evil {HOOKS}/10-hook",
        f"chown zoe {HOOKS}",
        f"chmod o+w {HOOKS}",
        f"mv {HOOKS} /srv/evil; ln -s /srv/evil {HOOKS}",
    ],
)
def test_a_hook_that_others_could_have_written_is_not_run(
    mediator: RootMediator, change: str
) -> None:
    mediator.add_hook("10-hook", GOOD_HOOK)
    mediator.machine.run(change)
    spawned = mediator.spawn()
    assert [hook["status"] for hook in spawned.reply["hooks"]] == ["refused"], spawned.reply
    assert mediator.machine.run(["test", "-e", "/run/hook-ran"], check=False).returncode == 1
    mediator.stop(spawned)
    mediator.set_policy('[hooks]\non_failure = "fail"\n')
    assert mediator.spawn().reply["code"] == "hook_failed"


def test_a_hook_owned_by_the_target_is_not_run(mediator: RootMediator) -> None:
    mediator.add_hook("10-hook", GOOD_HOOK, owner="zoe")
    spawned = mediator.spawn()
    [hook] = spawned.reply["hooks"]
    assert (hook["name"], hook["status"]) == ("10-hook", "refused")
    assert "chown root" in hook["output"]
    mediator.stop(spawned)


@pytest.mark.parametrize(
    "limit",
    [
        "ulimit -f 0",
        "ulimit -S -f 64",
        "ulimit -n 8",
        "ulimit -v 60000",
        "ulimit -u 3",
        "ulimit -S -t 1",
    ],
)
@pytest.mark.parametrize("user", ["rhea", "root"])
def test_limits_of_the_caller_do_not_stop_a_hook_in_the_middle(
    mediator: RootMediator, limit: str, user: str
) -> None:
    # sudo's PAM session may undo the caller's limits; root calls without.
    words = f"sudo -n {mediator.path}" if user == "rhea" else mediator.path
    mediator.add_hook("10-hook", "#!/bin/sh\nhead -c 100000 /dev/zero >/run/hook-ran\n")
    run = mediator.machine.run(
        f"{limit}; exec {words} --user=zoe",
        user=user,
        input=json.dumps({**SPAWN, "args": ["exit", "0"]}),
        check=False,
    )
    size = mediator.machine.run("stat -c %s /run/hook-ran 2>/dev/null || echo none").stdout.strip()
    # Either nothing was done, or all of it.
    assert size in ("100000", "none"), run
    if limit in ("ulimit -S -f 64", "ulimit -S -t 1"):
        assert size == "100000", run


def test_descriptors_of_the_caller_do_not_reach_hook_or_server(mediator: RootMediator) -> None:
    mediator.add_hook("10-hook", "#!/bin/sh\nls /proc/self/fd >/run/hook-ran\n")
    machine = mediator.machine
    request = json.dumps({**SPAWN, "args": ["report", "/home/zoe/fds", "exit", "0"]})
    machine.run(
        ["sh", "-c", f"exec {mediator.path} --user=zoe 7</etc/shadow 9</etc/shadow"], input=request
    )
    seen = json.loads(machine.read("/home/zoe/fds"))
    machine.run(["rm", "/home/zoe/fds"])
    assert set(seen["descriptors"]) <= {"0", "1", "2"}
    assert machine.read("/run/hook-ran").split() == ["0", "1", "2", "3"]


def test_capabilities_that_the_caller_passes_on_do_not_reach_the_server(
    mediator: RootMediator,
) -> None:
    machine = mediator.machine
    status = "/home/zoe/status"
    machine.write(
        mediator.folder / "sudospawner-singleuser",
        f"#!/bin/sh\ncat /proc/self/status >{status}\n",
        mode=0o755,
    )
    passed_on = ["setpriv", "--inh-caps=+net_raw,+chown", "--ambient-caps=+net_raw"]
    machine.run([*passed_on, mediator.path, "--user=zoe"], input=json.dumps(SPAWN))
    lines = machine.read(status).splitlines()
    machine.run(["rm", status])
    fields = dict(line.split(":\t", 1) for line in lines)
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_way_to_write_elsewhere(
    mediator: RootMediator, closed: str
) -> None:
    mediator.add_hook("10-hook", GOOD_HOOK)
    mediator.machine.run(["sh", "-c", f"{mediator.path} --user=zoe {closed}"], check=False)
    assert mediator.list_processes() == []
    assert mediator.machine.run(["test", "-e", "/run/hook-ran"], check=False).returncode == 1


def test_a_deleted_working_directory_and_ignored_signals_change_nothing(
    mediator: RootMediator,
) -> None:
    mediator.add_hook("10-hook", "#!/bin/sh\nsleep 0.2 & wait $!; pwd\n")
    run = mediator.machine.run(
        # Not by the shell's trap: dash does not pass an ignored SIGCHLD on.
        "mkdir /run/gone; cd /run/gone; rmdir /run/gone; "
        f"exec env --ignore-signal=CHLD,TERM,PIPE {mediator.path} --user=zoe",
        input=json.dumps({**SPAWN, "args": ["exit", "0"]}),
    )
    [hook] = json.loads(run.stdout)["hooks"]
    assert (hook["status"], hook["output"]) == ("ok", "/\n")


def test_a_flood_of_request_is_cut_off_before_anything_is_done(mediator: RootMediator) -> None:
    mediator.add_hook("10-hook", GOOD_HOOK)
    run = mediator.machine.run(
        f"yes | sudo -n {mediator.path} --user=zoe", user="rhea", check=False
    )
    assert json.loads(run.stdout)["code"] == "request_too_large"
    assert mediator.machine.run(["test", "-e", "/run/hook-ran"], check=False).returncode == 1


def test_root_never_reads_the_request(mediator: RootMediator) -> None:
    """While the request is awaited, the process that reads it is nobody already."""
    process = mediator.machine.start(
        ["sudo", "-n", mediator.path, "--user=zoe"],
        user="rhea",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    machine = mediator.machine
    reader = ["pgrep", "--uid", "nobody", "--full", str(mediator.path)]
    wait_until(lambda: machine.run(reader, check=False).stdout != "", "the reader")
    [pid] = machine.run(reader).stdout.split()
    status = machine.read(f"/proc/{pid}/status")
    stdin = machine.run(["readlink", f"/proc/{pid}/fd/0"]).stdout
    count = f"for f in /proc/[0-9]*/fd/0; do readlink $f; done | grep -cxF '{stdin.strip()}'"
    # sudo's own, and the reader's; root's part lets go of it as soon as it runs.
    wait_until(lambda: int(machine.run(count).stdout) <= 2, "the end of root's hold on the request")
    process.communicate(CALL.encode())
    assert "CapPrm:\t0000000000000000" in status


def test_of_a_request_root_reads_no_byte(mediator: RootMediator) -> None:
    """A request in a file, each read of which waits until it is known whose it is."""
    machine = mediator.machine
    machine.write("/run/request", json.dumps({**SPAWN, "args": ["exit", "0"]}))
    machine.write("/run/watch", WATCH_READS.read_text(), mode=0o755)
    watch = machine.start(["/run/watch", "/run/request"], stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    assert watch.stdout.readline() == "ready\n"
    words = f"exec sudo -n {mediator.path} --user=zoe </run/request"
    run = machine.run(words, user="rhea")
    machine.run(["pkill", "-KILL", "-f", "/run/watch"])
    seen = watch.stdout.read().splitlines()
    watch.stdout.close()
    watch.wait()
    machine.run(["rm", "/run/request", "/run/watch"])
    assert json.loads(run.stdout)["ok"] is True
    nobody = machine.look_up_account("nobody").uid
    assert seen != []
    assert set(seen) == {f"{nobody} {nobody} {nobody}"}


@pytest.mark.parametrize("options", [[], ["--user=mal"], ["--help"]], ids=str)
def test_a_call_without_a_target_is_answered_by_nobody(
    mediator: RootMediator, options: list[str]
) -> None:
    """While it waits for room in a pipe that is full, the process that replies is nobody."""
    machine = mediator.machine
    read_end, write_end = os.pipe()
    os.write(write_end, b"x" * fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ))
    process = machine.start(
        ["sudo", "-n", mediator.path, *options],
        user="rhea",
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    replier = ["pgrep", "--uid", "nobody", "--full", str(mediator.path)]
    wait_until(lambda: machine.run(replier, check=False).stdout != "", "the process that replies")
    status = machine.read(f"/proc/{machine.run(replier).stdout.strip()}/status")
    with os.fdopen(read_end, "rb") as pipe:
        reply = pipe.read()
    process.wait()
    assert "Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n" in status
    assert "Groups:\t \n" in status
    assert "CapPrm:\t0000000000000000" in status
    assert (b"Usage:" if options == ["--help"] else b'"ok":false') in reply


def test_a_mediator_killed_at_any_moment_leaves_all_or_nothing(mediator: RootMediator) -> None:
    mediator.add_hook("10-daemon", "#!/bin/sh\nsetsid sleep 7776 >/dev/null 2>&1 &\n")
    machine = mediator.machine
    moments = random.Random(1)
    request = json.dumps({**SPAWN, "wait": {"port": 4101, "seconds": 600}})
    # Only the mediator, sudo's child: nobody but root can signal the others. And until the call has
    # ended, since at some moments there is no mediator yet.
    script = (
        f"printf '%s' '{request}' | sudo -n {mediator.path} --user=zoe >/dev/null 2>&1 & "
        "sleep $1; while kill -0 $! 2>/dev/null; do "
        f"for p in $(pgrep -P $! -f '{mediator.path} --user='); do "
        f'[ "$(readlink /proc/$p/exe)" = {mediator.path} ] && kill -$2 $p; done; done; wait'
    )
    for _ in range(200):
        moment, number = f"{moments.uniform(0, 0.06):.3f}", moments.choice(["KILL", "TERM", "XCPU"])
        machine.run(["sh", "-c", script, "sh", moment, number], user="root")
    ours = ("sudospawner", "sleep 7776")

    def list_left() -> list[str]:
        lines = mediator.list_processes("root") + mediator.list_processes()
        return [line for line in lines if any(word in line for word in ours)]

    wait_until(lambda: list_left() == [], "the end of what was left")
