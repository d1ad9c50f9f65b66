"""Servers of a real Hub: whose they are, and what becomes of them and of what they started."""

from __future__ import annotations

import signal

import pytest

from machine.hub import Hub, HubError
from machine.kernel import Kernel
from system.mediator import wait_until

# A cell that leaves a process in a session of its own, deaf to every polite signal, and prints the
# kernel's pid and that process's.
LEAVE_A_PROCESS = """
import os, subprocess
deaf = "trap '' HUP INT TERM; echo deaf; while :; do sleep 1000; done"
left = subprocess.Popen(["sh", "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
left.stdout.readline()
print(os.getpid(), left.pid)
"""

# A cell that writes to where the server itself logs.
WRITE_TO_THE_LOG = """
import os
with open(f"/proc/{{os.getppid()}}/fd/2", "w") as log:
    for _ in range({times}):
        print({line!r}, file=log)
print("written")
"""


def list_processes(hub: Hub, user: str) -> list[str]:
    """The command lines of a user's processes."""
    ps = ["ps", "--user", user, "--format", "args="]
    return hub.machine.run(ps, check=False).stdout.splitlines()


def send_signal(hub: Hub, pid: int, number: signal.Signals) -> None:
    """Signal a process of the machine, as root."""
    hub.machine.run(["kill", f"-{number.name.removeprefix('SIG')}", str(pid)])


def test_two_users_have_servers_side_by_side(hub: Hub) -> None:
    for user in ("zoe", "wash"):
        hub.start_server(user)
    for user in ("zoe", "wash"):
        owner = ["stat", "--format=%U", f"/proc/{hub.find_pid(user)}"]
        assert hub.machine.run(owner).stdout == f"{user}\n"
        with Kernel(hub, user) as kernel:
            cell = "import getpass, os; print(getpass.getuser(), os.getcwd())"
            assert kernel.run(cell) == f"{user} /home/{user}\n"


def test_a_named_server_ends_alone(hub: Hub) -> None:
    hub.start_server("zoe")
    hub.start_server("zoe", "second")
    assert hub.find_pid("zoe") != hub.find_pid("zoe", "second")
    with Kernel(hub, "zoe", "second") as kernel:
        name = "import os; print(os.environ['JUPYTERHUB_SERVER_NAME'])"
        assert kernel.run(name) == "second\n"
    hub.stop_server("zoe", "second")
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"


def test_what_a_server_started_is_gone_after_the_stop(hub: Hub) -> None:
    hub.start_server("zoe")
    with Kernel(hub, "zoe") as kernel:
        pids = kernel.run(LEAVE_A_PROCESS).split()
        assert hub.machine.run(["ps", "--format", "user=", *pids]).stdout == "zoe\nzoe\n"
        hub.stop_server("zoe")
    ps = ["ps", "--format", "pid=", *pids]
    # What has ended waits for PID 1 to notice.
    wait_until(lambda: hub.machine.run(ps, check=False).stdout == "", "the end of both")
    wait_until(lambda: list_processes(hub, "zoe") == [], "the end of zoe's processes")


def test_a_restarted_hub_finds_the_server_and_its_new_kernels_answer(hub: Hub) -> None:
    hub.start_server("zoe")
    pid = hub.find_pid("zoe")
    hub.restart()
    server = hub.find_server("zoe")
    assert server is not None and server["ready"]
    assert hub.find_pid("zoe") == pid
    with Kernel(hub, "zoe") as kernel:
        # More than a pipe holds: nobody would read it if it still went to the Hub that is gone.
        flood = WRITE_TO_THE_LOG.format(times=3000, line="after the restart " + "x" * 80)
        assert kernel.run(flood) == "written\n"
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run("import getpass; print(getpass.getuser())") == "zoe\n"
    hub.stop_server("zoe")
    wait_until(lambda: list_processes(hub, "zoe") == [], "the end of zoe's processes")


def test_a_stopped_hub_does_not_block_a_server_that_logs(hub: Hub) -> None:
    hub.start_server("zoe")
    with Kernel(hub, "zoe") as kernel:
        kernel.run("print('warm')")
        send_signal(hub, hub.pid, signal.SIGSTOP)
        try:
            ten_megabytes = WRITE_TO_THE_LOG.format(times=100_000, line="x" * 99)
            assert kernel.run(ten_megabytes) == "written\n"
        finally:
            send_signal(hub, hub.pid, signal.SIGCONT)
    server = hub.find_server("zoe")
    assert server is not None and server["ready"]


def test_hidden_processes_are_watched_all_the_same(hub: Hub) -> None:
    remount = ["mount", "--options", "remount,hidepid={}", "/proc"]
    hub.machine.run([word.format(2) for word in remount])
    try:
        hub.start_server("zoe")
        pid = hub.find_pid("zoe")
        hidden = hub.machine.run(["test", "-e", f"/proc/{pid}"], user="rhea", check=False)
        assert hidden.returncode == 1
        # A starting Hub asks every spawner whether its server still runs.
        hub.restart()
        assert hub.find_pid("zoe") == pid
        with Kernel(hub, "zoe") as kernel:
            assert kernel.run("print(6 * 7)") == "42\n"
        send_signal(hub, pid, signal.SIGKILL)
        hub.wait_until_gone("zoe")
    finally:
        hub.machine.run([word.format(0) for word in remount])


def test_an_account_without_a_home_is_told_so(hub: Hub) -> None:
    with pytest.raises(HubError) as refusal:
        hub.start_server("nohome")
    assert "/home/nohome" in refusal.value.message


def test_an_account_that_sudo_does_not_permit_is_told_so(hub: Hub) -> None:
    with pytest.raises(HubError) as refusal:
        hub.start_server("mal")
    assert "sudo" in refusal.value.message
    assert "mal" in refusal.value.message.partition(": ")[2]
    assert not any("singleuser" in line for line in list_processes(hub, "mal"))
