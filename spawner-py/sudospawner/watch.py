"""Watches a spawner's server: which process it is, whether it is alive, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Callable

from .ending import Ending
from .errors import MediatorError
from .identity import Liveness, ServerProcess
from .look_up import find_uid
from .reply import get_error


class Watch:
    """Finds out and remembers what is known about the server of one spawner."""

    def __init__(
        self,
        ask_status: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
        tell: Callable[[int, str], None],
        tell_user: Callable[[str], None],
    ) -> None:
        """Start without a server.

        :param ask_status: sends a ``status`` request with these fields to the mediator and returns
            the reply; raises MediatorError if there is none.
        :param tell: logs a sentence; the first argument is a logging level.
        :param tell_user: shows the user why the server was ended, and what to do.
        """
        self._ask_status = ask_status
        self._tell = tell
        self._tell_user = tell_user
        #: The process of the spawner's ``pid``, or one that the mediator has started but not yet
        #: reported in a reply.
        self.process: ServerProcess | None = None
        #: For a server in a systemd unit: the unit's name and its limits.
        self.unit = ""
        self.limits: dict[str, Any] = {}
        self.forget_ending()

    def follow(self, pid: int, started: str, *, vouched_for: bool) -> None:
        """Watch another process; takes the parameters of ServerProcess."""
        self._let_go()
        self.process = ServerProcess(pid, started, vouched_for=vouched_for)

    def keep_unit(self, told: Mapping[str, Any]) -> None:
        """Remember the unit and limits in a reply or a state, if any."""
        self.unit = told.get("unit") or ""
        self.limits = dict(told.get("limits") or {}) if self.unit else {}

    def forget(self) -> None:
        """Stop watching."""
        self._let_go()
        self.unit, self.limits = "", {}

    def forget_ending(self) -> None:
        """Forget how the last server ended."""
        #: How it ended; status 0 if unknown.
        self.ending = Ending()
        # The query about that, while it runs and afterwards.
        self._asking: asyncio.Task[None] | None = None

    async def look(self, pid: int, account: str) -> Liveness:
        """Return whether the server is alive; asks the kernel.

        Asks the account database, too, if only the pid is known.

        :param pid: the spawner's ``pid``, which other code may have set; 0 if it has none.
        :param account: the name of the account that the server runs as.
        """
        if pid and (self.process is None or self.process.pid != pid):
            self.follow(pid, "", vouched_for=False)
        process = self.process
        if process is None:
            return Liveness.GONE
        liveness = process.look()
        if liveness is Liveness.ALIVE and not process.started:
            liveness = process.adopt(await find_uid(account))
        return liveness

    async def ask(self, fields: dict[str, Any]) -> Liveness:
        """Ask the mediator whether a process that is hidden from us is alive.

        :param fields: the fields of the request that identify the server.
        """
        process = self.process
        if process is None:
            return Liveness.GONE
        process.hold()  # Before the query, so that the reply is about the process that we hold.
        reply = await self._find_status(fields)
        if not reply.get("ok"):
            # Unknown does not mean dead: the Hub would start a second server beside it.
            question = f"is process {process.pid} alive?"
            self._tell(logging.ERROR, f"{question} {get_error(reply)}")
            return Liveness.ALIVE
        if not reply.get("alive"):
            return Liveness.GONE
        process.vouch(reply.get("started") or "")
        return Liveness.ALIVE

    async def find_ending(self, fields: dict[str, Any], *, may_ask: bool) -> Ending:
        """Return how the server ended; only systemd knows this, for a server in a unit.

        Concurrent callers share one query.

        :param fields: the fields of the request that identify the server.
        :param may_ask: if false, start no query, but wait for one that is running.
        """
        if self.unit and may_ask and self._asking is None:
            asking = self._ask_how_it_ended(fields, self.limits.get("memory"))
            self._asking = asyncio.ensure_future(asking)
        if self._asking is not None:
            await asyncio.shield(self._asking)
        return self.ending

    async def _ask_how_it_ended(self, fields: dict[str, Any], memory: int | None) -> None:
        reply = await self._find_status(fields)
        if not reply.get("ok"):
            reason = get_error(reply)
            self._tell(logging.WARNING, f"how its server ended is not known: {reason}")
            return
        ending = self.ending = Ending.read(reply)
        if ending.status or ending.result:
            self._tell(logging.WARNING, f"its server was ended {ending.describe()}")
        explanation = ending.explain(memory)
        if explanation is not None:
            self._tell(logging.WARNING, explanation)
            self._tell_user(explanation)

    async def _find_status(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to ``status``; if there is none, a reply that is not ``ok``."""
        try:
            return await self._ask_status(fields)
        except MediatorError as error:
            return {"ok": False, "error": error.sentence}

    def identify(self, pid: int, *, by_unit: bool) -> dict[str, Any]:
        """Return the fields of a request that identify the process and its unit.

        :param pid: the spawner's ``pid``, 0 if it has none.
        :param by_unit: whether to include the unit.
        """
        pid = pid or (self.process.pid if self.process else 0)
        fields: dict[str, Any] = {"pid": pid}
        if self.process is not None and self.process.pid == pid and self.process.started:
            fields["started"] = self.process.started
        if by_unit and self.unit:
            fields["unit"] = self.unit
        return fields

    def get_state(self, pid: int) -> dict[str, Any]:
        """Return what a restarted Hub needs to know about the server, apart from its pid."""
        started = self.identify(pid, by_unit=False).get("started")
        state = {"started": started, "unit": self.unit, "limits": self.limits}
        return {name: value for name, value in state.items() if value}

    def _let_go(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None
