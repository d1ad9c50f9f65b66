"""SudoSpawner: starts, watches and stops servers as their users, from a Hub without root."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from typing import Any

from jupyterhub.utils import random_port

from . import settings
from .checking import check_once
from .ending import Ending
from .failures import make_failure
from .hooks import Hook
from .identity import Liveness
from .mediator import GRACE, MediatorError
from .printable import escape_control_characters
from .progress import StartNews
from .reply import EVENT_LIMIT, HOOK_LIMIT, HOOKS_LEFT_OUT, get_error
from .watching import WatchingSpawner

# How often another port is tried when one that was chosen at random turns out to be taken.
_PORT_TRIES = 3
# The longest duration that the mediator takes, in seconds.
_LONGEST = 3600.0


class SudoSpawner(WatchingSpawner):
    """Starts each user's server through ``sudo -u USER sudospawner``, or as :attr:`mode` says.

    What can be overridden in subclasses: :meth:`do`, :meth:`make_preexec_fn`,
    :meth:`relog_stderr`, and everything that LocalProcessSpawner offers except its own way of
    starting a process.
    """

    _news: StartNews | None = None
    # What became of the hooks of the spawn that is under way.
    _hooks: tuple[Hook, ...] = ()
    _chosen_port = 0

    # --- Start ---

    async def start(self) -> tuple[str, int]:
        """Start the server and return where it is to be reached: (ip, port).

        :raises SpawnException: (before JupyterHub 6 HTTPError) if it does not start; then there
            is neither a server nor a pid.
        """
        settings.refuse_internal_ssl(self)
        settings.warn_about_ignored_settings(self)
        check_once(self)
        self._forget_server()
        self._forget_ending()
        self._news = StartNews()
        # Just under the Hub's own limit, so that the failure has our words.
        limit = self.start_timeout - min(3.0, 0.05 * self.start_timeout)
        self._start_deadline = asyncio.get_running_loop().time() + limit
        starting = self._starting = asyncio.ensure_future(self._spawn(limit))
        try:
            # A little longer than the call's own limit, which has the better words.
            await asyncio.wait({starting}, timeout=0.3 * limit + 0.7 * self.start_timeout)
            if not starting.done():
                raise MediatorError("start_timeout", f"The server was not up in {limit:.0f} s.")
            if not starting.cancelled():
                starting.result()
            if not self.pid:
                raise MediatorError("start_given_up", "The server was stopped while it started.")
        except MediatorError as error:
            raise make_failure(error.code, error.sentence) from error
        finally:
            # Also when the Hub cancels us: the pipes are closed and sudo is ended with the task.
            starting.cancel()
            await asyncio.wait({starting}, timeout=GRACE)
            self._starting = None
            self._news.end()
        return self.ip or "127.0.0.1", self.port

    async def _spawn(self, limit: float) -> None:
        for _ in range(_PORT_TRIES):
            if self.port in (0, self._chosen_port):
                self.port = self._chosen_port = random_port()
            self._hooks = ()
            wait = {"port": self.port, "seconds": min(0.85 * limit, _LONGEST)}
            reply = await self.do(
                action="spawn",
                args=self.get_args(),
                env=settings.select_sendable(settings.get_env_of_account(self), self),
                server_name=self.name,
                events=True,
                **({"wait": wait} if self.wait_for_port else {}),
                **settings.get_limits(self),
            )
            if reply.get("code") != "port_taken" or self.port != self._chosen_port:
                break
            self.log.warning("%s: %s", self._log_name, get_error(reply))
        # Nothing is awaited from the reply to the pid: whoever cancels, it is known or undone.
        self._take_server(reply)

    def _take_server(self, reply: dict[str, Any]) -> None:
        # Those that no event has told of.
        for told in (reply.get("hooks") or [])[len(self._hooks) :]:
            self._take_hook(told)
        if not reply.get("ok"):
            code = reply.get("code") or "spawn_failed"
            last_words = reply.get("stderr") or ""
            if code == "hook_failed" and self._hooks:
                last_words = self._hooks[-1].output
            raise make_failure(code, self._explain_early_end(reply), last_words)
        pid = reply.get("pid")
        if not pid:
            raise make_failure(
                "no_reply", "The mediator's reply has no pid that a process can have."
            )
        self._watch(pid, reply.get("started") or "", vouched_for=True)
        self._keep_unit(reply)
        self.pid = pid
        if reply.get("listening") is False:
            self.log.warning(
                "%s does not listen on port %d yet; waiting for it to answer",
                self._log_name,
                self.port,
            )

    def _explain_early_end(self, reply: dict[str, Any]) -> str:
        memory = settings.get_limits(self).get("limits", {}).get("memory")
        explanation = None
        if reply.get("code") == "exited_early":
            explanation = Ending.read(reply).explain(memory)
        return explanation or get_error(reply)

    def _take_hook(self, told: dict[str, Any]) -> None:
        if self.mode != "root":
            return  # There are none: it is one of the user's processes that tells of them.
        hook = Hook.read(told)
        if self._news is not None:
            self._news.announce(hook.describe())
        if hook.is_over:
            self._hooks += (hook,)
            log = self.log.info if hook.succeeded else self.log.warning
            log("%s: %s", self._log_name, hook.describe())

    def _take_event(self, event: dict[str, Any]) -> None:
        pid = event.get("pid")
        if event["event"] == "hook":
            self._take_hook(event)
        elif event["event"] == HOOKS_LEFT_OUT and self.mode == "root":
            self.log.warning(
                "%s: of its hooks more is told than of %d, or more than %d bytes: what is left out "
                "here comes with the reply, if anything does",
                self._log_name,
                HOOK_LIMIT,
                EVENT_LIMIT,
            )
        elif event["event"] == "started" and pid:
            # Not ours until the reply says so, but remembered: if the start is given up and the
            # mediator does not end it, stop() does.
            self._watch(pid, event.get("started") or "", vouched_for=True)
            if self._news is not None:
                self._news.announce(f"Process {pid} has started, waiting for it to listen")

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is known of the start while it lasts."""
        yield {"progress": 10, "message": f"Starting the server as {self.user.name}"}
        if self._news is not None:
            async for message in self._news.follow():
                yield {"progress": 50, "message": message}

    # --- Stop ---

    async def stop(self, now: bool = False) -> None:
        """End the server and all that it left behind; also one whose start is under way.

        :param now: leave out SIGINT and begin with SIGTERM.
        """
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting}, timeout=GRACE)
        self._stopping = True
        try:
            if await self._look() is Liveness.ALIVE:
                await self._end_server(now)
        except MediatorError as error:
            await self._complain_if_alive()
            raise make_failure(error.code, error.sentence) from error
        finally:
            self._stopping = False
            self.clear_state()

    async def _end_server(self, now: bool) -> None:
        try:
            reply = await self.do(
                "stop",
                interrupt_seconds=0 if now else _limit_wait(self.interrupt_timeout),
                term_seconds=_limit_wait(self.term_timeout),
                kill_seconds=_limit_wait(self.kill_timeout),
                **self._identify(),
            )
        except MediatorError as error:
            if error.code != "no_reply":
                raise
            reply = {"ok": False, "error": error.sentence}
        if not reply.get("ok"):
            # A wrapper round a mediator that knows no more than spawn and kill.
            self.log.warning("%s: stop failed: %s", self._log_name, get_error(reply))
            await super().stop(now)
            await self._complain_if_alive()
        elif reply.get("alive"):
            await self._complain_if_alive()
        elif reply.get("leftovers_killed"):
            self.log.info(
                "%s left %s processes behind, which were ended",
                self._log_name,
                reply["leftovers_killed"],
            )

    async def _complain_if_alive(self) -> None:
        """Say in the log that a server which could not be ended runs on, and is forgotten."""
        if await self._look() is not Liveness.ALIVE:
            return
        fields = self._identify()
        unit = escape_control_characters(fields.get("unit", ""))
        self.log.error(
            "%s: its server could not be stopped and may be alive still, as process %d%s; the Hub "
            "forgets it. Look as root what that is (%s), and end it",
            self._log_name,
            fields["pid"],
            f" in the unit {unit}" if unit else "",
            f"systemctl status {shlex.quote(unit)}" if unit else f"ps -fp {fields['pid']}",
        )

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Refuse: only start() could, and it refuses too."""
        settings.refuse_internal_ssl(self)
        return paths


def _limit_wait(seconds: int) -> float:
    return max(0.0, min(float(seconds), _LONGEST))
