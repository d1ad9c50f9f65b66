"""Whether a server lives, which one it is, and how it ended - with sudo only where needed."""

from __future__ import annotations

import asyncio
from typing import Any

from . import settings
from .calls import CallingSpawner
from .ending import Ending
from .failures import make_failure
from .identity import Liveness, ServerProcess
from .mediator import MediatorError
from .reply import get_error


class WatchingSpawner(CallingSpawner):
    """Watches the server of one user, and keeps what a restarted Hub has to know of it."""

    # The process of `pid`, or one that the mediator has started and not reported in a reply yet.
    _watched: ServerProcess | None = None
    _starting: asyncio.Task[None] | None = None
    _stopping = False
    # Where it lives in a unit of systemd: the unit's name, and the limits that apply to it.
    _unit = ""
    _limits: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed)
    # How the last server ended, and the question about that.
    _exit_status = 0
    _asking: asyncio.Task[None] | None = None

    async def poll(self) -> int | None:
        """Return None while the server runs or starts, else how it ended.

        That is its exit status, the negative number of the signal that killed it, or 0 where it is
        not known: only the service manager knows, of a server in a unit.

        sudo is called when a server in a unit has ended, and where /proc hides a process that this
        Hub has not seen start: once.
        """
        if self._starting is not None or await self._signal(0):
            return None
        if self._unit and self._asking is None and not self._stopping:
            # One question for each end, whoever else polls meanwhile; none for one of our making.
            asking = self._find_ending(self._identify(), self._limits.get("memory"))
            self._asking = asyncio.ensure_future(asking)
        if self._asking is not None:
            await asyncio.shield(self._asking)
        self.clear_state()
        return self._exit_status

    async def _find_ending(self, fields: dict[str, Any], memory: int | None) -> None:
        try:
            reply = await self.do("status", **fields)
        except MediatorError as error:
            reply = {"ok": False, "error": error.sentence}
        if not reply.get("ok"):
            error = get_error(reply)
            self.log.warning("%s: how its server ended is not known: %s", self._log_name, error)
            return
        ending = Ending.read(reply)
        self._exit_status = ending.status
        if ending.status or ending.result:
            self.log.warning("%s: its server was ended %s", self._log_name, ending.describe())
        explanation = ending.explain(memory)
        if explanation is not None:
            self.log.warning("%s: %s", self._log_name, explanation)
            self._tell_user(explanation)

    def _tell_user(self, sentence: str) -> None:
        """Have the Hub's page of a server that does not run say why.

        The Hub shows there what the last start failed with, and lets nobody but the user start it
        anew; it has nothing else to be told by.
        """
        if self._spawn_future is not None:
            return
        future = asyncio.get_running_loop().create_future()
        future.set_exception(make_failure("server_killed", sentence))
        # Looked at, so that asyncio does not complain when nobody opens the page.
        future.exception()
        self._spawn_future = future

    async def _signal(self, sig: int) -> bool:
        """Send a signal to the server and tell whether it was alive; 0 only asks."""
        if sig == 0:
            return await self._look() is Liveness.ALIVE
        reply = await self.do("kill", signal=sig, **self._identify())
        return bool(reply.get("alive"))

    async def _look(self) -> Liveness:
        if self.pid and (self._watched is None or self._watched.pid != self.pid):
            self._watch(self.pid, "", vouched_for=False)
        server = self._watched
        if server is None:
            return Liveness.GONE
        liveness = server.look()
        if liveness is Liveness.ALIVE and not server.started:
            liveness = server.adopt(settings.find_uid(self.user.name))
        return await self._ask(server) if liveness is Liveness.HIDDEN else liveness

    async def _ask(self, server: ServerProcess) -> Liveness:
        server.hold()  # Before the question, so that the answer is about the process that we hold.
        try:
            reply = await self.do("status", **self._identify())
        except MediatorError as error:
            reply = {"ok": False, "error": error.sentence}
        if not reply.get("ok"):
            # Not known is not dead: the Hub would start a second server beside it.
            reason = get_error(reply)
            self.log.error("%s: does process %d live? %s", self._log_name, server.pid, reason)
            return Liveness.ALIVE
        if not reply.get("alive"):
            return Liveness.GONE
        server.started = server.started or reply.get("started") or ""
        server.vouch()
        return Liveness.ALIVE

    def _watch(self, pid: int, started: str, *, vouched_for: bool) -> None:
        self._forget_process()
        self._watched = ServerProcess(pid, started, vouched_for=vouched_for)

    def _forget_process(self) -> None:
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    def _forget_server(self) -> None:
        self._forget_process()
        self._unit, self._limits = "", {}

    def _forget_ending(self) -> None:
        self._exit_status, self._asking = 0, None

    def _identify(self) -> dict[str, Any]:
        """Return the fields of a request that name the server."""
        server = self._watched
        pid = self.pid or (server.pid if server else 0)
        fields = {"pid": pid, "server_name": self.name}
        if server is not None and server.pid == pid and server.started:
            fields["started"] = server.started
        # In user mode, to which the Hub may have been changed, a server is its process.
        if self._unit and self.mode == "root":
            fields["unit"] = self._unit
        return fields

    # --- State ---

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs: the pid, which process that is, and its unit."""
        state = super().get_state()
        if self.pid:
            started = self._identify().get("started")
            kept = {"started": started, "unit": self._unit, "limits": self._limits}
            state.update({name: value for name, value in kept.items() if value})
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what get_state returned, or what another LocalProcessSpawner did: a pid."""
        super().load_state(state)
        self._forget_ending()
        if self.pid:
            self._watch(self.pid, state.get("started", ""), vouched_for=False)
            self._keep_unit(state)

    def _keep_unit(self, told: dict[str, Any]) -> None:
        """Remember the unit that a reply or a state tells of, if it does."""
        self._unit = told.get("unit") or ""
        self._limits = dict(told.get("limits") or {}) if self._unit else {}

    def clear_state(self) -> None:
        """Forget the server."""
        super().clear_state()
        self._forget_server()
