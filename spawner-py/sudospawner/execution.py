"""The mediator as a program that is executed, through sudo or without."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Callable

from .background import run_in_background
from .command import Command
from .complaints import explain_complaint
from .descriptors import TAKEN_BY_PROCESS, describe_shortage, require_descriptors
from .errors import MediatorError
from .pipes import Pipes
from .printable import escape_control_characters

log = logging.getLogger(__name__)

#: Seconds that a mediator has to end before SIGTERM, and again before SIGKILL.
GRACE = 5.0


class Program:
    """A running mediator, which is called by its command line."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, pipes: Pipes) -> None:
        """Use what :meth:`start` has started."""
        self._command = command
        self._process = process
        #: Its stdout and stderr.
        self.streams = pipes
        #: Done when the program has ended.
        self.ended: asyncio.Future[object] = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, command: Command, preexec_fn: Callable[[], None] | None) -> Program:
        """Start it.

        :param command: the command line, and the account that it is for.
        :param preexec_fn: called in the child before the program is executed.
        :raises MediatorError: if it cannot be executed.
        :raises OSError: if there are too few descriptors.
        """
        pipes = await Pipes.open()
        try:
            return cls(command, await _execute(command, pipes, preexec_fn), pipes)
        except BaseException:
            pipes.close()
            raise

    def send(self, request: bytes) -> None:
        """Write the request in the background."""
        self.streams.send(request)

    def describe_flood(self, limit: int) -> MediatorError:
        """Return the error for a program that writes more than a reply can have, in bytes."""
        return MediatorError(
            "reply_too_large",
            f"{self._command.program} wrote more than {limit} bytes without a reply."
            " Check that SudoSpawner.sudospawner_path names sudospawner and nothing else.",
        )

    def describe_silence(self, heard: str) -> MediatorError:
        """Return the error for a program that has given no reply.

        :param heard: the last lines of what it wrote.
        """
        status = self._process.returncode
        ended = "has not ended" if status is None else f"ended with status {status}"
        return MediatorError(
            "no_reply",
            f"{self._command.program} {ended} and gave no reply; it said: "
            f"{escape_control_characters(heard) or 'nothing'}. "
            f"Try by hand as {self._command.caller}: {self._command.trial}",
        )

    def describe_delay(self, time_limit: float) -> MediatorError:
        """Return the error for a call that reached its time limit, in seconds."""
        return MediatorError(
            "mediator_timeout",
            f"{self._command.program}, called for {self._command.target}, gave no reply within "
            f"{time_limit:.1f} seconds. Find out what it waits for (the account database, where a "
            f"directory service is slow; a network home) as {self._command.caller}: "
            f"time {self._command.trial}",
        )

    def explain(self, heard: str) -> MediatorError | None:
        """Return the error that sudo complains of, if it does.

        :param heard: what it wrote.
        """
        if not self._command.uses_sudo:
            return None
        complaint = explain_complaint(heard, self._command)
        return complaint and MediatorError(
            complaint.code, escape_control_characters(complaint.sentence)
        )

    def give_up(self) -> None:
        """Close all pipes and end the process, without waiting."""
        self.streams.close()
        self._signal("terminate")
        run_in_background(self._kill_after_grace())

    async def _kill_after_grace(self) -> None:
        await asyncio.wait({self.ended}, timeout=GRACE)
        self._signal("kill")

    def _signal(self, method: str) -> None:
        if self._process.returncode is not None:
            return
        try:
            getattr(self._process, method)()
        except ProcessLookupError:
            pass
        except PermissionError:
            # If sudo has nothing to do after the command, it becomes the command, and so another
            # account's process. Closing its pipes has to suffice.
            log.debug("may not %s process %d", method, self._process.pid)


async def _execute(
    command: Command, pipes: Pipes, preexec_fn: Callable[[], None] | None
) -> asyncio.subprocess.Process:
    try:
        # Now: asyncio would lose a process for which it has no descriptor.
        require_descriptors(TAKEN_BY_PROCESS)
        return await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=pipes.child_stdin,
            stdout=pipes.child_stdout,
            stderr=pipes.child_stderr,
            # Error messages are recognised in English only.
            env={**os.environ, "LC_ALL": "C", "LANGUAGE": ""},
            # sudo does not relay signals from its own process group, and Ctrl-C in the Hub's
            # terminal must not reach it.
            start_new_session=True,
            preexec_fn=preexec_fn,
        )
    except ValueError as error:
        raise MediatorError(
            "malformed_request",
            "A name of this user or server has characters that no command line can carry.",
        ) from error
    except OSError as error:
        if describe_shortage(error):
            raise
        remedy = (
            "Install sudo, and make sure that it is on the Hub's PATH."
            if command.uses_sudo
            else "Check SudoSpawner.sudospawner_path."
        )
        raise MediatorError(
            "sudo_missing" if command.uses_sudo else "mediator_missing",
            f"{command.argv[0]} could not be executed: {error.strerror}. {remedy}",
        ) from error
    finally:
        pipes.close_child_ends()
