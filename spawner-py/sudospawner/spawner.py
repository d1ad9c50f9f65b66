"""SudoSpawner: starts, watches and stops servers as their users, for a Hub without root."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import sys
from collections.abc import AsyncIterator
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Bool, Enum, List, Unicode, default

from .account import add_account, collect_environment, refuse_name
from .checking import check_once
from .command import make_command
from .descriptors import LEFT_BY_STARTS, require_descriptors
from .errors import MediatorError
from .failures import make_failed_start, make_failure
from .identity import Liveness
from .look_up import find_account
from .mediator import call, limit_call
from .printable import escape_control_characters
from .progress import Progress
from .reply import get_error
from .server_log import ServerLog, read_lines
from .settings import refuse_internal_ssl, warn_about_ignored_settings
from .start import Start
from .stopping import ask_to_stop, describe_survivor
from .watch import Watch

# How many random ports a start tries, in case one is taken.
_PORT_TRIES = 3


class SudoSpawner(LocalProcessSpawner):
    """Starts each user's server through ``sudo -u USER sudospawner``, or as :attr:`mode` says.

    Subclasses can override :meth:`do`, :meth:`make_preexec_fn`, :meth:`relog_stderr`, and
    everything in LocalProcessSpawner except how it starts a process.
    """

    sudospawner_path = Unicode(
        config=True,
        help="""The path of the mediator, exactly as in sudoers.

        The default is the `sudospawner` on PATH, else the one beside the Hub's Python.
        """,
    )
    mode = Enum(
        ["user", "root"],
        "user",
        config=True,
        help="""The account that the mediator is called as.

        "user": `sudo -u USER sudospawner`; sudoers decides who may have a server.

        "root": `sudo sudospawner --user=USER`; /etc/sudospawner/policy.toml decides, and root runs
        the policy's hooks before the server starts. This needs the policy, and the rule
        `sudospawner-root-mode` in sudoers. With the systemd launcher in the policy, `mem_limit` and
        `cpu_limit` limit the server's unit; they cannot exceed the policy's limits.
        """,
    )
    sudo_args = List(
        ["-nH"],
        config=True,
        help='Arguments for sudo itself, in addition to `-u USER` in mode "user".',
    )
    mediator_log_level = Unicode(
        "INFO",
        config=True,
        help="The log level of the mediator: debug, info, warning, error or none.",
    )
    wait_for_port = Bool(
        True,
        config=True,
        help="""Whether a start waits until the server listens on its port.

        If the server ends while the start waits, the start fails at once, with the server's last
        lines of output. A port that another account has taken is also detected. Turn this off if
        `sudospawner-singleuser` is a wrapper around a container or a remote machine, where the
        server's socket does not belong to the user's account on this machine.
        """,
    )
    check_on_start = Bool(
        False,
        config=True,
        help="""Whether to run `sudospawner check` once when the Hub starts, and log its findings.

        A problem is logged as an error, with the command that fixes it. The Hub starts in any case
        and does not wait for the check.
        """,
    )

    @default("sudospawner_path")
    def _find_sudospawner(self) -> str:
        beside_python = os.path.join(os.path.dirname(sys.executable), "sudospawner")
        return shutil.which("sudospawner") or shutil.which(beside_python) or "sudospawner"

    def __init__(self, **kwargs: Any) -> None:
        """Create a spawner without a server; takes the parameters of every spawner."""
        super().__init__(**kwargs)
        self._watch = Watch(self._ask_status, self._tell, self._tell_user)
        # Of the current start, or of the next one once the server has ended.
        self._progress = Progress()
        # The current start, or the last one; before the first, one that is not under way.
        self._latest_start = self._prepare_start()
        # The user's account, as the current start has found it.
        self._account: pwd.struct_passwd | None = None
        # Set when the server of the current start, or the last one, is forgotten.
        self._forgotten = asyncio.Event()
        self._chosen_port = 0
        self._stopping = False

    # --- Start ---

    async def start(self) -> tuple[str, int]:
        """Start the server and return its address: (ip, port).

        :raises SpawnException: (before JupyterHub 6 HTTPError) if it does not start; there is then
            neither a server nor a pid.
        """
        refuse_internal_ssl(self.internal_ssl)
        warn_about_ignored_settings(self, self.mode)
        if self.check_on_start:
            check_once(self.sudospawner_path, self.mode, self.log)
        self._forget_server()
        self._watch.forget_ending()
        self._progress = self._progress.renew()
        self._latest_start = self._prepare_start()
        try:
            await self._latest_start.carry_out(self._spawn())
            if not self.pid:
                raise MediatorError("start_given_up", "The server was stopped while it started.")
        except MediatorError as error:
            raise make_failure(error.code, error.sentence) from error
        return self.ip or "127.0.0.1", self.port

    def _prepare_start(self) -> Start:
        has_hooks = self.mode == "root"
        return Start(self.start_timeout, self._progress, has_hooks=has_hooks, tell=self._tell)

    async def _spawn(self) -> None:
        require_descriptors(LEFT_BY_STARTS)  # Without any, no account would be found.
        time_left = self._latest_start.find_time_left()
        self._account = await find_account(self.user.name, time_left)
        for _ in range(_PORT_TRIES):
            if self.port in (0, self._chosen_port):
                self.port = self._chosen_port = random_port()
            self._latest_start.forget_hooks()
            wait = {"port": self.port, "seconds": self._latest_start.wait_seconds}
            limits = self._find_limits()
            reply = await self.do(
                action="spawn",
                args=self.get_args(),
                env=collect_environment(self.get_env, self.user.name, self._account, self._warn),
                server_name=self.name,
                events=True,
                **({"wait": wait} if self.wait_for_port else {}),
                **({"limits": limits} if limits else {}),
            )
            if reply.get("code") != "port_taken" or self.port != self._chosen_port:
                break
            self._warn(get_error(reply))
        if reply.get("code") == "home_unresponsive":
            # The kernel may keep the process, which never becomes a server.
            self._watch.forget()
        # No await between reply and pid: if the start is cancelled, the pid is known or the
        # server is undone.
        self._latest_start.take_reply(reply, self.port, self._find_limits().get("memory"))
        self._watch.follow(reply["pid"], reply.get("started") or "", vouched_for=True)
        self._watch.keep_unit(reply)
        self.pid = reply["pid"]

    def user_env(self, env: dict[str, Any]) -> dict[str, Any]:
        """Add USER, HOME and SHELL.

        During a start, the account database has been asked, and the Hub does not wait for it.
        """
        if self._latest_start.is_under_way:
            return add_account(env, self.user.name, self._account)
        return super().user_env(env)

    def _find_limits(self) -> dict[str, Any]:
        """Return the limits to request: none in user mode, where nothing enforces them.

        In root mode the mediator refuses limits that it cannot enforce or that exceed the policy.
        """
        asked = {"memory": self.mem_limit, "cpus": self.cpu_limit}
        return {name: limit for name, limit in asked.items() if limit and self.mode == "root"}

    def _take_event(self, event: dict[str, Any]) -> None:
        """Process an event that precedes the mediator's reply."""
        if event["event"] == "started" and event.get("pid"):
            # Not ours until the reply says so, but remembered: if the start is given up and the
            # mediator does not end the process, stop() does.
            self._watch.follow(event["pid"], event.get("started") or "", vouched_for=True)
        self._latest_start.take_event(event)

    def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the start's messages, and the server's own lines, until it is over."""
        return self._progress.follow(f"Starting the server as {self.user.name}")

    # --- Liveness and ending ---

    async def poll(self) -> int | None:
        """Return None while the server runs or starts, else how it ended.

        That is its exit status, the negated number of the signal that killed it, or 0 if unknown.
        Only systemd knows, and only of a server in a unit.

        This calls sudo once when a server in a unit has ended, and once if /proc hides a process
        that this Hub did not start.
        """
        pid = self.pid
        if self._latest_start.is_under_way or await self._signal(0):
            return None
        # If stop() is ending the server, do not ask how it ended.
        ending = await self._watch.find_ending(self._identify(), may_ask=not self._stopping)
        if self._latest_start.is_under_way or self.pid not in (0, pid):
            return None  # The answer came late: another server has been started.
        self.clear_state()
        return ending.status

    async def _signal(self, sig: int) -> bool:
        """Send a signal to the server and return whether it was alive; 0 only checks."""
        if sig == 0:
            return await self._look() is Liveness.ALIVE
        reply = await self.do("kill", signal=sig, **self._identify())
        return bool(reply.get("alive"))

    async def _look(self) -> Liveness:
        """Return whether the server is alive; asks the mediator only if /proc hides it."""
        liveness = await self._watch.look(self.pid, self.user.name)
        return await self._watch.ask(self._identify()) if liveness is Liveness.HIDDEN else liveness

    async def _ask_status(self, fields: dict[str, Any]) -> dict[str, Any]:
        return await self.do("status", **fields)

    def _tell_user(self, sentence: str) -> None:
        """Make the Hub's page of a stopped server say why it stopped.

        The page shows the error of the last start, and then only the user can start the server
        again. The Hub offers no other way to show a message there.
        """
        if self._spawn_future is None:
            self._spawn_future = make_failed_start("server_killed", sentence)

    def _identify(self) -> dict[str, Any]:
        """Return the fields of a request that identify the server."""
        # User mode has no units, even if the state has one from a time in root mode.
        fields = self._watch.identify(self.pid, by_unit=self.mode == "root")
        return {**fields, "server_name": self.name}

    # --- Stop ---

    async def stop(self, now: bool = False) -> None:
        """End the server and all that it left behind, even while it starts.

        :param now: skip SIGINT and begin with SIGTERM.
        :raises SpawnException: (before JupyterHub 6 HTTPError) if the call of the mediator fails.
        """
        await self._latest_start.give_up()
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
        reply = await ask_to_stop(self, self._identify(), now=now)
        if not reply.get("ok"):
            # A wrapper around a mediator that supports only spawn and kill.
            self._warn(f"stop failed: {get_error(reply)}")
            await super().stop(now)
        if not reply.get("ok") or reply.get("alive"):
            await self._complain_if_alive()
        elif reply.get("leftovers_killed"):
            count = reply["leftovers_killed"]
            self._tell(logging.INFO, f"its server left {count} processes, which were ended")

    async def _complain_if_alive(self) -> None:
        """Log an error if the server is still alive: the Hub now forgets it."""
        if await self._look() is Liveness.ALIVE:
            fields = self._identify()
            self._tell(logging.ERROR, describe_survivor(fields["pid"], fields.get("unit", "")))

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Refuse internal_ssl, as start() does."""
        refuse_internal_ssl(self.internal_ssl)
        return paths

    # --- State ---

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs: the pid, the process's identity, and its unit."""
        state = super().get_state()
        return {**state, **self._watch.get_state(self.pid)} if self.pid else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Load what get_state returned, or the pid that another LocalProcessSpawner stored."""
        super().load_state(state)
        self._watch.forget_ending()
        if self.pid:
            self._watch.follow(self.pid, state.get("started", ""), vouched_for=False)
            self._watch.keep_unit(state)

    def clear_state(self) -> None:
        """Forget the server, and what was told of its start."""
        super().clear_state()
        self._forget_server()
        self._progress = self._progress.renew()

    def _forget_server(self) -> None:
        self._watch.forget()
        self._forgotten.set()
        self._forgotten = asyncio.Event()

    # --- The mediator ---

    async def do(self, action: str, **kwargs: Any) -> dict[str, Any]:
        """Send one request to the mediator and return its reply, whether it is ``ok`` or not.

        :param action: ``spawn``, ``kill``, ``stop`` or ``status``.
        :param kwargs: the other fields of the request. ``_skip_sudo=True`` calls the mediator
            without sudo, as the Hub's own account, for tests of subclasses.
        :raises MediatorError: (a RuntimeError) if there is no reply.
        """
        skip_sudo = kwargs.pop("_skip_sudo", False)
        refuse_name(self.user.name)
        command = make_command(
            action,
            self.user.name,
            program=self.sudospawner_path,
            mode=self.mode,
            sudo_args=None if skip_sudo else self.sudo_args,
            log_level=self.mediator_log_level,
            server_name=kwargs.get("server_name") or "",
        )
        self._tell(logging.DEBUG, f"calling {list(command.argv)} for {action}")
        is_spawn = action == "spawn"
        return await call(
            command,
            {**kwargs, "action": action},
            time_limit=self._latest_start.find_time_left() if is_spawn else limit_call(kwargs),
            relay_log=self._relay_log if is_spawn else self.relog_stderr,
            on_event=self._take_event,
            forgotten=self._forgotten if is_spawn else None,
            preexec_fn=self.make_preexec_fn(),
        )

    def make_preexec_fn(self) -> Callable[[], None] | None:
        """Return a function to call in the child before sudo is executed: by default None."""
        return None

    async def _relay_log(self, stderr: ServerLog) -> None:
        """Relay a server's log, and look whether the server has ended when the log has.

        Until the Hub notices the end, it takes for the server what listens on the port: by then,
        perhaps a process of another account. Later it looks every `poll_interval`.
        """
        await self.relog_stderr(stderr)
        if self.pid and self.poll_interval > 0 and not self.pending:
            await self.poll_and_notify()

    async def relog_stderr(self, stderr: ServerLog) -> None:
        """Write the mediator's stderr, which becomes the server's log, to the Hub's log.

        During a start, the server's user sees the lines on the page, too.

        :param stderr: has ``await read_until(b"\\n")``, which raises StreamClosedError at the
            end, and ``closed()``. Lines of more than 16 KiB come in pieces. Most lines of a flood
            are dropped, and a line says how many.
        """
        progress = self._progress
        async for line in read_lines(stderr):
            self._tell(logging.INFO, line)
            progress.take_line(line)

    def _tell(self, level: int, sentence: str) -> None:
        """Write a sentence about this server to the Hub's log, at a logging level."""
        # JupyterHub before 6 lets users choose any name for a server.
        self.log.log(level, "%s: %s", escape_control_characters(self._log_name), sentence)

    def _warn(self, sentence: str) -> None:
        self._tell(logging.WARNING, sentence)
