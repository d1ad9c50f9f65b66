"""Keeps one test machine: boots it, and makes sure that nothing of it stays when its user is gone.

    python3 warden.py CACHE_FOLDER [OPTION OF SYSTEMD-NSPAWN …]

Prints `ready PID` once the machine has booted (PID: the machine's init, as the host numbers it) and
ends the machine when standard input closes: its owner closed it, or died of whatever cause. If this
process itself is killed, the kernel ends the machine, since everything is a child in a PID
namespace of which this process is the parent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BOOT = Path(__file__).with_name("boot.sh")
PREFIX = "sudospawner-machine-"
BOOT_SECONDS = 180.0


def list_cgroup_hierarchies() -> list[Path]:
    """Mount points of the host's cgroup hierarchies: one on cgroup v2, several on v1."""
    hierarchies = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point, controllers = before.split()[4], after.split()[-1].split(",")
        # A new group of v1's cpuset has no CPUs: a process cannot enter it without more ado.
        if after.split()[0] in ("cgroup", "cgroup2") and "cpuset" not in controllers:
            hierarchies.append(Path(mount_point))
    return hierarchies


def remove_cgroup(group: Path) -> None:
    """Remove a group and those below it; `OSError` while a process is in one of them."""
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()


def remove_stale_cgroups(hierarchy: Path) -> None:
    """Remove empty groups of machines whose warden was killed and could not do it."""
    for group in hierarchy.glob(PREFIX + "*"):
        if not Path("/proc", group.name.removeprefix(PREFIX)).exists():
            with suppress(OSError):
                remove_cgroup(group)


def make_cgroups() -> list[Path]:
    """A group of our own in every hierarchy, so that machines do not share nspawn's."""
    groups = []
    for hierarchy in list_cgroup_hierarchies():
        remove_stale_cgroups(hierarchy)
        group = hierarchy / f"{PREFIX}{os.getpid()}"
        group.mkdir()
        groups.append(group)
    return groups


def find_only_child(pid: int) -> int:
    """The pid of the one child of `pid`; `ValueError` if there is none, or more than one."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def start_machine(arguments: list[str], groups: list[Path], notify: str) -> subprocess.Popen[bytes]:
    """Start `boot.sh` with its own mount and PID namespace, inside `groups`."""

    def enter_cgroups() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text("0")

    environment = os.environ | {"NOTIFY_SOCKET": notify}
    # With a hierarchy of v2 beside those of v1, the machine's systemd learns from it when the last
    # process of a unit has ended; with v1 alone, a container is not told.
    names = {hierarchy.name for hierarchy in list_cgroup_hierarchies()}
    if "systemd" in names and "unified" not in names:
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "0"
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", str(BOOT), *arguments],
        env=environment,
        preexec_fn=enter_cgroups,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )


def wait_for_boot(machine: subprocess.Popen[bytes], notifications: socket.socket) -> bool:
    """Wait until the machine says that it is ready; false if it ended or is no longer wanted."""
    ended = os.pidfd_open(machine.pid)
    deadline = time.monotonic() + BOOT_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([sys.stdin, ended, notifications], [], [], left)
        if sys.stdin in readable or ended in readable:
            return False
        if notifications in readable and b"READY=1" in notifications.recv(4096):
            return True
    print(f"The machine did not boot within {BOOT_SECONDS:.0f} seconds.", file=sys.stderr)
    return False


def wait_for_end(machine: subprocess.Popen[bytes], notifications: socket.socket) -> None:
    """Wait until the machine has ended, or is no longer wanted.

    Its systemd goes on to notify, of every unit that starts, and stands still when nobody reads.
    """
    ended = os.pidfd_open(machine.pid)
    while True:
        readable, _, _ = select.select([sys.stdin, ended, notifications], [], [])
        if sys.stdin in readable or ended in readable:
            return
        notifications.recv(4096)


def end_machine(machine: subprocess.Popen[bytes]) -> None:
    """Kill the first process of the machine's PID namespace, and with it all the others."""
    with suppress(OSError, ValueError):
        os.kill(find_only_child(machine.pid), signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        machine.wait(60)
        return
    machine.kill()
    machine.wait()


def remove_cgroups(groups: list[Path]) -> None:
    """Remove the groups; the kernel may need a moment to take the dead out of them."""
    deadline = time.monotonic() + 10
    for group in groups:
        while group.exists():
            try:
                remove_cgroup(group)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def main(arguments: list[str]) -> int:
    """Boot, wait for the end of standard input, clean up; 0 if the machine had booted."""
    # Interrupts are for our parent, who then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An abstract address: it has no file that could stay behind.
    address = f"{PREFIX}{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind("\0" + address)
        groups = make_cgroups()
        machine = start_machine(arguments, groups, "@" + address)
        try:
            booted = wait_for_boot(machine, notifications)
            if booted:
                print("ready", find_only_child(find_only_child(machine.pid)), flush=True)
                wait_for_end(machine, notifications)
        finally:
            end_machine(machine)
            remove_cgroups(groups)
    return 0 if booted else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
