"""Starts a server in a job of Slurm's, and believes its address only if Slurm says the same."""

from __future__ import annotations

import asyncio
import logging
import pwd
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner

from .command import CALLER
from .errors import MediatorError
from .failures import make_failure
from .job_news import describe_news
from .job_server import JobServer
from .jobs import JobReport, ask_slurm
from .look_up import find_uid
from .options import Choice
from .placeholders import replace_port_in_args, replace_port_in_env
from .printable import escape_control_characters
from .profiles import Offer
from .reply import get_error
from .start import Start
from .stopping import ask_to_stop
from .watch import Watch

# How often Slurm is asked about a new job if it does not answer, and the pause in seconds.
_TRIES = 3
_PAUSE = 1.0
# The ports that an account without rights can listen on.
_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535


class JobLaunch:
    """One start of a server where the policy has the launcher slurm."""

    def __init__(
        self,
        spawner: LocalProcessSpawner,
        watch: Watch,
        tell: Callable[[int, str], None],
        offer: Offer,
        account: pwd.struct_passwd | None,
    ) -> None:
        """Prepare a start.

        :param spawner: has the settings, ``user_options`` and ``do``.
        :param watch: watches the server.
        :param tell: logs a sentence; the first argument is a logging level.
        :param offer: the profiles that the user may choose.
        :param account: the user's account, or None if this machine did not know it before.
        """
        self._spawner = spawner
        self._watch = watch
        self._tell = tell
        self._offer = offer
        self._account = account
        self._limits: dict[str, int] = {}
        # What has been told: the job, its node, and the user's last line.
        self._job = self._host = self._line = ""

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
        :raises SpawnException: (before JupyterHub 6 HTTPError) if no server has started, or if
            Slurm does not say of its job what the mediator says.
        """
        spawner = self._spawner
        try:
            choice = Choice.read(spawner.user_options or {})
        except ValueError as error:
            raise make_failure("options_refused", str(error)) from error
        profile = self._offer.find(choice.profile)
        limits = choice.find_limits(profile, spawner.mem_limit, spawner.cpu_limit)
        memory = limits.get("memory") or (profile.memory if profile else None)
        self._limits = {"memory": memory} if memory else {}
        keep_ip = spawner.ip != type(spawner).ip.default_value
        reply = await spawner.do(
            action="spawn",
            args=replace_port_in_args(spawner.get_args(), spawner.port),
            env=replace_port_in_env(collect_env(), keep_ip=keep_ip),
            server_name=spawner.name,
            events=True,
            wait={"seconds": start.wait_seconds},
            **({"profile": choice.profile} if choice.profile else {}),
            **({"limits": limits} if limits else {}),
            **({"files": files} if files else {}),
        )
        # No await between reply and job: if the start is cancelled, the job is known or it is
        # cancelled, too.
        start.take_reply(reply, memory, required="job", what="job")
        self._follow(reply, is_ours=False)
        await self._verify(reply)
        self._follow(reply, is_ours=True)
        host, port = reply["host"], reply["port"]
        self._tell(logging.INFO, f"its job {reply['job']} listens on {host}, port {port}")
        start.announce("The server is up")
        start.succeed()
        return host, port

    def take_event(self, event: Mapping[str, Any], start: Start) -> None:
        """Process an event that precedes the mediator's reply."""
        if event["event"] != "job" or not event.get("job"):
            return
        job, host = event["job"], event.get("host") or ""
        if job != self._job:
            self._job = job
            # Not ours until the reply says so, but remembered: if the start is given up and the
            # mediator does not cancel the job, stop() does.
            self._follow(event, is_ours=False)
            self._tell(logging.INFO, f"its job is {job}")
        if event.get("state") == "RUNNING" and host and not self._host:
            self._host = host
            self._tell(logging.INFO, f"its job {job} runs on {escape_control_characters(host)}")
        line = describe_news(event, datetime.now())
        if line != self._line:
            self._line = line
            start.announce(line)

    def _follow(self, told: Mapping[str, Any], *, is_ours: bool) -> None:
        server = JobServer(
            self._spawner, {**told, "limits": self._limits}, is_new=True, is_ours=is_ours
        )
        self._watch.follow(server)

    async def _verify(self, reply: Mapping[str, Any]) -> None:
        """Raise a failure unless Slurm says of the job what the mediator says, and end it.

        In user mode the mediator is a process of the user's. Whatever address it names, the Hub's
        proxy would let the user reach it.
        """
        reason = await self._find_objection(reply)
        if reason is None:
            return
        try:
            stopped = await ask_to_stop(self._spawner, self._watch.server.identify(), now=True)
        except MediatorError as error:
            stopped = {"ok": False, "error": error.sentence}
        if stopped.get("ok"):
            self._watch.forget()
        else:
            self._tell(logging.WARNING, f"its job could not be ended: {get_error(stopped)}")
        raise make_failure("job_unverified", reason)

    async def _find_objection(self, reply: Mapping[str, Any]) -> str | None:
        """Return why the reply is not believed, for administrators and the user; None if it is."""
        job, host, port = reply["job"], reply.get("host") or "", reply.get("port") or 0
        if not host or not _LOWEST_PORT <= port <= _HIGHEST_PORT:
            return (
                f"The mediator says that job {job} listens on {host or 'no host'}, port {port}: no "
                "server of a user's can."
            )
        uid = self._account.pw_uid if self._account else await find_uid(self._spawner.user.name)
        if uid is None:
            return (
                f"Whose job {job} is cannot be known, since the account database of this machine "
                f"has no account named {self._spawner.user.name}."
            )
        try:
            report = await self._ask(job)
        except MediatorError as error:
            return f"Slurm could not be asked whether job {job} is the server's: {error.sentence}"
        if report is None:
            return (
                f"Slurm does not show job {job} to {CALLER}, the Hub's account, which cannot know "
                "then whether the address is the server's. If Slurm has PrivateData=jobs, give the "
                f"account operator rights: sacctmgr modify user {shlex.quote(CALLER)} set "
                "AdminLevel=Operator"
            )
        started = reply.get("started") or ""
        told = (uid, "RUNNING", host, started)
        if started and told == (report.uid, report.state, report.address, report.started):
            return None
        return (
            f"Slurm and the mediator disagree about job {job}. The mediator: uid {uid}, RUNNING on "
            f"{host}, {started}. Slurm: uid {report.uid}, {report.state} on {report.address}, "
            f"{report.started}."
        )

    async def _ask(self, job: str) -> JobReport | None:
        """Return what Slurm says of the job, None if it does not show it.

        :raises MediatorError: if it does not answer.
        """
        program = self._spawner.sudospawner_path
        for _ in range(_TRIES - 1):
            try:
                return (await ask_slurm(program, [job], "--address")).get(job)
            except MediatorError as error:
                self._tell(logging.WARNING, f"its job is not known yet: {error.sentence}")
            await asyncio.sleep(_PAUSE)
        return (await ask_slurm(program, [job], "--address")).get(job)
