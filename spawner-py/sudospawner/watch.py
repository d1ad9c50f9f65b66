"""The watch of a spawner's server: which process it is, in which unit, and whether it lives."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .account import find_uid
from .identity import Liveness, ServerProcess
from .printable import escape_control_characters


class Watch:
    """What is known of the server of one spawner."""

    def __init__(self) -> None:
        """Begin without a server."""
        #: The process of the spawner's ``pid``, or one that the mediator has started and not
        #: reported in a reply yet.
        self.process: ServerProcess | None = None
        #: Where it lives in a unit of systemd: the unit's name, and the limits that apply to it.
        self.unit = ""
        self.limits: dict[str, Any] = {}

    def follow(self, pid: int, started: str, *, vouched_for: bool) -> None:
        """Watch a process in place of the one before; the parameters are ServerProcess's."""
        self._let_go()
        self.process = ServerProcess(pid, started, vouched_for=vouched_for)

    def keep_unit(self, told: Mapping[str, Any]) -> None:
        """Remember the unit that a reply or a state tells of, if it does."""
        self.unit = told.get("unit") or ""
        self.limits = dict(told.get("limits") or {}) if self.unit else {}

    def forget(self) -> None:
        """Watch nothing any more."""
        self._let_go()
        self.unit, self.limits = "", {}

    def look(self, pid: int, account: str) -> Liveness:
        """Tell whether the server lives, without asking anyone but the kernel.

        :param pid: the spawner's ``pid``, which others may have set; 0 if it has none.
        :param account: the name of the account that the server runs as.
        """
        if pid and (self.process is None or self.process.pid != pid):
            self.follow(pid, "", vouched_for=False)
        if self.process is None:
            return Liveness.GONE
        liveness = self.process.look()
        if liveness is Liveness.ALIVE and not self.process.started:
            liveness = self.process.adopt(find_uid(account))
        return liveness

    def identify(self, pid: int, *, by_unit: bool) -> dict[str, Any]:
        """Return the fields of a request that name the process and its unit.

        :param pid: the spawner's ``pid``, 0 if it has none.
        :param by_unit: leave the unit out if false.
        """
        pid = pid or (self.process.pid if self.process else 0)
        fields: dict[str, Any] = {"pid": pid}
        if self.process is not None and self.process.pid == pid and self.process.started:
            fields["started"] = self.process.started
        if by_unit and self.unit:
            fields["unit"] = self.unit
        return fields

    def get_state(self, pid: int) -> dict[str, Any]:
        """Return what a restarted Hub has to know of the server beside its pid."""
        started = self.identify(pid, by_unit=False).get("started")
        state = {"started": started, "unit": self.unit, "limits": self.limits}
        return {name: value for name, value in state.items() if value}

    def _let_go(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


def describe_survivor(pid: int, unit: str) -> str:
    """Say in one line of a server that could not be stopped what it is, and what to do."""
    unit = escape_control_characters(unit)
    place = f" in the unit {unit}" if unit else ""
    look = f"systemctl status {shlex.quote(unit)}" if unit else f"ps -fp {pid}"
    return (
        f"its server could not be stopped and may be alive still, as process {pid}{place}; the Hub "
        f"forgets it. Look as root what that is ({look}), and end it"
    )
