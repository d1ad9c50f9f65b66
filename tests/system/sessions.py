"""`Sessions`: a service of PAM's for servers, which notes each session that opens and closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine.machine import Machine
from system.mediator import RootMediator, wait_until
from system.units import UnitMediator

SERVICE = "sudospawner"
FILE = f"/etc/pam.d/{SERVICE}"
NOTES = "/run/pam-sessions"
NOTE = "/usr/local/lib/note-session"
LIMITS = "/etc/security/limits.d/servers.conf"
VARIABLES = "/etc/security/servers-env.conf"
PLACES = [FILE, NOTE, NOTES, LIMITS, VARIABLES]

# Modules as on a machine that many people log in to. The last one notes the session.
MODULES = f"""\
account required pam_unix.so
auth required pam_permit.so
session required pam_unix.so
session required pam_limits.so
session required pam_env.so conffile={VARIABLES}
session optional pam_systemd.so
session required pam_exec.so {NOTE}
"""

# The accounts whose servers have sessions in the tests.
USERS = ("zoe", "nohome")

LAUNCHERS: dict[str, type[RootMediator]] = {"process": RootMediator, "systemd": UnitMediator}


class Sessions:
    """The sessions of servers in a machine, and a mediator whose servers have them."""

    def __init__(self, machine: Machine, launcher: str, binary: Path) -> None:
        """Install everything; `binary` is the mediator's."""
        self.machine = machine
        self._launcher = launcher
        self.set_modules()
        machine.write(NOTE, f'#!/bin/sh\necho "$PAM_TYPE $PAM_USER" >>{NOTES}\n', mode=0o755)
        machine.write(LIMITS, "zoe - sigpending 4711\n")
        machine.write(VARIABLES, "FROM_PAM DEFAULT=for-@{PAM_USER}\n")
        kind = LAUNCHERS[launcher]
        self.mediator = kind.install(machine, f"/opt/session-{launcher}/bin", binary)
        self.set_policy()

    @property
    def is_in_unit(self) -> bool:
        """Whether servers run in units."""
        return self._launcher == "systemd"

    def set_modules(self, text: str = MODULES) -> None:
        """Install the file of the service."""
        self.machine.write(FILE, text)

    def set_policy(self, server: str = "", more: str = "") -> None:
        """A policy with sessions; with more keys of `[server]`, and with more sections."""
        section = f'[server]\nlauncher = "{self._launcher}"\npam_service = "{SERVICE}"\n'
        self.mediator.set_policy(f"{section}{server}\n{more}")

    def remove(self) -> None:
        """End what a test has left, and remove everything."""
        if isinstance(self.mediator, UnitMediator):
            self.mediator.end_units()
        for user in USERS:
            self.end_manager(user)
            self.mediator.kill_processes(user)
        self.mediator.remove_all()
        self.machine.run(["rm", "-f", *PLACES])

    def read_notes(self) -> list[str]:
        """What was opened and closed, in order."""
        return self.machine.run(f"cat {NOTES} 2>/dev/null || true").stdout.splitlines()

    def list_closers(self) -> list[str]:
        """The pids of root's processes beside servers."""
        pattern = f"sudospawner-session {SERVICE} .*"
        command = ["pgrep", "--exact", "--full", pattern]
        return self.machine.run(command, check=False).stdout.split()

    def list_of_logind(self, user: str = "zoe") -> list[str]:
        """The sessions of an account that logind knows, without that of its manager."""
        shown = self.machine.run(["loginctl", "list-sessions", "--no-legend"]).stdout
        rows = [line.split() for line in shown.splitlines()]
        return [row[0] for row in rows if row[2] == user and "manager" not in row]

    def end_manager(self, user: str) -> None:
        """End an account's manager and wait for the end of all that belongs to it.

        If it were killed, systemd would still be ending the rest at the next test's start, and
        refuse logind a session: pam_systemd, which is optional, then gives the server nothing.
        """
        uid = self.machine.look_up_account(user).uid
        units = [f"user@{uid}.service", f"user-runtime-dir@{uid}.service", f"user-{uid}.slice"]
        self.machine.run(["systemctl", "stop", *units])
        # The manager's starts are counted too: five within ten seconds are its limit.
        self.machine.run(["systemctl", "reset-failed", *units], check=False)

    def wait_for_close(self, user: str = "zoe") -> None:
        """Wait until an account's sessions are closed, and nothing of root's is left of them."""

        def are_closed() -> bool:
            notes = self.read_notes()
            opened, closed = (notes.count(f"{which}_session {user}") for which in ("open", "close"))
            return 0 < opened == closed

        wait_until(are_closed, "the end of the session")
        wait_until(lambda: self.list_closers() == [], "the end of what closes it")
        wait_until(lambda: self.list_of_logind(user) == [], "the end of logind's session")


@contextmanager
def sessions_in(machine: Machine, launcher: str, binary: Path) -> Iterator[Sessions]:
    """Sessions with one of the launchers; nothing of them stays."""
    sessions = Sessions(machine, launcher, binary)
    try:
        yield sessions
    finally:
        sessions.remove()
