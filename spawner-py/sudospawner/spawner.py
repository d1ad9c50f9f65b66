"""SudoSpawner: starts, watches and stops servers as their users, from a Hub without root."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from tornado.iostream import StreamClosedError
from traitlets import Bool, Enum, List, Unicode, default

from . import settings
from .checking import check_once
from .complaints import Command
from .failures import make_failure
from .hooks import Hook
from .identity import Liveness, ServerProcess
from .mediator import GRACE, MediatorError, call
from .printable import escape_control_characters
from .progress import StartNews
from .server_log import ServerLog

# Seconds that a call other than spawn may take beside what it waits for.
_CALL_LIMIT = 30.0
# How often another port is tried when one that was chosen at random turns out to be taken.
_PORT_TRIES = 3
# The longest duration that the mediator takes, in seconds.
_LONGEST = 3600.0


class SudoSpawner(LocalProcessSpawner):
    """Starts each user's server through ``sudo -u USER sudospawner``, or as :attr:`mode` says.

    What can be overridden in subclasses: :meth:`do`, :meth:`make_preexec_fn`,
    :meth:`relog_stderr`, and everything that LocalProcessSpawner offers except its own way of
    starting a process.
    """

    sudospawner_path = Unicode(
        config=True,
        help="""The path of the mediator, exactly as sudoers names it.

        By default the `sudospawner` that PATH finds, else the one beside the Hub's Python.
        """,
    )
    mode = Enum(
        ["user", "root"],
        "user",
        config=True,
        help="""Who the mediator is called as.

        "user": `sudo -u USER sudospawner`; sudoers decides who may have a server.

        "root": `sudo sudospawner --user=USER`; /etc/sudospawner/policy.toml decides, and root runs
        the hooks of that policy before the server starts. Needs the policy, and the rule
        `sudospawner-root-mode` in sudoers.
        """,
    )
    sudo_args = List(
        ["-nH"],
        config=True,
        help='Arguments for sudo itself, beside `-u USER` where the mode is "user".',
    )
    mediator_log_level = Unicode(
        "INFO",
        config=True,
        help="How much the mediator logs: debug, info, warning, error or none.",
    )
    wait_for_port = Bool(
        True,
        config=True,
        help="""Whether a start waits until the server listens on its port.

        The server's end while it waits fails the start at once, with its last lines of output;
        and a port that another account has taken is noticed. Turn it off where
        `sudospawner-singleuser` is a wrapper round a container or a remote machine, whose socket
        does not belong to the user's account here.
        """,
    )

    check_on_start = Bool(
        False,
        config=True,
        help="""Whether `sudospawner check` is run once when the Hub starts, and logged.

        A problem is an error in the Hub's log, with the command that mends it. The Hub starts in
        any case, and does not wait.
        """,
    )

    @default("sudospawner_path")
    def _find_sudospawner(self) -> str:
        beside_python = os.path.join(os.path.dirname(sys.executable), "sudospawner")
        return shutil.which("sudospawner") or shutil.which(beside_python) or "sudospawner"

    # The process of `pid`, or one that the mediator has started and not reported in a reply yet.
    _watched: ServerProcess | None = None
    _starting: asyncio.Task[None] | None = None
    _start_deadline = 0.0
    _news: StartNews | None = None
    # What became of the hooks of the spawn that is under way.
    _hooks: tuple[Hook, ...] = ()
    _chosen_port = 0

    # --- Talking to the mediator ---

    async def do(self, action: str, **kwargs: Any) -> dict[str, Any]:
        """Have the mediator carry out one request, and return its reply, be it ``ok`` or not.

        :param action: ``spawn``, ``kill``, ``stop`` or ``status``.
        :param kwargs: the other fields of the request. ``_skip_sudo=True`` calls the mediator
            without sudo, as the Hub's own account: for tests of subclasses.
        :raises MediatorError: (a RuntimeError) if there is no reply.
        """
        skip_sudo = kwargs.pop("_skip_sudo", False)
        settings.refuse_name(self.user.name)
        runas, argv = self.user.name, ["sudo", "-u", self.user.name]
        if self.mode == "root":
            runas, argv = "root", ["sudo"]
        argv = [] if skip_sudo else [*argv, *self.sudo_args]
        argv.append(self.sudospawner_path)
        if self.mode == "root":
            argv.append(f"--user={self.user.name}")
        if self.mediator_log_level:
            argv.append(f"--logging={self.mediator_log_level}")
        self.log.debug("%s: calling %s for %s", self._log_name, argv, action)
        return await call(
            Command(tuple(argv), self.sudospawner_path, self.user.name, runas),
            {**kwargs, "action": action},
            time_limit=self._limit_call(action, kwargs),
            relay_log=self.relog_stderr,
            on_event=self._take_event,
            outlives_call=action == "spawn",
            preexec_fn=self.make_preexec_fn(),
        )

    def make_preexec_fn(self) -> Callable[[], None] | None:
        """Return what is to be called in the child before sudo is executed: by default nothing."""
        return None

    async def relog_stderr(self, stderr: ServerLog) -> None:
        """Write the mediator's stderr, which becomes the server's log, to the Hub's log.

        :param stderr: has ``await read_until(b"\\n")``, which raises StreamClosedError at the
            end, and ``closed()``. Lines of more than 16 KiB come in pieces.
        """
        while not stderr.closed():
            try:
                line = await stderr.read_until(b"\n")
            except StreamClosedError:
                return
            text = escape_control_characters(line.decode("utf-8", "replace").rstrip("\r\n"))
            if text:
                self.log.info("%s: %s", self._log_name, text)

    def _limit_call(self, action: str, fields: dict[str, Any]) -> float:
        if action == "spawn":
            left = self._start_deadline - asyncio.get_running_loop().time()
            return left if left > 0 else self.start_timeout
        waits = (fields.get(f"{phase}_seconds", 0) for phase in ("interrupt", "term", "kill"))
        return _CALL_LIMIT + sum(waits)

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
            )
            if reply.get("code") != "port_taken" or self.port != self._chosen_port:
                break
            self.log.warning("%s: %s", self._log_name, _get_error(reply))
        # Nothing is awaited from the reply to the pid: whoever cancels, it is known or undone.
        self._take_server(reply)

    def _take_server(self, reply: dict[str, Any]) -> None:
        # Those that no event has told of.
        for told in (reply.get("hooks") or [])[len(self._hooks) :]:
            self._take_hook(Hook.read(told))
        if not reply.get("ok"):
            code = str(reply.get("code", "spawn_failed"))
            last_words = str(reply.get("stderr") or "")
            if code == "hook_failed" and self._hooks:
                last_words = self._hooks[-1].output
            raise make_failure(code, _get_error(reply), last_words)
        pid = reply.get("pid")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
            raise make_failure("no_reply", f"The mediator reported no pid but {pid!r}.")
        self._watch(pid, str(reply.get("started") or ""), vouched_for=True)
        self.pid = pid
        if reply.get("listening") is False:
            self.log.warning(
                "%s does not listen on port %d yet; waiting for it to answer",
                self._log_name,
                self.port,
            )

    def _take_hook(self, hook: Hook) -> None:
        if self._news is not None:
            self._news.announce(hook.describe())
        if hook.is_over:
            self._hooks += (hook,)
            log = self.log.info if hook.succeeded else self.log.warning
            log("%s: %s", self._log_name, hook.describe())

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "hook":
            self._take_hook(Hook.read(event))
        pid = event.get("pid")
        if event["event"] == "started" and isinstance(pid, int) and pid > 0:
            # Not ours until the reply says so, but remembered: if the start is given up and the
            # mediator does not end it, stop() does.
            self._watch(pid, str(event.get("started") or ""), vouched_for=True)
            if self._news is not None:
                self._news.announce(f"Process {pid} has started, waiting for it to listen")

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is known of the start while it lasts."""
        yield {"progress": 10, "message": f"Starting the server as {self.user.name}"}
        if self._news is not None:
            async for message in self._news.follow():
                yield {"progress": 50, "message": message}

    # --- Watching ---

    async def poll(self) -> int | None:
        """Return None while the server runs or starts, else 0.

        sudo is called only where /proc hides a process that this Hub has not seen start: once.
        """
        if self._starting is not None or await self._signal(0):
            return None
        self.clear_state()
        return 0

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
            # Not known is not dead: the Hub would start a second server beside it.
            self.log.error("%s: does process %d live? %s", self._log_name, server.pid, error)
            return Liveness.ALIVE
        if not reply.get("alive"):
            return Liveness.GONE
        server.started = server.started or str(reply.get("started") or "")
        server.vouch()
        return Liveness.ALIVE

    def _watch(self, pid: int, started: str, *, vouched_for: bool) -> None:
        self._forget_server()
        self._watched = ServerProcess(pid, started, vouched_for=vouched_for)

    def _forget_server(self) -> None:
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    def _identify(self) -> dict[str, Any]:
        """Return the fields of a request that name the server."""
        server = self._watched
        pid = self.pid or (server.pid if server else 0)
        known = server is not None and server.pid == pid and server.started
        return {"pid": pid, "started": server.started} if known else {"pid": pid}

    # --- Stop ---

    async def stop(self, now: bool = False) -> None:
        """End the server and all that it left behind; also one whose start is under way.

        :param now: leave out SIGINT and begin with SIGTERM.
        """
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting}, timeout=GRACE)
        try:
            if await self._look() is Liveness.ALIVE:
                await self._end_server(now)
        except MediatorError as error:
            raise make_failure(error.code, error.sentence) from error
        finally:
            self.clear_state()

    async def _end_server(self, now: bool) -> None:
        try:
            reply = await self.do(
                "stop",
                server_name=self.name,
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
            self.log.warning("%s: stop failed: %s", self._log_name, _get_error(reply))
            await super().stop(now)
        elif reply.get("alive"):
            self.log.error("%s: its process never died", self._log_name)
        elif reply.get("leftovers_killed"):
            self.log.info(
                "%s left %s processes behind, which were ended",
                self._log_name,
                reply["leftovers_killed"],
            )

    # --- State ---

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs: the pid, and which process that is."""
        state = super().get_state()
        identity = self._identify()
        if self.pid and "started" in identity:
            state["started"] = identity["started"]
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what get_state returned, or what another LocalProcessSpawner did: a pid."""
        super().load_state(state)
        if self.pid:
            self._watch(self.pid, state.get("started", ""), vouched_for=False)

    def clear_state(self) -> None:
        """Forget the server."""
        super().clear_state()
        self._forget_server()

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Refuse: only start() could, and it refuses too."""
        settings.refuse_internal_ssl(self)
        return paths


def _get_error(reply: dict[str, Any]) -> str:
    return str(reply.get("error") or "the mediator gave no reason")


def _limit_wait(seconds: int) -> float:
    return max(0.0, min(float(seconds), _LONGEST))
