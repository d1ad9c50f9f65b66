"""Keeps one test machine: boots it, and removes it when its owner is gone.

    python3 warden.py ROOT [OPTION OF SYSTEMD-NSPAWN …]

Prints `ready PID` once the machine has booted, where PID is the host's pid of the machine's init.
Ends the machine when standard input closes, because the owner closed it or died. If this process
is killed, the kernel ends the machine: all of it runs in a PID namespace whose first process is
killed when its parent dies.
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
    """Return the mount points of the host's cgroup hierarchies: one on cgroup v2, several on v1."""
    hierarchies = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point, controllers = before.split()[4], after.split()[-1].split(",")
        # A new group of v1's cpuset has no CPUs, so a process cannot enter it as it is.
        if after.split()[0] in ("cgroup", "cgroup2") and "cpuset" not in controllers:
            hierarchies.append(Path(mount_point))
    return hierarchies


def remove_cgroup(group: Path) -> None:
    """Remove a group and its subgroups; `OSError` while a process is in one of them."""
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()


def remove_stale_cgroups(hierarchy: Path) -> None:
    """Remove empty groups of machines whose warden was killed."""
    for group in hierarchy.glob(PREFIX + "*"):
        if not Path("/proc", group.name.removeprefix(PREFIX)).exists():
            with suppress(OSError):
                remove_cgroup(group)


def make_cgroups() -> list[Path]:
    """Create our own group in every hierarchy, so that machines do not share nspawn's group."""
    groups = []
    for hierarchy in list_cgroup_hierarchies():
        remove_stale_cgroups(hierarchy)
        group = hierarchy / f"{PREFIX}{os.getpid()}"
        group.mkdir()
        groups.append(group)
    return groups


def find_only_child(pid: int) -> int:
    """Return the pid of the only child of `pid`; `ValueError` if it does not have exactly one."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def start_machine(arguments: list[str], groups: list[Path], notify: str) -> subprocess.Popen[bytes]:
    """Start `boot.sh` in its own mount and PID namespaces, inside `groups`."""

    def enter_cgroups() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text("0")

    environment = os.environ | {"NOTIFY_SOCKET": notify}
    # On hybrid hosts (v2 beside v1), the machine's systemd learns from v2 when the last process of
    # a unit has ended; v1 alone does not notify containers.
    names = {hierarchy.name for hierarchy in list_cgroup_hierarchies()}
    if "systemd" in names and "unified" not in names:
        environment.setdefault("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0")
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", str(BOOT), *arguments],
        env=environment,
        preexec_fn=enter_cgroups,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )


def wait_for_boot(machine: subprocess.Popen[bytes], notifications: socket.socket) -> bool:
    """Wait until the machine reports that it is ready; False if it ended or is not wanted."""
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

    Its systemd keeps sending notifications for every unit that starts, and blocks if nobody reads.
    """
    ended = os.pidfd_open(machine.pid)
    while True:
        readable, _, _ = select.select([sys.stdin, ended, notifications], [], [])
        if sys.stdin in readable or ended in readable:
            return
        notifications.recv(4096)


def end_machine(machine: subprocess.Popen[bytes]) -> None:
    """Kill the first process of the machine's PID namespace, and with it all others."""
    with suppress(OSError, ValueError):
        os.kill(find_only_child(machine.pid), signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        machine.wait(60)
        return
    machine.kill()
    machine.wait()


def remove_cgroups(groups: list[Path]) -> None:
    """Remove the groups; the kernel may need a moment to remove dead processes from them."""
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
    """Boot, wait for the end of standard input, and clean up; return 0 if the machine booted."""
    # Interrupts are for our parent, which then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An abstract address leaves no file behind.
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
