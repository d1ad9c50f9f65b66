"""One call of the mediator: sends a request and returns the reply, or raises MediatorError.

Nothing here depends on JupyterHub. Every call ends within its time limit and uses a bounded amount
of memory, whatever the called program does. How it is called, by a command line or through a
socket, is in :mod:`.execution` and :mod:`.connection`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any, Callable

from .background import run_in_background
from .command import Command, SocketCall
from .connection import Connection
from .descriptors import (
    LEFT_BY_STARTS,
    TAKEN_BY_CALL,
    explained_shortage,
    require_descriptors,
)
from .errors import MediatorError
from .execution import GRACE, Program
from .printable import last_lines
from .reply import REPLY_LIMIT, ReplyParser
from .server_log import ServerLog

log = logging.getLogger(__name__)

#: The longest duration that a request may contain, in seconds.
LONGEST_WAIT = 3600.0

# Seconds that a call may take in addition to the waits in its request.
_CALL_LIMIT = 30.0
# Seconds after the end of a program to read what it wrote.
_LEFT_TO_READ = 2.0


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
    command: Command | SocketCall,
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
    relays, and SIGKILL after GRACE; or the connection is closed.

    :param command: how the mediator is called, and the account that it is for.
    :param request: the request, which is sent as JSON.
    :param time_limit: the time limit in seconds.
    :param relay_log: a coroutine function that receives stderr and reads it.
    :param on_event: called with each event that precedes the reply.
    :param forgotten: for a call that starts a server, whose log stderr then is: set when the Hub
        forgets the server. After an ``ok`` reply the process goes on, and stderr is read to its
        end, long after the call. GRACE after the server is forgotten, what is left of both ends.
    :param preexec_fn: called in the child before the program is executed, if one is.
    :raises MediatorError: if there is no reply.
    """
    began = asyncio.get_running_loop().time()
    channel: Program | Connection
    with explained_shortage():
        require_descriptors(TAKEN_BY_CALL if forgotten is None else LEFT_BY_STARTS)
        if isinstance(command, SocketCall):
            channel = await Connection.open(command, time_limit)
        else:
            channel = await Program.start(command, preexec_fn)
    conversation = _Conversation(channel, relay_log, on_event)
    channel.send(json.dumps(request).encode("ascii"))
    reading = asyncio.ensure_future(conversation.read_reply())
    try:
        passed = asyncio.get_running_loop().time() - began
        await asyncio.wait({reading}, timeout=max(0.0, time_limit - passed))
        if not reading.done():
            raise conversation.describe_delay(time_limit)
        reply = reading.result()
    except BaseException:
        reading.cancel()
        conversation.give_up()
        raise
    if forgotten is not None and reply["ok"]:
        run_in_background(conversation.leave_running(forgotten))
    else:
        run_in_background(conversation.end())
    return reply


class _Conversation:
    """What is said in one call, by whichever channel."""

    def __init__(
        self,
        channel: Program | Connection,
        relay_log: Callable[[ServerLog], Awaitable[None]],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._channel = channel
        self._streams = channel.streams
        self._parser = ReplyParser(on_event)
        self._relaying = run_in_background(_relay(self._streams.stderr, relay_log))

    async def read_reply(self) -> dict[str, Any]:
        """Return the reply from stdout.

        :raises MediatorError: if there is none; it says why.
        """
        reading = asyncio.ensure_future(self._read_stdout())
        try:
            ended = self._channel.ended
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
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
            chunk = await self._streams.stdout.read(64 * 1024)
            if not chunk:
                return
            self._parser.feed(chunk)
            if self._parser.reply is None and self._parser.is_exhausted:
                raise self._channel.describe_flood(REPLY_LIMIT)

    async def _describe_silence(self) -> MediatorError:
        await asyncio.wait({self._channel.ended, self._relaying}, timeout=_LEFT_TO_READ)
        heard = last_lines(f"{self._parser.tail}\n{self._streams.stderr.tail}", 6)
        return self._explain() or self._channel.describe_silence(heard)

    def describe_delay(self, time_limit: float) -> MediatorError:
        """Return the error for a call that reached its time limit."""
        return self._explain() or self._channel.describe_delay(time_limit)

    def _explain(self) -> MediatorError | None:
        return self._channel.explain(f"{self._streams.stderr.tail}\n{self._parser.tail}")

    def give_up(self) -> None:
        """Close all streams and end the call, without waiting."""
        self._channel.give_up()

    async def leave_running(self, forgotten: asyncio.Event) -> None:
        """Drain stdout and wait: a wrapper in place of the mediator may itself be the server.

        What still holds the pipes GRACE after the server is forgotten loses them: its user could
        keep it for ever, and so take a descriptor of the Hub's with each start.
        """
        draining = asyncio.ensure_future(self._streams.drain_stdout())
        forgetting = asyncio.ensure_future(forgotten.wait())
        ends = asyncio.wait({draining, self._channel.ended, self._relaying})
        ending = asyncio.ensure_future(ends)
        await asyncio.wait({ending, forgetting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({ending}, timeout=GRACE)
        for task in (draining, forgetting, ending):
            task.cancel()
        self.give_up()

    async def end(self) -> None:
        """End the call after its reply, unless it ends by itself within GRACE."""
        draining = asyncio.ensure_future(self._streams.drain_stdout())
        await asyncio.wait({self._channel.ended}, timeout=GRACE)
        await asyncio.wait({self._relaying}, timeout=_LEFT_TO_READ)
        draining.cancel()
        self.give_up()


async def _relay(stderr: ServerLog, relay_log: Callable[[ServerLog], Awaitable[None]]) -> None:
    try:
        await relay_log(stderr)
    except Exception:
        log.exception("the log of a server is no longer relayed")
    # The writer must not block or die because relay_log has stopped reading.
    await stderr.drain()
    stderr.close()
