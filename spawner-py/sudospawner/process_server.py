"""A server beside the Hub or in a unit of systemd's: it is known by its process."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner

from .identity import Liveness, ServerProcess
from .look_up import find_uid
from .printable import escape_control_characters
from .settings import is_decided_by_root


class ProcessServer:
    """Finds out what is known about the process, or about that of the spawner's ``pid``."""

    #: Whether signals may end it if the mediator cannot: a wrapper may know no ``stop``.
    ends_by_signals = True

    def __init__(
        self,
        spawner: LocalProcessSpawner,
        pid: int = 0,
        *,
        vouched_for: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        """Watch a process.

        :param spawner: has the ``pid``, which other code may set, the mode and the user.
        :param pid: the process; 0 to watch none until the spawner has one.
        :param vouched_for: whether the mediator has just said that this is the server.
        :param told: a reply or a state, with the server's ``started``, ``unit`` and ``limits``, if
            it has any.
        """
        told = told if pid and told else {}
        self._spawner = spawner
        self._process: ServerProcess | None = None
        if pid:
            started = told.get("started") or ""
            self._process = ServerProcess(pid, started, vouched_for=vouched_for)
        self._unit = told.get("unit") or ""
        self._limits = dict(told.get("limits") or {}) if self._unit else {}

    @property
    def is_there(self) -> bool:
        """Whether there is a process to watch."""
        return bool(self._spawner.pid or self._process)

    async def look(self) -> Liveness:
        """Return whether it is alive; asks the kernel.

        Asks the account database, too, if only the pid is known.
        """
        pid = self._spawner.pid
        if pid and (self._process is None or self._process.pid != pid):
            self.close()
            self._process = ServerProcess(pid)
        process = self._process
        if process is None:
            return Liveness.GONE
        liveness = process.look()
        if liveness is Liveness.ALIVE and not process.started:
            liveness = process.adopt(await find_uid(self._spawner.user.name))
        return liveness

    def look_anew(self) -> None:
        """Do nothing: the kernel is asked each time."""

    def prepare_question(self) -> str:
        """Return what the mediator is about to be asked. The reply is then about this process."""
        if self._process is None:
            return "is there a process?"
        self._process.hold()
        return f"is process {self._process.pid} alive?"

    def take_answer(self, reply: Mapping[str, Any]) -> None:
        """Remember that the mediator takes it for alive."""
        if self._process is not None:
            self._process.vouch(reply.get("started") or "")

    @property
    def has_record(self) -> bool:
        """Whether the mediator can tell how it ended: only systemd knows, for a unit."""
        return bool(self._unit)

    @property
    def memory(self) -> int | None:
        """Its memory limit in bytes, if it is known."""
        return self._limits.get("memory")

    @property
    def is_ending(self) -> bool:
        """Whether its end may be known later: systemd notices that of a unit in its time."""
        return bool(self._unit)

    def identify(self) -> dict[str, Any]:
        """Return the fields of a request that identify it."""
        process = self._process
        pid = self._spawner.pid or (process.pid if process else 0)
        fields: dict[str, Any] = {"pid": pid}
        if process is not None and process.pid == pid and process.started:
            fields["started"] = process.started
        # User mode has no units, even if the state has one from a time in root mode.
        if self._unit and is_decided_by_root(self._spawner.mode):
            fields["unit"] = self._unit
        return fields

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs to know about it, apart from its pid."""
        if not self._spawner.pid:
            return {}
        started = self.identify().get("started")
        state = {"started": started, "unit": self._unit, "limits": self._limits}
        return {name: value for name, value in state.items() if value}

    def describe_survivor(self) -> str:
        """Return one line about it if it could not be stopped, and what to do."""
        fields = self.identify()
        pid, unit = fields["pid"], escape_control_characters(fields.get("unit", ""))
        place = f" in the unit {unit}" if unit else ""
        look = f"systemctl status {shlex.quote(unit)}" if unit else f"ps -fp {pid}"
        return (
            f"its server could not be stopped and may be alive still, as process {pid}{place}; the "
            f"Hub forgets it. Check as root what that is ({look}), and end it"
        )

    def close(self) -> None:
        """Stop watching."""
        if self._process is not None:
            self._process.close()
            self._process = None
