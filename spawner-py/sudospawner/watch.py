"""The watch of a spawner's server: which process it is, whether it lives, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Awaitable, Mapping
from typing import Any, Callable

from .account import find_uid
from .ending import Ending
from .identity import Liveness, ServerProcess
from .mediator import MediatorError
from .printable import escape_control_characters
from .reply import get_error


class Watch:
    """What is known of the server of one spawner, and how it is found out."""

    def __init__(
        self,
        ask_status: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
        tell: Callable[[int, str], None],
        tell_user: Callable[[str], None],
    ) -> None:
        """Begin without a server.

        :param ask_status: hands the fields of a request for ``status`` to the mediator and returns
            its reply; raises MediatorError if there is none.
        :param tell: writes a sentence to the log; the first argument is a level of logging.
        :param tell_user: shows the user why the server was ended, and what to do.
        """
        self._ask_status = ask_status
        self._tell = tell
        self._tell_user = tell_user
        #: The process of the spawner's ``pid``, or one that the mediator has started and not
        #: reported in a reply yet.
        self.process: ServerProcess | None = None
        #: Where it lives in a unit of systemd: the unit's name, and the limits that apply to it.
        self.unit = ""
        self.limits: dict[str, Any] = {}
        self.forget_ending()

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

    def forget_ending(self) -> None:
        """Forget how the last server ended."""
        #: How it ended: a status of 0 where that is not known.
        self.ending = Ending()
        # The question about that, while it is asked and afterwards.
        self._asking: asyncio.Task[None] | None = None

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

    async def ask(self, fields: dict[str, Any]) -> Liveness:
        """Ask the mediator whether the process lives that is hidden from us.

        :param fields: those of the request, which name the server.
        """
        process = self.process
        if process is None:
            return Liveness.GONE
        process.hold()  # Before the question, so that the answer is about the process that we hold.
        reply = await self._find_status(fields)
        if not reply.get("ok"):
            # Not known is not dead: the Hub would start a second server beside it.
            question = f"does process {process.pid} live?"
            self._tell(logging.ERROR, f"{question} {get_error(reply)}")
            return Liveness.ALIVE
        if not reply.get("alive"):
            return Liveness.GONE
        process.vouch(reply.get("started") or "")
        return Liveness.ALIVE

    async def find_ending(self, fields: dict[str, Any], *, may_ask: bool) -> Ending:
        """Return how the server ended: only the service manager knows, of one in a unit.

        There is one question for each end, whoever else wants to know meanwhile.

        :param fields: those of the request, which name the server.
        :param may_ask: if false, only a question that is asked already is waited for.
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
        """Return the reply to ``status``; where there is none, one that is not ``ok``."""
        try:
            return await self._ask_status(fields)
        except MediatorError as error:
            return {"ok": False, "error": error.sentence}

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
