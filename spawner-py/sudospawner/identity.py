"""Which process a server is, beyond its pid, and whether it lives - as the kernel tells it.

No psutil: where /proc is mounted with ``hidepid=2`` it takes every process of other accounts for
dead, and its start times are rounded.
"""

from __future__ import annotations

import enum
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Liveness(enum.Enum):
    """What can be told of a process from here."""

    ALIVE = "alive"
    GONE = "gone"
    #: There is a process with this pid, but /proc hides it: only its owner can tell which it is.
    HIDDEN = "hidden"


class Stat(NamedTuple):
    """The fields of ``/proc/PID/stat`` that matter here."""

    #: One letter; ``Z`` and ``X`` are ends.
    state: str
    #: Clock ticks from boot to the process's start: field 22.
    start_ticks: int


def read_boot_id() -> str:
    """Return the id of the running boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> Stat | None:
    """Return the fields of a process, or None if there is none or /proc hides it."""
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The command (field 2) stands in parentheses and may hold any byte, a ')' too.
    fields = line[line.rfind(b")") + 2 :].split()
    return Stat(fields[0].decode("ascii"), int(fields[19])) if len(fields) > 19 else None


def read_uid(pid: int) -> int | None:
    """Return the effective uid of a process, or None if there is none or /proc hides it."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[2]) for line in lines if line.startswith("Uid:")), None)


def pid_exists(pid: int) -> bool:
    """Tell whether any process has this pid, whoever it belongs to; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class ServerProcess:
    """One server's process, watched from an account that may not signal it.

    Where /proc hides the process it is held by a pidfd, which keeps meaning the same process
    whatever becomes of the pid. A descriptor is spent only there.
    """

    def __init__(self, pid: int, started: str = "", *, vouched_for: bool = False) -> None:
        """Watch a process.

        :param pid: its pid.
        :param started: ``<boot id>:<start ticks>`` as the mediator reports it; empty if unknown.
        :param vouched_for: the mediator has just said that this is the server, so that a hidden
            process with this pid is believed to be it.
        """
        self.pid = pid
        self.started = started
        self._vouched_for = vouched_for
        self._pidfd: int | None = None
        if vouched_for:
            self._hold_if_hidden()

    def __del__(self) -> None:
        """Close the descriptor of a process that nobody watches any more."""
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        pidfd, self._pidfd = getattr(self, "_pidfd", None), None
        if pidfd is not None:
            os.close(pidfd)

    def look(self) -> Liveness:
        """Tell whether the process lives, without asking anyone but the kernel."""
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
        """Find out which process it is, where only its pid is known (state of other spawners).

        :param uid: the account that the server runs as; another account's process is not it.
            None where the account is unknown here: then any owner is taken, as it is where the
            mediator has vouched for the process (it may be a wrapper's).
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
        """Open the pidfd: to be done before the mediator is asked what the pid is."""
        if self._pidfd is None and hasattr(os, "pidfd_open"):
            # A kernel or a sandbox without it: then a process that was vouched for and whose
            # pid exists is taken for alive.
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self.pid)

    def vouch(self, started: str = "") -> None:
        """Believe from now on that a hidden process with this pid is the server.

        :param started: when it started, where that was not known before.
        """
        self.started = self.started or started
        self._vouched_for = True

    def _hold_if_hidden(self) -> None:
        if read_stat(self.pid) is None and pid_exists(self.pid):
            self.hold()


def _has_ended(pidfd: int) -> bool:
    """A pidfd is readable from the end of its process on, also before that has been reaped."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
