"""`jupyterhub-roothooks` as a container's entrypoint: as root, with real hooks and accounts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import wait_until
from system.roothooks import NO_ACCOUNT, Container, read_status

SAY = '#!/bin/sh\necho "$(basename "$0") says"\n'


@pytest.fixture
def container(machine: Machine, hub6: Cache) -> Iterator[Container]:
    """A container with an empty directory of hooks; nothing of its hooks may outlive the test."""
    container = Container(machine, hub6.bin / "jupyterhub-roothooks")
    yield container
    container.remove()


def test_hooks_run_as_root_in_order_of_their_names_before_the_command(container: Container) -> None:
    for name in ("10-ten", "2-two", "01-one", "Z"):
        container.add_hook(name, f"{SAY}id -u\n")
    container.add_hook("05-plain", SAY, mode=0o644)
    container.machine.run(["mkdir", container.hooks / "06-folder"])
    ended = container.run("id", "-u")
    said = ["01-one says", "0", "10-ten says", "0", "2-two says", "0", "Z says", "0"]
    assert ended.stdout.split("\n")[:-1] == [*said, str(NO_ACCOUNT)]
    assert "01-one finished with exit code 0" in ended.stderr
    assert "05-plain" not in ended.stderr and "06-folder" not in ended.stderr


def test_hooks_have_variables_directory_and_outputs_of_the_container(container: Container) -> None:
    container.add_hook("01", '#!/bin/sh\necho "$ODD|$PWD|$0"\necho problem >&2\n')
    ended = container.run("pwd", env={"ODD": "a  b=c"}, cwd="/usr/share")
    assert ended.stdout == f"a  b=c|/usr/share|{container.hooks}/01\n/usr/share\n"
    assert "\nproblem\n" in ended.stderr


def test_stdin_and_inherited_descriptors_are_the_commands_alone(container: Container) -> None:
    container.add_hook("01", "#!/bin/sh\ncat\n[ -e /proc/self/fd/7 ] && echo inherited\n")
    words = ["sh", "-c", 'exec 7</dev/null; exec "$@"', "sh", *container.words("sh", "-c")]
    command = "cat; [ -e /proc/self/fd/7 ] && echo inherited"
    ended = container.machine.run([*words, command], input="for the command\n")
    assert ended.stdout == "for the command\ninherited\n"


BAD_HOOKS = {
    "fails": ("#!/bin/sh\nexit 3\n", "finished with exit code 3"),
    "is killed": ("#!/bin/sh\nkill -9 $$\n", "was killed by signal 9"),
    "has no shebang": ("echo hello\n", "could not be executed"),
    "has no interpreter": ("#!/no/such/interpreter\n", "could not be executed"),
    "is empty": ("", "could not be executed"),
    "hangs": ("#!/bin/sh\nsleep 9999\n", "took longer than 3 s"),
}


@pytest.mark.parametrize(("program", "complaint"), BAD_HOOKS.values(), ids=BAD_HOOKS.keys())
def test_the_command_starts_whatever_a_hook_does(
    container: Container, program: str, complaint: str
) -> None:
    container.add_hook("01-bad", program)
    container.add_hook("02-good", SAY)
    ended = container.run("echo", "started", options=["--hook-timeout=3"])
    assert ended.stdout.endswith("02-good says\nstarted\n")
    assert f"{container.hooks}/01-bad" in ended.stderr and complaint in ended.stderr


def test_a_missing_directory_is_an_empty_one(container: Container) -> None:
    ended = container.run("echo", "started", options=["--hooks-dir=/etc/no-such-directory"])
    assert ended.stdout == "started\n"
    assert "there is no directory /etc/no-such-directory" in ended.stderr


def test_the_directory_is_below_the_repository_if_nothing_else_is_said(
    container: Container,
) -> None:
    container.machine.write("/srv/repository/roothooks.d/01", SAY, mode=0o755)
    ended = container.machine.run(
        [container.program, f"--uid={NO_ACCOUNT}", "--", "true"],
        env={"REPO_DIR": "/srv/repository"},
    )
    assert ended.stdout == "01 says\n"
    container.machine.run(["rm", "-r", "/srv/repository"])


DISTRUST = {
    "a hook of somebody else's": "chown 1000 01",
    "a hook that its group can write": "chmod g+w 01",
    "a hook that is a link": "mv 01 ../roothooks-target; ln -s ../roothooks-target 01",
    "a directory of somebody else's": "chown 1000 .",
    "a directory that others can write": "chmod o+w .",
}


@pytest.mark.parametrize("change", DISTRUST.values(), ids=DISTRUST.keys())
def test_what_others_than_root_could_have_written_runs_only_if_that_is_trusted(
    container: Container, change: str
) -> None:
    container.add_hook("01", SAY)
    container.machine.run(change, cwd=container.hooks)
    refused = container.run("echo", "started")
    assert refused.stdout == "started\n"
    assert "is not run" in refused.stderr and "--trust-hooks-dir" in refused.stderr
    trusted = container.run("echo", "started", options=["--trust-hooks-dir"])
    assert trusted.stdout == "01 says\nstarted\n"


def test_a_directory_above_that_others_can_write_is_refused(container: Container) -> None:
    container.machine.write("/home/zoe/hooks/01", SAY, mode=0o755)
    ended = container.run("echo", "started", options=["--hooks-dir=/home/zoe/hooks"])
    assert ended.stdout == "started\n"
    assert "/home/zoe belongs to uid" in ended.stderr


def test_a_hook_that_took_too_long_leaves_nothing_and_another_leaves_its_daemon(
    container: Container,
) -> None:
    leave = "setsid sh -c 'trap \"\" TERM; exec sleep {}' &\nsetsid sleep {} &\n"
    container.add_hook("01-good", "#!/bin/sh\nsetsid sleep 71001 >/dev/null 2>&1 &\n")
    container.add_hook("02-hangs", f"#!/bin/sh\n{leave.format(71002, 71003)}sleep 71004\n")
    ended = container.run("pgrep", "-fa", "sleep 7100", options=["--RootHooks.hook_timeout=5"])
    assert ended.stdout.split("\n", 1)[0].endswith("sleep 71001")
    assert "71002" not in ended.stdout and "71003" not in ended.stdout
    assert "71004" not in ended.stdout
    container.machine.run(["pkill", "-f", "sleep 71001"])


NOTHING = "0000000000000000"
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def test_a_uid_without_an_account_has_nothing_but_its_ids(container: Container) -> None:
    status = container.read_status(options=["--gid=100"])
    assert status["Uid"].split() == [str(NO_ACCOUNT)] * 4
    assert status["Gid"].split() == ["100"] * 4
    assert status["Groups"].split() == []
    assert [status[name] for name in (*SETS, "CapBnd")] == [NOTHING] * 5
    assert status["NoNewPrivs"] == "1"
    assert (status["SigBlk"], status["SigIgn"]) == (NOTHING, NOTHING)


def test_an_account_has_its_groups_and_its_names(container: Container) -> None:
    wash = container.machine.look_up_account("wash")
    words = [f"--uid={wash.uid}", f"--gid={wash.gid}"]
    groups = container.machine.run(["id", "-G", "wash"]).stdout
    assert container.run("id", "-G", options=words).stdout == groups
    assert len(groups.split()) > 1
    command = 'echo "$HOME $USER $LOGNAME $SHELL $PWD"'
    ended = container.run("sh", "-c", command, options=words, cwd="/usr", env={"SHELL": "/bin/sh"})
    assert ended.stdout == "/home/wash wash wash /bin/bash /usr\n"


def test_an_account_that_a_hook_makes_counts(container: Container) -> None:
    container.add_hook("01", "#!/bin/sh\nuseradd --uid 61234 --groups jupyterhub late\n")
    ended = container.run("id", "-nG", options=["--uid=61234", "--gid=100"])
    container.machine.run(["userdel", "late"])
    assert ended.stdout == "users jupyterhub\n"


def test_setuid_programs_work_only_if_that_is_allowed(container: Container) -> None:
    wash = container.machine.look_up_account("wash")
    container.machine.write("/etc/sudoers.d/wash", "wash ALL=(root) NOPASSWD: ALL\n", mode=0o440)
    ids = [f"--uid={wash.uid}", f"--gid={wash.gid}"]
    assert container.run("sudo", "-n", "id", "-u", options=ids, check=False).returncode != 0
    allowed = container.run("sudo", "-n", "id", "-u", options=[*ids, "--allow-new-privileges"])
    container.machine.run(["rm", "/etc/sudoers.d/wash"])
    assert allowed.stdout == "0\n"


def drop_all_but(*capabilities: str) -> list[str]:
    """What starts a container with `drop: [ALL]` and some capabilities added."""
    return ["setpriv", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in capabilities)])]


def test_a_pod_without_setpcap_starts_its_command_with_no_new_privs_alone(
    container: Container,
) -> None:
    container.add_hook("01", SAY)
    ended = container.run("cat", "/proc/self/status", prefix=drop_all_but("setuid", "setgid"))
    said, _, status = ended.stdout.partition("\n")
    assert said == "01 says"
    assert "without CAP_SETPCAP" in ended.stderr
    seen = read_status(status)
    assert seen["NoNewPrivs"] == "1"
    assert seen["Uid"].split() == [str(NO_ACCOUNT)] * 4
    assert [seen[name] for name in SETS] == [NOTHING] * 4


@pytest.mark.parametrize("capabilities", [(), ("setuid",), ("setgid",)])
def test_a_pod_that_cannot_give_up_root_starts_nothing(
    container: Container, capabilities: tuple[str, ...]
) -> None:
    ended = container.run("echo", "started", prefix=drop_all_but(*capabilities), check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "SETUID and SETGID" in ended.stderr


def test_a_copy_with_a_setuid_bit_does_nothing(container: Container) -> None:
    container.add_hook("01", SAY)
    copy = "/opt/setuid-roothooks"
    container.machine.run(["install", "-m", "4755", container.program, copy])
    words = [copy, f"--hooks-dir={container.hooks}", "--uid=1001", "--", "echo", "started"]
    ended = container.machine.run(words, user="zoe", check=False)
    container.machine.run(["rm", copy])
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "setuid" in ended.stderr


def test_what_a_hook_mounts_over_the_working_directory_is_what_the_command_sees(
    container: Container,
) -> None:
    container.add_hook("01", "#!/bin/sh\nmount -t tmpfs tmpfs /mnt && touch /mnt/mounted\n")
    ended = container.run("ls", prefix=["unshare", "--mount"], cwd="/mnt")
    assert ended.stdout == "mounted\n"


# With --init, in a PID namespace of its own: the program is its first process, as in a container.

CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -15 $$", 143), ("kill -9 $$", 137)]
)
def test_an_init_exits_as_its_command_does(container: Container, script: str, status: int) -> None:
    ended = container.run("sh", "-c", script, options=["--init"], prefix=CONTAINER, check=False)
    assert ended.returncode == status


def test_an_init_has_given_up_root_like_its_command(container: Container) -> None:
    ended = container.run("cat", "/proc/1/status", options=["--init"], prefix=CONTAINER)
    status = read_status(ended.stdout)
    assert status["Uid"].split() == [str(NO_ACCOUNT)] * 4
    assert [status[name] for name in (*SETS, "CapBnd")] == [NOTHING] * 5
    assert status["NoNewPrivs"] == "1"
    command = container.run("cat", "/proc/self/status", options=["--init"], prefix=CONTAINER)
    seen = read_status(command.stdout)
    assert seen["PPid"] == "1"
    assert (seen["SigBlk"], seen["SigIgn"]) == (NOTHING, NOTHING)


def start_container(container: Container, *command: str, **popen: Any) -> subprocess.Popen[str]:
    """Start a command under an init; stdout is a pipe."""
    words = [*CONTAINER, *container.words(*command, options=["--init", "--hook-timeout=120"])]
    return container.machine.start(words, stdout=subprocess.PIPE, text=True, **popen)


def signal_init(container: Container, name: str) -> None:
    """Send a signal to the init, from outside of its namespace."""
    pids = container.machine.run(["pgrep", "--full", "--oldest", f"^{container.program}"]).stdout
    container.machine.run(["kill", f"-{name}", pids.strip()])


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR2", "RTMIN+3"])
def test_an_init_passes_signals_on(container: Container, name: str) -> None:
    script = (
        "import signal, sys\n"
        f"number = {'signal.SIGRTMIN + 3' if '+' in name else f'signal.SIG{name}'}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [number])\n"
        "print('ready', flush=True)\n"
        "sys.exit(int(signal.sigwait([number]) == number) * 7)\n"
    )
    process = start_container(container, "python3", "-I", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    signal_init(container, name)
    assert process.wait() == 7
    process.stdout.close()


def test_a_signal_that_comes_while_a_hook_runs_is_the_commands(container: Container) -> None:
    container.machine.run("mkfifo /run/roothooks-go")
    container.add_hook("01", "#!/bin/sh\necho running\nread x </run/roothooks-go\necho over\n")
    process = start_container(container, "sleep", "9999")
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    signal_init(container, "TERM")
    container.machine.run("echo >/run/roothooks-go; rm /run/roothooks-go")
    assert process.stdout.readline() == "over\n"
    assert process.wait() == 128 + signal.SIGTERM
    process.stdout.close()


def test_an_init_reaps_what_others_left(container: Container) -> None:
    container.add_hook("01", "#!/bin/sh\nsetsid sh -c 'read x' </dev/null >/dev/null 2>&1 &\n")
    script = "(sleep 0 & sleep 0 & true); (true & true); echo ready; read x; ps -eo stat="
    process = start_container(container, "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    pid = container.machine.run(["pgrep", "--full", "--oldest", f"^{container.program}"]).stdout
    children = f"/proc/{pid.strip()}/task/{pid.strip()}/children"
    wait_until(lambda: len(container.machine.read(children).split()) == 1, "the end of orphans")
    output, _ = process.communicate("\n")
    assert [state for state in output.split() if state.startswith("Z")] == []
