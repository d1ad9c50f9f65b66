"""Asks the kernel which process a server is, beyond its pid, and whether it is alive.

This does not use psutil: with /proc mounted ``hidepid=2``, psutil reports every process of another
account as dead. It also rounds start times.
"""

from __future__ import annotations

import enum
import functools
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Liveness(enum.Enum):
    """What the Hub can see of a server."""

    ALIVE = "alive"
    GONE = "gone"
    #: The pid exists, but /proc hides the process, or Slurm does not show the job: only the
    #: mediator can tell, for the server's account.
    HIDDEN = "hidden"


class Stat(NamedTuple):
    """The fields of ``/proc/PID/stat`` that are used here."""

    #: One letter; ``Z`` and ``X`` mean that the process has ended.
    state: str
    #: When the process started, in clock ticks since boot: field 22.
    start_ticks: int


@functools.cache
def read_boot_id() -> str:
    """Return the kernel's boot id, which a Hub without descriptors could not read again."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> Stat | None:
    """Return the fields of a process, or None if it does not exist or /proc hides it."""
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The command (field 2) is in parentheses and may contain any byte, including ')'.
    fields = line[line.rfind(b")") + 2 :].split()
    return Stat(fields[0].decode("ascii"), int(fields[19])) if len(fields) > 19 else None


def read_uid(pid: int) -> int | None:
    """Return the effective uid of a process, or None if it does not exist or /proc hides it."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[2]) for line in lines if line.startswith("Uid:")), None)


def pid_exists(pid: int) -> bool:
    """Return whether any account has a process with this pid; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class ServerProcess:
    """A server's process, watched from an account that may not signal it.

    If /proc hides the process, a pidfd refers to it: the pidfd means the same process even after
    the pid is reused. Only such a process costs a descriptor.
    """

    def __init__(self, pid: int, started: str = "", *, vouched_for: bool = False) -> None:
        """Watch a process.

        :param pid: its pid.
        :param started: ``<boot id>:<start ticks>`` as the mediator reports it; empty if unknown.
        :param vouched_for: whether the mediator has just said that this is the server. A hidden
            process with this pid is then taken for it.
        """
        self.pid = pid
        self.started = started
        self._vouched_for = vouched_for
        self._pidfd: int | None = None
        if vouched_for:
            self._hold_if_hidden()

    def __del__(self) -> None:
        """Close the pidfd of a process that is no longer watched."""
        self.close()

    def close(self) -> None:
        """Stop watching the process."""
        pidfd, self._pidfd = getattr(self, "_pidfd", None), None
        if pidfd is not None:
            os.close(pidfd)

    def look(self) -> Liveness:
        """Return whether the process is alive; asks only the kernel."""
        boot_id, _, ticks = self.started.partition(":")
        if boot_id and boot_id != read_boot_id():
            return Liveness.GONE
        stat = read_stat(self.pid)
        if stat is not None:
            recycled = bool(ticks) and ticks != str(stat.start_ticks)
            return Liveness.GONE if recycled or stat.state in "ZX" else Liveness.ALIVE
        if self._pidfd is not None:
            return Liveness.GONE if _has_ended(self._pidfd) else Liveness.ALIVE
        if not pid_exists(self.pid):
            return Liveness.GONE
        return Liveness.ALIVE if self._vouched_for else Liveness.HIDDEN

    def adopt(self, uid: int | None) -> Liveness:
        """Identify the process if only its pid is known, as in the state of other spawners.

        :param uid: the account that the server runs as; another account's process is not the
            server. None if the account is unknown here. Any owner is accepted then, and also if
            the mediator has vouched for the process (it may belong to a wrapper).
        """
        liveness = self.look()
        stat, owner = read_stat(self.pid), read_uid(self.pid)
        if liveness is not Liveness.ALIVE or stat is None:
            return liveness
        if not self._vouched_for and None not in (uid, owner) and owner != uid:
            return Liveness.GONE
        self.started = f"{read_boot_id()}:{stat.start_ticks}"
        return Liveness.ALIVE

    def hold(self) -> None:
        """Open the pidfd. Call this before asking the mediator which process has the pid."""
        if self._pidfd is None and hasattr(os, "pidfd_open"):
            # A kernel or sandbox may not support it. A process that was vouched for then counts
            # as alive while its pid exists.
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)

    def vouch(self, started: str = "") -> None:
        """Take a hidden process with this pid for the server from now on.

        :param started: when it started; used if that was unknown.
        """
        self.started = self.started or started
        self._vouched_for = True

    def _hold_if_hidden(self) -> None:
        if read_stat(self.pid) is None and pid_exists(self.pid):
            self.hold()


def _has_ended(pidfd: int) -> bool:
    """Return whether the process has ended: its pidfd is then readable, even before reaping."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
