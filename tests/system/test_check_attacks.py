"""Attacks on root's `sudospawner check`: by zoe, whom it asks about, and by rhea, the Hub's.

Root reads what the check prints and may hand a remedy to a shell. So nothing that either account
does chooses one, none has root open a file, and none keeps the check from its end.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from machine.machine import Machine
from system.mediator import Mediator, wait_until

# However slow the computer is: without a limit of its own, the check would never end.
PATIENCE = 240

# Stops each new process of its own account as soon as there is one.
WATCHER = r"""
import os, signal
os.close(os.open("watching", os.O_CREAT | os.O_WRONLY))

def attack(pid):
    os.kill(pid, signal.SIGSTOP)
    seen.add(pid)
    with open("stopped", "a") as file:
        file.write("x")

seen = {os.getpid()}
begin = newest = None
while True:
    with open("/proc/loadavg") as file:
        newest = int(file.read().split()[-1])
    begin = begin or newest
    for pid in range(max(begin, newest - 6) + 1, newest + 1):
        if pid not in seen:
            try:
                attack(pid)
            except OSError:
                pass
"""


@contextmanager
def zoe_watches(machine: Machine, *words: str) -> Iterator[Path]:
    """Have zoe's program watch for processes of hers; gives the folder of what she notes."""
    folder = Path("/home/zoe/watch")
    machine.run(["install", "-d", "--owner=zoe", folder])
    machine.write(folder / "watch.py", WATCHER)
    watcher = machine.start(["python3", folder / "watch.py", *words], user="zoe", cwd=folder)
    try:
        wait_until(lambda: exists(machine, folder / "watching"), "zoe's program")
        yield folder
    finally:
        machine.run(["pkill", "-KILL", "-u", "zoe"], check=False)
        watcher.wait()
        machine.run(["rm", "-r", folder])


def exists(machine: Machine, path: Path | str) -> bool:
    """Whether the machine has this file."""
    return machine.run(["test", "-e", path], check=False).returncode == 0


def run_check(mediator: Mediator, *options: str, viewer: str = "root", forger: str = "") -> str:
    """What the check prints; it has to end by itself.

    With a forger, whatever sudo starts for it is that program: what it says is the word of an
    account that has taken the mediator over. The check itself is the real one, executed by a
    descriptor.
    """
    words = [str(mediator.path), "check", "--hub-user=rhea", *options]
    machine = mediator.machine
    if not forger:
        run = machine.run(words, user=viewer, check=False, timeout=PATIENCE)
    else:
        machine.write("/run/forger", forger, mode=0o755)
        account = machine.look_up_account(viewer)
        become = f"setpriv --reuid={account.uid} --regid={account.gid} --init-groups"
        cover = 'exec 3<"$1"; mount --bind /run/forger "$1"; shift'
        script = f'{cover}; exec {become} /proc/self/fd/3 "$@"'
        run = machine.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *words],
            cwd="/",
            check=False,
            timeout=PATIENCE,
        )
    assert run.returncode in (0, 1), run.stderr
    return run.stdout


def check(mediator: Mediator, *options: str, **how: str) -> list[dict[str, Any]]:
    """What the check finds, as `run_check`."""
    findings: list[dict[str, Any]]
    findings = json.loads(run_check(mediator, "--json", *options, **how))["findings"]
    return findings


def list_remedies(findings: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """The remedies, each with the code of what it mends."""
    return {(one["code"], one["remedy"]) for one in findings if "remedy" in one}


FORGED = {
    "a broken file": (2, "/etc/sudoers.d/../forged:1:1: syntax error\n"),
    "a writable file": (2, "sudo: /etc/sudoers.d/../../bin/sh is world writable\n"),
    "a file of somebody": (2, "sudo: /etc/sudoers.d/sudospawner is owned by uid 1000\n"),
    "an account": (2, "sudo: PAM account management error: Account expired\n"),
    "a closed file": (2, "sudo: unable to execute /opt/x: Permission denied\n"),
    "an unknown account": (2, "sudo: unknown user zoe\n"),
    "a terminal": (2, "sudo: sorry, you must have a tty to run sudo\n"),
    "no rule": (2, "sudo: a password is required\n"),
    "a line of the report": (2, "x\n" + 18 * " " + "mend: rm -rf /etc/forged\n"),
    "a reply": (1, '{"ok":false,"code":"sudo_refuses","error":"mend: rm -rf /etc/forged"}\n'),
    "no reply": (1, "mend: rm -rf /etc/forged\n"),
    "a flood": (2, 60_000 * "/etc/sudoers.d/y:1:1: syntax error "),
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("viewer", ["root", "rhea"])
def test_what_a_target_writes_in_sudos_place_chooses_no_remedy(
    mediator: Mediator, viewer: str, forged: str
) -> None:
    machine, ask = mediator.machine, ("--mode=user", "--user=zoe")
    number, text = FORGED[forged]
    before = list_remedies(check(mediator, *ask, viewer=viewer))
    assert "call" not in {code for code, _ in before}
    # Who waits for the end of a flood waits for the process that it has left.
    leave = "sleep 9999 &\n" if forged == "a flood" else ""
    machine.write("/run/forged", text[:100_000])
    forger = f"#!/bin/sh\ncat >/dev/null\ncat /run/forged >&{number}\n{leave}exit 1\n"
    try:
        findings = check(mediator, *ask, viewer=viewer, forger=forger)
        shown = run_check(mediator, *ask, viewer=viewer, forger=forger)
    finally:
        machine.run(["pkill", "-KILL", "-u", "zoe"], check=False)
    # The forger is a script, which has to be readable.
    more = {one for one in list_remedies(findings) - before if one[0] != "binary_readable"}
    # What is fixed: the log, or root's own look.
    look = (f"{mediator.path} check --user zoe", "journalctl")
    assert all(remedy.startswith(look) for _, remedy in more), more
    for finding in findings:
        if "forged" in finding["sentence"]:
            assert "as zoe sees it: " in finding["sentence"]
        assert len(finding["sentence"]) < 700
    [call] = [one for one in findings if one["code"] == "call"]
    assert call["level"] != "ok"
    lines = [line.strip() for line in shown.splitlines()]
    assert not [line for line in lines if line.startswith("mend: rm")]


@contextmanager
def rhea_runs(machine: Machine, words: str, path: str) -> Iterator[None]:
    """A process of rhea's that goes by the name of a Hub, with these words and this PATH."""
    sleep = "import time; time.sleep(3600)"
    command = f"exec -a jupyterhub /usr/bin/python3 -c {shlex.quote(sleep)} {words}"
    hub = machine.start(["/bin/bash", "-c", command], user="rhea", env={"PATH": path})
    is_there = ["pgrep", "-u", "rhea", "-f", "^jupyterhub -c"]
    try:
        wait_until(lambda: machine.run(is_there, check=False).returncode == 0, "rhea's process")
        yield
    finally:
        machine.run(["pkill", "-u", "rhea", "-f", "^jupyterhub -c"], check=False)
        hub.wait()


@pytest.fixture
def trap(mediator: Mediator) -> Iterator[Path]:
    """A folder of rhea's, with a program that the Hub's PATH would have first."""
    folder, machine = Path("/var/lib/rhea/trap"), mediator.machine
    machine.run(["install", "-d", "--owner=rhea", folder])
    machine.write(folder / "sudospawner", "#!/usr/bin/python3\n", owner="rhea", mode=0o755)
    yield folder
    machine.run(["rm", "-r", folder])


@pytest.mark.parametrize("named", ["/etc/sudoers", "/etc/passwd", "../../../etc/shadow"])
def test_a_process_that_goes_by_the_name_of_the_hub_changes_nothing_for_root(
    mediator: Mediator, trap: Path, named: str
) -> None:
    ask = ("--user=zoe",)
    before = check(mediator, *ask)
    with rhea_runs(mediator.machine, f"-f {named}", f"{trap}:/usr/bin:/bin"):
        assert check(mediator, *ask) == before
        # What the account says of itself is for itself, and changed as itself alone.
        for finding in check(mediator, *ask, viewer="rhea"):
            if finding["area"] == "path" and "remedy" in finding:
                assert finding["remedy"].startswith("runuser --pty -u rhea -- ")


def test_root_opens_no_file_that_a_process_of_the_hubs_account_names(
    mediator: Mediator, trap: Path
) -> None:
    machine, pipe, opened = mediator.machine, trap / "pipe", trap / "opened"
    machine.run(["mkfifo", "--mode=0666", pipe], user="rhea")
    # Opening a pipe to write to it waits until somebody opens it to read from it.
    waiting = machine.start(f": >{pipe}; : >{opened}", user="rhea")
    try:
        with rhea_runs(machine, f"-f {pipe}", "/usr/bin:/bin"):
            check(mediator, "--user=zoe")
        assert not exists(machine, opened)
    finally:
        machine.run(["timeout", "5", "cat", pipe], check=False)
        waiting.wait()


UNIT = "hub-of-the-attacks.service"
UNIT_TEXT = """\
[Service]
User=rhea
WorkingDirectory={folder}
Environment=LANG=C.UTF-8 PATH={folder}:/usr/bin:/bin
ExecStart=/opt/hub/bin/jupyterhub --debug -f configuration.py
"""


@pytest.fixture
def unit(mediator: Mediator, trap: Path) -> Iterator[Path]:
    """A unit of the Hub's, whose configuration and PATH are in a folder of rhea's."""
    place = f"/etc/systemd/system/{UNIT}"
    mediator.machine.write(place, UNIT_TEXT.format(folder=trap))
    mediator.machine.run(["systemctl", "daemon-reload"])
    yield trap
    mediator.machine.run(["rm", place])
    mediator.machine.run(["systemctl", "daemon-reload"])


def test_the_configuration_is_the_one_that_the_unit_names_and_is_mended_as_the_hub(
    mediator: Mediator, unit: Path
) -> None:
    machine, place = mediator.machine, unit / "configuration.py"
    setting = 'c.SudoSpawner.sudospawner_path = "{}"\n'
    machine.write(place, setting.format("/usr/bin/no-such-file"), owner="rhea", mode=0o600)
    ask = ("--user=zoe", f"--unit={UNIT}")
    remedies = dict(list_remedies(check(mediator, *ask)))
    assert remedies["sudospawner_path"].startswith("runuser --pty -u rhea -- ")
    machine.run(["sh", "-c", remedies["sudospawner_path"]])
    assert machine.read(place) == setting.format(mediator.path)
    assert "sudospawner_path" not in dict(list_remedies(check(mediator, *ask)))


def test_a_configuration_that_leads_elsewhere_is_read_as_the_hub_alone(
    mediator: Mediator, unit: Path
) -> None:
    machine, secret = mediator.machine, "/root/secret.py"
    machine.write(secret, 'c.SudoSpawner.mode = "root"\n', mode=0o600)
    machine.run(["ln", "-s", secret, unit / "configuration.py"])
    words = [mediator.path, "check", "--json", "--hub-user=rhea", f"--unit={UNIT}"]
    report = json.loads(machine.run(words, check=False).stdout)
    machine.run(["rm", secret])
    assert report["mode"] == "user"


# Files whose opening takes as long as their owner likes, up to 45 seconds: fcntl(2), F_SETLEASE.
LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
files = [os.open(name, os.O_RDWR) for name in sys.argv[1:]]
for file in files:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.close(os.open("leased", os.O_CREAT | os.O_WRONLY))
while True:
    signal.pause()
"""


def test_a_file_of_the_hubs_that_does_not_open_holds_nobody_up(
    mediator: Mediator, unit: Path
) -> None:
    machine = mediator.machine
    machine.write(unit / "configuration.py", "", owner="rhea")
    words = ["python3", "-c", LEASE, "sudospawner", "configuration.py"]
    holder = machine.start(words, user="rhea", cwd=unit)
    try:
        wait_until(lambda: exists(machine, unit / "leased"), "the leases")
        begin = time.monotonic()
        findings = check(mediator, "--user=zoe", f"--unit={UNIT}")
        assert time.monotonic() - begin < 40
        assert [one for one in findings if "did not answer within 5 s" in one["sentence"]]
    finally:
        machine.run(["pkill", "-KILL", "-u", "rhea", "-f", "F_SETLEASE"], check=False)
        holder.wait()


SWAP = """
import os, sys
for name in sys.argv[1:]:
    with open(name + ".file", "w") as file:
        file.write("#!/usr/bin/python3\\n")
    os.chmod(name + ".file", 0o755)
    os.mkfifo(name + ".pipe")
os.close(os.open("swapping", os.O_CREAT | os.O_WRONLY))
while True:
    for kind in (".pipe", ".file"):
        for name in sys.argv[1:]:
            os.link(name + kind, name + ".new")
            os.rename(name + ".new", name)
"""


def test_pipes_in_the_place_of_the_hubs_files_hold_nobody_up(
    mediator: Mediator, unit: Path
) -> None:
    machine = mediator.machine
    for name in ("configuration.py", "sudospawner"):
        machine.run(["rm", "-f", unit / name])
        machine.run(["mkfifo", "--mode=0777", unit / name], user="rhea")
    ask = ("--user=zoe", f"--unit={UNIT}")
    assert "sudospawner_path" in {finding["code"] for finding in check(mediator, *ask)}
    # What was a file when it was looked at can be a pipe when it is opened.
    words = ["python3", "-c", SWAP, "configuration.py", "sudospawner"]
    swapping = machine.start(words, user="rhea", cwd=unit)
    try:
        wait_until(lambda: exists(machine, unit / "swapping"), "rhea's program")
        for _ in range(10):
            check(mediator, *ask)
    finally:
        machine.run(["pkill", "-KILL", "-u", "rhea", "-f", "swapping"], check=False)
        swapping.wait()


def test_a_pipe_in_the_place_of_the_policy_holds_nobody_up(mediator: Mediator) -> None:
    machine, folder = mediator.machine, "/etc/sudospawner"
    machine.run(["install", "-d", "--owner=rhea", folder])
    machine.run(["mkfifo", f"{folder}/policy.toml"], user="rhea")
    try:
        for mode in ("user", "root"):
            findings = check(mediator, "--user=zoe", f"--mode={mode}")
            assert "policy_untrusted" in dict(list_remedies(findings))
    finally:
        machine.run(["rm", "-r", folder])


@pytest.mark.parametrize(("viewer", "mode"), [("root", "user"), ("root", "root"), ("rhea", "user")])
def test_a_target_that_stops_its_processes_does_not_keep_the_check_from_its_end(
    mediator: Mediator, viewer: str, mode: str
) -> None:
    machine, said = mediator.machine, set()
    with zoe_watches(machine) as notes:
        for _ in range(40):
            findings = check(mediator, "--user=zoe", f"--mode={mode}", viewer=viewer)
            said |= {one["code"] for one in findings if "did not answer" in one["sentence"]}
            wanted = {"target_unseen", "call"} if mode == "user" else {"target_unseen"}
            if said >= wanted:
                break
        assert exists(machine, notes / "stopped")
        assert said >= wanted
    # Nothing of the check's is left but what zoe's own account may keep.
    left = machine.run(["pgrep", "--uid", "root", "-x", "sudospawner"], check=False)
    assert left.stdout == ""


def test_what_a_target_lays_into_its_home_chooses_no_path_of_a_remedy(
    mediator: Mediator,
) -> None:
    machine, home = mediator.machine, "/home/zoe/inside"
    machine.run(["ln", "-s", "/etc/shadow", home], user="zoe")
    original = machine.look_up_account("zoe").home
    machine.run(["usermod", "--home", home, "zoe"])
    try:
        for link in ("/etc/shadow", "/root/closed"):
            machine.run(["ln", "-sfn", link, home], user="zoe")
            findings = check(mediator, "--mode=user", "--user=zoe")
            remedies = dict(list_remedies(findings))
            assert remedies["home_closed"] == f"{mediator.path} check --user zoe"
            assert "/root" not in json.dumps(sorted(remedies.items()))
    finally:
        machine.run(["usermod", "--home", original, "zoe"])
        machine.run(["rm", home])


def test_what_root_asks_has_no_terminal_of_roots(mediator: Mediator) -> None:
    """A process of zoe's that has root's terminal could type into it."""
    machine, found, wrapper = mediator.machine, "/run/terminals", "/usr/local/sbin/sudo"
    program = f"""#!/bin/sh
if (: </dev/tty) 2>/dev/null; then echo yes; else echo no; fi >>{found}
exec /usr/bin/sudo "$@"
"""
    words = shlex.join([str(mediator.path), "check", "--hub-user=rhea", "--user=zoe"])
    machine.write(wrapper, program, mode=0o755)
    machine.write(found, "", mode=0o666)
    try:
        machine.run(["script", "--quiet", "--command", words, "/dev/null"], check=False)
        assert set(machine.read(found).split()) == {"no"}
    finally:
        machine.run(["rm", wrapper, found])
