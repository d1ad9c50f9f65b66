"""The test machine leaves nothing on the host, however its owner ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from machine.machine import Machine
from machine.warden import PREFIX, list_cgroup_hierarchies

OWNER = """
import signal
from machine.machine import Machine
with Machine() as machine:
    print(machine.leader, machine.warden, flush=True)
    signal.pause()
"""
SECONDS = 60


def list_overlays() -> list[str]:
    """The mounts of this computer that could be a machine's."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [mount for mount in mounts if mount.startswith("overlay ")]


OVERLAYS_OF_THE_HOST = list_overlays()


def list_traces(warden: int) -> list[str]:
    """What a machine that is gone would have left: mounts and cgroups."""
    mounts = [mount for mount in list_overlays() if mount not in OVERLAYS_OF_THE_HOST]
    groups = [top / f"{PREFIX}{warden}" for top in list_cgroup_hierarchies()]
    return mounts + [str(group) for group in groups if group.exists()]


def has_ended(process: int) -> bool:
    """Wait for the end of a process; false if it still runs after a minute."""
    return bool(select.select([process], [], [], SECONDS)[0])


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_ended(end: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-B", "-c", OWNER],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    leader, warden = (int(pid) for pid in owner.stdout.readline().split())
    processes = [os.pidfd_open(leader), os.pidfd_open(warden)]
    owner.send_signal(end)
    owner.wait(SECONDS)
    owner.stdout.close()
    assert all(has_ended(process) for process in processes)
    assert list_traces(warden) == []


def test_what_a_background_job_starts_can_be_interrupted_and_read_by_others() -> None:
    owner = """
from machine.beginning import begin_process
from machine.machine import Machine
begin_process()
with Machine() as machine:
    print(machine.run("umask; kill -INT $$; echo not here", check=False))
"""
    # As a script's `&` and a careful administrator's shell leave them.
    shell = 'trap "" INT QUIT; umask 077; exec "$@"'
    run = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-B", "-c", owner],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.returncode == 0
    assert "stdout='0022\\n'" in run.stdout
    assert f"returncode=-{signal.SIGINT.value}" in run.stdout


def test_the_machine_ends_with_its_warden() -> None:
    machine = Machine()
    with machine:
        leader = os.pidfd_open(machine.leader)
        os.kill(machine.warden, signal.SIGKILL)
        assert has_ended(leader)


# A host as it may be, in a mount namespace of its own: the names of the tests are taken, its rules
# permit everything, and its policy is none.
OTHER_HOST = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
for name in rhea zoe wash mal; do echo "$name:x:4242:4242::/nowhere:/bin/false" >>/etc/passwd; done
echo 'jupyterhub:x:4242:mal' >>/etc/group
mkdir -p /etc/sudoers.d /etc/sudospawner
echo 'ALL ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/hostile
echo 'this is no policy' >/etc/sudospawner/policy.toml
exec "$@"
"""
GUEST = """
from machine.machine import Machine
with Machine() as machine:
    print(machine.run("id -u rhea zoe; ls /etc/sudoers.d /etc/sudospawner", check=False).stdout)
    print(machine.run(["sudo", "-n", "true"], user="mal", check=False).returncode)
"""


def test_nothing_of_the_hosts_accounts_rules_and_policy_is_in_the_machine() -> None:
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", OTHER_HOST, "sh", sys.executable, "-B", "-c", GUEST],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.returncode == 0
    *uids, folder, rules, empty, status = run.stdout.split("\n")[:-1]
    assert len(uids) == 2 and "4242" not in uids
    assert (folder, rules, empty, status) == ("/etc/sudoers.d:", "README", "", "1")


def test_two_machines_do_not_share_processes_or_files() -> None:
    with Machine() as one, Machine() as other:
        one.write("/etc/only-here", "one")
        assert other.run(["test", "-e", "/etc/only-here"], check=False).returncode == 1
        assert not Path("/etc/only-here").exists()
        assert one.run(["systemctl", "is-system-running"]).stdout == "running\n"
        assert other.run(["systemctl", "is-system-running"]).stdout == "running\n"
        assert one.run("cat /proc/[0-9]*/comm 2>/dev/null; true").stdout.count("systemd\n") == 1


def test_limits_of_units_are_enforced(machine: Machine) -> None:
    greedy = "x = b'x' * (256 << 20)"
    memory = ["--property=MemoryMax=64M", "--property=MemorySwapMax=0"]
    run = ["systemd-run", "--quiet", "--wait", *memory, "python3", "-c", greedy]
    assert machine.run(run, check=False).returncode != 0
    assert machine.run([*run[:-1], greedy.replace("256", "2")]).returncode == 0
    tasks = ["systemd-run", "--quiet", "--pipe", "--wait", "--property=TasksMax=2"]
    many = "sleep 0 & sleep 0 & sleep 0 & wait"
    # A systemd that is not told of the end of the last process waits 90 s for it.
    assert "fork" in machine.run([*tasks, "sh", "-c", many], check=False, timeout=60).stderr
