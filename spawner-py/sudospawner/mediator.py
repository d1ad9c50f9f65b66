"""One call of the mediator: sends a request and returns the reply, or raises MediatorError.

Nothing here depends on JupyterHub. Every call ends within its time limit and uses a bounded amount
of memory, whatever the called program does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable
from typing import Any, Callable

from .command import Command
from .complaints import explain_complaint
from .descriptors import (
    LEFT_BY_STARTS,
    TAKEN_BY_CALL,
    TAKEN_BY_PROCESS,
    describe_shortage,
    explained_shortage,
    require_descriptors,
)
from .errors import MediatorError
from .pipes import Pipes
from .printable import escape_control_characters, last_lines
from .reply import REPLY_LIMIT, ReplyParser
from .server_log import ServerLog

log = logging.getLogger(__name__)

#: Seconds that a mediator has to end before SIGTERM, and again before SIGKILL.
GRACE = 5.0
#: The longest duration that a request may contain, in seconds.
LONGEST_WAIT = 3600.0

# Seconds that a call may take in addition to the waits in its request.
_CALL_LIMIT = 30.0
# Seconds after the end of a program to read what it wrote.
_LEFT_TO_READ = 2.0
# asyncio keeps only weak references to tasks.
_background: set[asyncio.Task[None]] = set()


def limit_wait(seconds: float) -> float:
    """Return a duration in seconds, limited to what a request may contain."""
    return max(0.0, min(float(seconds), LONGEST_WAIT))


def limit_call(request: dict[str, Any]) -> float:
    """Return the time limit in seconds of a call other than spawn."""
    waits = (request.get(f"{phase}_seconds", 0) for phase in ("interrupt", "term", "kill"))
    return _CALL_LIMIT + sum(waits)


async def read_and_forget(stderr: ServerLog) -> None:
    """Read stderr to its end and discard it: for callers that do not want the log."""
    await stderr.drain()


def ignore_event(event: dict[str, Any]) -> None:
    """Ignore an event: for callers that request none."""


async def call(
    command: Command,
    request: dict[str, Any],
    *,
    time_limit: float,
    relay_log: Callable[[ServerLog], Awaitable[None]] = read_and_forget,
    on_event: Callable[[dict[str, Any]], None] = ignore_event,
    forgotten: asyncio.Event | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Send one request to a mediator and return its reply, whether it is ``ok`` or not.

    The call returns when the reply arrives; sudo may close its session later. If the time limit
    passes or the awaiting task is cancelled, all pipes are closed and sudo gets SIGTERM, which it
    relays, and SIGKILL after GRACE.

    :param command: the command line, and the account that it is for.
    :param request: the request, which is written to stdin as JSON.
    :param time_limit: the time limit in seconds.
    :param relay_log: a coroutine function that receives stderr and reads it.
    :param on_event: called with each event that precedes the reply.
    :param forgotten: for a call that starts a server, whose log stderr then is: set when the Hub
        forgets the server. After an ``ok`` reply the process goes on, and stderr is read to its
        end, long after the call. GRACE after the server is forgotten, what is left of both ends.
    :param preexec_fn: called in the child before the program is executed.
    :raises MediatorError: if there is no reply.
    """
    with explained_shortage():
        require_descriptors(TAKEN_BY_CALL if forgotten is None else LEFT_BY_STARTS)
        pipes = await Pipes.open()
        try:
            process = await _start(command, pipes, preexec_fn)
        except BaseException:
            pipes.close()
            raise
    conversation = _Conversation(command, process, pipes, relay_log, on_event)
    pipes.send(json.dumps(request).encode("ascii"))
    reading = asyncio.ensure_future(conversation.read_reply())
    try:
        await asyncio.wait({reading}, timeout=time_limit)
        if not reading.done():
            raise conversation.describe_delay(time_limit)
        reply = reading.result()
    except BaseException:
        reading.cancel()
        conversation.give_up()
        raise
    if forgotten is not None and reply["ok"]:
        _run_in_background(conversation.leave_running(forgotten))
    else:
        _run_in_background(conversation.end())
    return reply


class _Conversation:
    """A running mediator."""

    def __init__(
        self,
        command: Command,
        process: asyncio.subprocess.Process,
        pipes: Pipes,
        relay_log: Callable[[ServerLog], Awaitable[None]],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._command = command
        self._process = process
        self._pipes = pipes
        self._parser = ReplyParser(on_event)
        self._exit = asyncio.ensure_future(process.wait())
        self._relaying = _run_in_background(_relay(pipes.stderr, relay_log))

    async def read_reply(self) -> dict[str, Any]:
        """Return the reply from stdout.

        :raises MediatorError: if there is none; it says why.
        """
        reading = asyncio.ensure_future(self._read_stdout())
        try:
            await asyncio.wait({reading, self._exit}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # It has ended, but another process holds its stdout: read what is in the pipe.
                await asyncio.wait({reading}, timeout=_LEFT_TO_READ)
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
        if self._parser.reply is None:
            self._parser.finish()
        if self._parser.reply is None:
            raise await self._describe_silence()
        return self._parser.reply

    async def _read_stdout(self) -> None:
        while self._parser.reply is None:
            chunk = await self._pipes.stdout.read(64 * 1024)
            if not chunk:
                return
            self._parser.feed(chunk)
            if self._parser.reply is None and self._parser.is_exhausted:
                raise MediatorError(
                    "reply_too_large",
                    f"{self._command.program} wrote more than {REPLY_LIMIT} bytes without a reply."
                    " Check that SudoSpawner.sudospawner_path names sudospawner and nothing else.",
                )

    async def _describe_silence(self) -> MediatorError:
        await asyncio.wait({self._exit, self._relaying}, timeout=_LEFT_TO_READ)
        status = self._process.returncode
        ended = "has not ended" if status is None else f"ended with status {status}"
        heard = last_lines(f"{self._parser.tail}\n{self._pipes.stderr.tail}", 6)
        return self._explain() or MediatorError(
            "no_reply",
            f"{self._command.program} {ended} and gave no reply; it said: "
            f"{escape_control_characters(heard) or 'nothing'}. "
            f"Try by hand as {self._command.caller}: {self._command.trial}",
        )

    def describe_delay(self, time_limit: float) -> MediatorError:
        """Return the error for a call that reached its time limit."""
        return self._explain() or MediatorError(
            "mediator_timeout",
            f"{self._command.program}, called for {self._command.target}, gave no reply within "
            f"{time_limit:.1f} seconds. Find out what it waits for (the account database, where a "
            f"directory service is slow; a network home) as {self._command.caller}: "
            f"time {self._command.trial}",
        )

    def _explain(self) -> MediatorError | None:
        if not self._command.uses_sudo:
            return None
        heard = f"{self._pipes.stderr.tail}\n{self._parser.tail}"
        complaint = explain_complaint(heard, self._command)
        return complaint and MediatorError(
            complaint.code, escape_control_characters(complaint.sentence)
        )

    def give_up(self) -> None:
        """Close all pipes and end the process, without waiting."""
        self._pipes.close()
        self._signal("terminate")
        _run_in_background(self._kill_after_grace())

    async def leave_running(self, forgotten: asyncio.Event) -> None:
        """Drain stdout and wait: a wrapper in place of the mediator may itself be the server.

        What still holds the pipes GRACE after the server is forgotten loses them: its user could
        keep it for ever, and so take a descriptor of the Hub's with each start.
        """
        draining = asyncio.ensure_future(self._pipes.drain_stdout())
        forgetting = asyncio.ensure_future(forgotten.wait())
        ending = asyncio.ensure_future(asyncio.wait({draining, self._exit, self._relaying}))
        await asyncio.wait({ending, forgetting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({ending}, timeout=GRACE)
        for task in (draining, forgetting, ending):
            task.cancel()
        self.give_up()

    async def end(self) -> None:
        """End the process after its reply, unless it ends by itself within GRACE."""
        draining = asyncio.ensure_future(self._pipes.drain_stdout())
        await asyncio.wait({self._exit}, timeout=GRACE)
        await asyncio.wait({self._relaying}, timeout=_LEFT_TO_READ)
        draining.cancel()
        self.give_up()

    async def _kill_after_grace(self) -> None:
        await asyncio.wait({self._exit}, timeout=GRACE)
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


async def _start(
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


async def _relay(stderr: ServerLog, relay_log: Callable[[ServerLog], Awaitable[None]]) -> None:
    try:
        await relay_log(stderr)
    except Exception:
        log.exception("the log of a server is no longer relayed")
    # The writer must not block or die because relay_log has stopped reading.
    await stderr.drain()
    stderr.close()


def _run_in_background(work: Awaitable[None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task
