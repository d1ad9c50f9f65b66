"""The class's calls of the mediator, and what becomes of the log that they bring."""

from __future__ import annotations

import asyncio
from typing import Any, Callable

from tornado.iostream import StreamClosedError

from . import settings
from .complaints import Command
from .configuration import ConfiguredSpawner
from .mediator import call
from .printable import escape_control_characters
from .server_log import ServerLog

# Seconds that a call other than spawn may take beside what it waits for.
_CALL_LIMIT = 30.0


class CallingSpawner(ConfiguredSpawner):
    """Talks to the mediator of one user."""

    _start_deadline = 0.0

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
            # Root reads no request: what it needs for a stop, whatever becomes of the process that
            # reads it, is said here too.
            argv += [f"--user={self.user.name}", f"--action={action}"]
            if kwargs.get("server_name"):
                argv.append(f"--server-name={kwargs['server_name']}")
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
            end, and ``closed()``. Lines of more than 16 KiB come in pieces; of a flood of lines
            most are left out, and a line says how many.
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

    def _take_event(self, event: dict[str, Any]) -> None:
        """Take what the mediator tells of before its reply: only starts have such."""
