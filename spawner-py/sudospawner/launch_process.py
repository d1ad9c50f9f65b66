"""Starts a server beside the Hub or in a unit of systemd's, on a port that is chosen here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner

from .ports import reserved_ports
from .process_server import ProcessServer
from .reply import get_error
from .settings import is_decided_by_root
from .start import Start
from .watch import Watch

# How many random ports a start tries, in case one is taken.
_PORT_TRIES = 3


class ProcessLaunch:
    """Starts the servers of one spawner where the policy has the launcher process or systemd."""

    def __init__(
        self, spawner: LocalProcessSpawner, watch: Watch, tell: Callable[[int, str], None]
    ) -> None:
        """Prepare for any number of starts.

        :param spawner: has the settings, ``port``, ``pid`` and ``do``.
        :param watch: watches the server.
        :param tell: logs a sentence; the first argument is a logging level.
        """
        self._spawner = spawner
        self._watch = watch
        self._tell = tell
        self._chosen_port = 0

    async def spawn(
        self,
        start: Start,
        collect_env: Callable[[], dict[str, str]],
        files: Mapping[str, str],
    ) -> tuple[str, int]:
        """Start the server and return its address.

        :param start: the start that this is part of.
        :param collect_env: returns the server's environment.
        :param files: the texts that it has as files, by their names.
        :raises MediatorError: if there is no reply.
        :raises SpawnException: (before JupyterHub 6 HTTPError) if no server has started.
        """
        with reserved_ports() as choose_port:
            return await self._spawn(start, collect_env, files, choose_port)

    async def _spawn(
        self,
        start: Start,
        collect_env: Callable[[], dict[str, str]],
        files: Mapping[str, str],
        choose_port: Callable[[], int],
    ) -> tuple[str, int]:
        spawner = self._spawner
        limits = self._find_limits()
        for _ in range(_PORT_TRIES):
            if spawner.port in (0, self._chosen_port):
                spawner.port = self._chosen_port = choose_port()
            start.forget_hooks()
            wait = {"port": spawner.port, "seconds": start.wait_seconds}
            reply = await spawner.do(
                action="spawn",
                args=spawner.get_args(),
                env=collect_env(),
                server_name=spawner.name,
                events=True,
                **({"wait": wait} if spawner.wait_for_port else {}),
                **({"limits": limits} if limits else {}),
                **({"files": files} if files else {}),
            )
            if reply.get("code") != "port_taken" or spawner.port != self._chosen_port:
                break
            self._tell(logging.WARNING, get_error(reply))
        if reply.get("code") == "home_unresponsive":
            # The kernel may keep the process, which never becomes a server.
            self._watch.forget()
        # No await between reply and pid: if the start is cancelled, the pid is known or the
        # server is undone.
        what = "pid that a process can have"
        start.take_reply(reply, limits.get("memory"), required="pid", what=what)
        start.succeed()
        if reply.get("listening") is False:
            sentence = f"it does not listen on port {spawner.port} yet; waiting for it to answer"
            self._tell(logging.WARNING, sentence)
        pid = reply["pid"]
        self._watch.follow(ProcessServer(spawner, pid, vouched_for=True, told=reply))
        spawner.pid = pid
        return spawner.ip or "127.0.0.1", spawner.port

    def _find_limits(self) -> dict[str, Any]:
        """Return the limits to request: none in user mode, where nothing enforces them.

        In root mode the mediator refuses limits that it cannot enforce or that exceed the policy.
        """
        if not is_decided_by_root(self._spawner.mode):
            return {}
        asked = {"memory": self._spawner.mem_limit, "cpus": self._spawner.cpu_limit}
        return {name: limit for name, limit in asked.items() if limit}

    def take_event(self, event: Mapping[str, Any], start: Start) -> None:
        """Process an event that precedes the mediator's reply."""
        if event["event"] == "started" and event.get("pid"):
            # Not ours until the reply says so, but remembered: if the start is given up and the
            # mediator does not end the process, stop() does.
            started = {"started": event.get("started")}
            pid = event["pid"]
            self._watch.follow(ProcessServer(self._spawner, pid, vouched_for=True, told=started))
            start.announce_server()
