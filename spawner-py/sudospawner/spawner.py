"""SudoSpawner: starts, watches and stops servers as their users, for a Hub without root."""

from __future__ import annotations

import asyncio
import logging
import pwd
from collections.abc import AsyncIterator
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import default

from . import settings
from .account import add_account, collect_environment, refuse_name
from .certificates import create_for_nodes, pack
from .checking import check_once
from .choosing import Choosing
from .command import Command, SocketCall, make_command
from .descriptors import LEFT_BY_STARTS, require_descriptors
from .errors import MediatorError
from .failures import make_failure
from .identity import Liveness
from .launch_job import JobLaunch
from .launch_process import ProcessLaunch
from .look_up import find_account
from .mediator import call, limit_call
from .options import tell_of_unhandled_options
from .printable import escape_control_characters
from .profiles import may_have_profiles
from .progress import Progress
from .server_log import ServerLog, read_lines
from .settings import is_decided_by_root, warn_about_ignored_settings
from .start import Start
from .stopping import complain_if_alive, end_server
from .watch import Watch


class SudoSpawner(LocalProcessSpawner):
    """Starts each user's server through ``sudo -u USER sudospawner``, or as :attr:`mode` says.

    Subclasses can override :meth:`do`, :meth:`make_preexec_fn`, :meth:`relog_stderr`, and
    everything in LocalProcessSpawner except how it starts a process.
    """

    # What they mean is in settings.py.
    sudospawner_path = settings.SUDOSPAWNER_PATH
    mode = settings.MODE
    socket_path = settings.SOCKET_PATH
    sudo_args = settings.SUDO_ARGS
    mediator_log_level = settings.MEDIATOR_LOG_LEVEL
    wait_for_port = settings.WAIT_FOR_PORT
    check_on_start = settings.CHECK_ON_START

    @default("sudospawner_path")
    def _find_sudospawner(self) -> str:
        return settings.find_sudospawner()

    @default("options_form")
    def _find_options_form(self) -> Any:
        return self._choosing.make_form if may_have_profiles() else ""

    @default("options_from_form")
    def _find_options_from_form(self) -> Any:
        return self._choosing.read_form

    @default("apply_user_options")
    def _find_apply_user_options(self) -> Any:
        return tell_of_unhandled_options

    def __init__(self, **kwargs: Any) -> None:
        """Create a spawner without a server; takes the parameters of every spawner."""
        super().__init__(**kwargs)
        self._watch = Watch(self, self._tell)
        # Of the current start, or of the next one once the server has ended.
        self._progress = Progress()
        # The current start, or the last one; before the first, one that is not under way.
        self._latest_start = self._prepare_start()
        # What launches the server of that start.
        self._process_launch = ProcessLaunch(self, self._watch, self._tell)
        self._launch: ProcessLaunch | JobLaunch = self._process_launch
        # The user's account, as the current start has found it.
        self._account: pwd.struct_passwd | None = None
        # Where the server of that start is, until it is forgotten.
        self._address: tuple[str, int] | None = None
        self._choosing = Choosing(self)
        # Set when the server of the current start, or the last one, is forgotten.
        self._forgotten = asyncio.Event()
        self._stopping = False
        # What the server of the next start is to have as files.
        self._files: dict[str, str] = {}

    # --- Start ---

    async def start(self) -> tuple[str, int]:
        """Start the server and return its address: (ip, port).

        :raises SpawnException: (before JupyterHub 6 HTTPError) if it does not start; there is then
            neither a server nor a pid.
        """
        if self.check_on_start:
            check_once(self)
        self._forget_server()
        self._watch.forget_ending()
        self._progress = self._progress.renew()
        self._latest_start = self._prepare_start()
        try:
            await self._latest_start.carry_out(self._spawn())
            if self._address is None:
                raise MediatorError("start_given_up", "The server was stopped while it started.")
        except MediatorError as error:
            raise make_failure(error.code, error.sentence) from error
        finally:
            self._files = {}
        return self._address

    def _prepare_start(self) -> Start:
        has_hooks = is_decided_by_root(self.mode)
        return Start(self.start_timeout, self._progress, has_hooks=has_hooks, tell=self._tell)

    async def _spawn(self) -> None:
        require_descriptors(LEFT_BY_STARTS)  # Without any, no account would be found.
        time_left = self._latest_start.find_time_left()
        self._account = await find_account(self.user.name, time_left)
        offer = await self._choosing.find_offer()
        has_limits = offer.in_jobs or is_decided_by_root(self.mode)
        warn_about_ignored_settings(self, has_limits=has_limits)
        self._launch = self._process_launch
        if offer.in_jobs:
            self._launch = JobLaunch(self, self._watch, self._tell, offer, self._account)
        start = self._latest_start
        self._address = await self._launch.spawn(start, self._collect_env, self._files)

    def _collect_env(self) -> dict[str, str]:
        return collect_environment(self.get_env, self.user.name, self._account, self._warn)

    def user_env(self, env: dict[str, Any]) -> dict[str, Any]:
        """Add USER, HOME and SHELL.

        During a start, the account database has been asked, and the Hub does not wait for it. In
        root mode an account may be made at the start of its server: what is left out here, the
        mediator adds.
        """
        if self._latest_start.is_under_way:
            if self._account is None and is_decided_by_root(self.mode):
                return env
            return add_account(env, self.user.name, self._account)
        return super().user_env(env)

    def _take_event(self, event: dict[str, Any]) -> None:
        """Process an event that precedes the mediator's reply."""
        self._launch.take_event(event, self._latest_start)
        self._latest_start.take_event(event)

    def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the start's messages, and the server's own lines, until it is over."""
        return self._progress.follow(f"Starting the server as {self.user.name}")

    # --- Liveness and ending ---

    async def poll(self) -> int | None:
        """Return None while the server runs or starts, else how it ended.

        That is its exit status, the negated number of the signal that killed it, or 0 if unknown.
        Only systemd knows, of a server in a unit, and Slurm, of a server in a job.

        This calls sudo once when a server in a unit or a job has ended, and once if /proc hides a
        process that this Hub did not start. Slurm is asked about all jobs at once.
        """
        server = self._watch.server
        if self._latest_start.is_under_way or await self._signal(0):
            return None
        # If stop() is ending the server, do not ask how it ended.
        ending = await self._watch.find_ending(may_ask=not self._stopping)
        if self._latest_start.is_under_way or self._watch.has_another(server):
            return None  # The answer came late: another server has been started.
        self.clear_state()
        return ending.status

    async def _signal(self, sig: int) -> bool:
        """Send a signal to the server and return whether it was alive; 0 only checks."""
        if sig == 0:
            return await self._watch.look() is Liveness.ALIVE
        reply = await self.do("kill", signal=sig, **self._identify())
        return bool(reply.get("alive"))

    def _identify(self) -> dict[str, Any]:
        """Return the fields of a request that identify the server."""
        return self._watch.identify()

    # --- Stop ---

    async def stop(self, now: bool = False) -> None:
        """End the server and all that it left behind, even while it starts.

        :param now: skip SIGINT and begin with SIGTERM.
        :raises SpawnException: (before JupyterHub 6 HTTPError) if the call of the mediator fails.
        """
        await self._latest_start.give_up()
        self._stopping = True
        try:
            if await self._signal(0):
                by_signals = super().stop
                await end_server(self, self._watch, self._tell, by_signals, now=now)
        except MediatorError as error:
            await complain_if_alive(self._watch, self._tell)
            raise make_failure(error.code, error.sentence) from error
        finally:
            self._stopping = False
            self.clear_state()

    async def create_certs(self) -> dict[str, str]:
        """Make the server's certificate; if it runs in a job, for all nodes of the cluster."""
        if (await self._choosing.find_offer()).in_jobs:
            return await create_for_nodes(self, super().create_certs)
        return await super().create_certs()

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Return where the server will find the Hub's files: they are part of its request."""
        self._files, moved = pack(paths)
        return moved

    # --- State ---

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs: which process, unit or job the server is."""
        return {**super().get_state(), **self._watch.server.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load what get_state returned, or the pid that another LocalProcessSpawner stored."""
        super().load_state(state)
        self._watch.forget_ending()
        self._watch.load(state)

    def clear_state(self) -> None:
        """Forget the server, and what was told of its start."""
        super().clear_state()
        self._forget_server()
        self._progress = self._progress.renew()

    def _forget_server(self) -> None:
        self._watch.forget()
        self._address = None
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
        command = self._make_call(action, kwargs.get("server_name") or "", skip_sudo=skip_sudo)
        self._tell(logging.DEBUG, f"calling {command.place} for {action}")
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

    def _make_call(self, action: str, server_name: str, *, skip_sudo: bool) -> Command | SocketCall:
        if self.mode == "socket" and not skip_sudo:
            return SocketCall(self.socket_path, action, self.user.name)
        return make_command(
            action,
            self.user.name,
            program=self.sudospawner_path,
            mode=self.mode,
            sudo_args=None if skip_sudo else self.sudo_args,
            log_level=self.mediator_log_level,
            server_name=server_name,
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
