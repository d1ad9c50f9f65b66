"""Watches a spawner's server: whether it is alive, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Callable, Union

from jupyterhub.spawner import LocalProcessSpawner

from .ending import Ending
from .errors import MediatorError
from .failures import show_why_it_stopped
from .identity import Liveness
from .job_server import JobServer
from .process_server import ProcessServer
from .reply import get_error

# The seconds between questions how a job has ended that is ending still. Slurm kills it after 30
# seconds by default, and then its node may be cleaned up.
_PAUSES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: What the two have in common is what is used here.
Server = Union[ProcessServer, JobServer]


class Watch:
    """Remembers which server a spawner has, and finds out what became of it."""

    def __init__(
        self,
        spawner: LocalProcessSpawner,
        tell: Callable[[int, str], None],
    ) -> None:
        """Start without a server.

        :param spawner: the spawner whose server it is, which can ask the mediator.
        :param tell: logs a sentence; the first argument is a logging level.
        """
        self._spawner = spawner
        self._tell = tell
        #: The server, or one that the mediator has started but not yet reported in a reply.
        self.server: Server = ProcessServer(spawner)
        self._later: asyncio.Task[None] | None = None
        self.forget_ending()

    def follow(self, server: Server) -> None:
        """Watch another server."""
        self.server.close()
        self.server = server
        # What the mediator has said of an end of this server, in reply to another question.
        self._told: Mapping[str, Any] | None = None

    def load(self, state: Mapping[str, Any]) -> None:
        """Watch the server that a state tells of, whatever launcher it came from."""
        job = state.get("job")
        if isinstance(job, str) and job.isascii() and job.isdigit():
            self.follow(JobServer(self._spawner, state, is_new=False, is_ours=True))
        else:
            self.follow(ProcessServer(self._spawner, self._spawner.pid, told=state))

    def forget(self) -> None:
        """Watch no server, until the spawner has another pid."""
        self.follow(ProcessServer(self._spawner))

    def forget_ending(self) -> None:
        """Forget how the last server ended."""
        #: How it ended; status 0 if unknown.
        self.ending = Ending()
        # The query about that, while it runs and afterwards.
        self._asking: asyncio.Task[None] | None = None
        self._told = None
        if self._later is not None:
            self._later.cancel()
        # The question that is asked again while the server is ending.
        self._later = None

    def has_another(self, server: Server) -> bool:
        """Whether another server than this one has been started meanwhile."""
        return self.server is not server and self.server.is_there

    def identify(self) -> dict[str, Any]:
        """Return the fields of a request that identify the server."""
        return {**self.server.identify(), "server_name": self._spawner.name}

    async def look(self) -> Liveness:
        """Return whether the server is alive; asks the mediator only if it is hidden from us."""
        server = self.server
        liveness = await server.look()
        return await self._ask(server) if liveness is Liveness.HIDDEN else liveness

    async def _ask(self, server: Server) -> Liveness:
        question = server.prepare_question()
        reply = await self._find_status(server)
        if not reply.get("ok"):
            # Unknown does not mean dead: the Hub would start a second server beside it.
            self._tell(logging.ERROR, f"{question} {get_error(reply)}")
            return Liveness.ALIVE
        if reply.get("alive"):
            server.take_answer(reply)
            return Liveness.ALIVE
        if server is self.server:
            self._told = reply
        return Liveness.GONE

    async def find_ending(self, *, may_ask: bool) -> Ending:
        """Return how the server ended, which systemd knows of a unit and Slurm of a job.

        Concurrent callers share one query.

        :param may_ask: if false, start no query, but wait for one that is running.
        """
        if self.server.has_record and may_ask and self._asking is None:
            self._asking = asyncio.ensure_future(self._ask_how_it_ended(self.server))
        if self._asking is not None:
            await asyncio.shield(self._asking)
        return self.ending

    async def _ask_how_it_ended(self, server: Server) -> None:
        # systemd tells it only once.
        reply = self._told or await self._find_status(server)
        if not reply.get("ok"):
            reason = get_error(reply)
            self._tell(logging.WARNING, f"how its server ended is not known: {reason}")
            return
        self.ending = Ending.read(reply)
        if self.ending == Ending() and server.is_ending:
            self._later = asyncio.ensure_future(self._ask_later(server))
        self._tell_ending(self.ending, server.memory)

    async def _ask_later(self, server: Server) -> None:
        """Ask until it is known how the server ended, for some time."""
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            ending = Ending.read(await self._find_status(server))
            if ending != Ending():
                self._tell_ending(ending, server.memory)
                return

    def _tell_ending(self, ending: Ending, memory: int | None) -> None:
        if ending.status or ending.result:
            self._tell(logging.WARNING, f"its server was ended {ending.describe()}")
        explanation = ending.explain(memory)
        if explanation is not None:
            self._tell(logging.WARNING, explanation)
            show_why_it_stopped(self._spawner, explanation)

    async def _find_status(self, server: Server) -> dict[str, Any]:
        """Return the reply to ``status``; if there is none, a reply that is not ``ok``."""
        try:
            fields = {**server.identify(), "server_name": self._spawner.name}
            return await self._spawner.do("status", **fields)
        except MediatorError as error:
            return {"ok": False, "error": error.sentence}
