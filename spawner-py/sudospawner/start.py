"""One start of a server: how long it may take, and what becomes known of it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

from tornado.web import HTTPError

from .ending import Ending
from .failures import make_failure
from .hooks import Hook
from .mediator import GRACE, LONGEST_WAIT, MediatorError
from .reply import get_error


class Start:
    """One start of a server, with news that any number of watchers follow from its beginning.

    It is under way while :meth:`carry_out` is, and over before and after.
    """

    def __init__(self, start_timeout: float = 0.0) -> None:
        """Prepare a start.

        :param start_timeout: seconds after which the Hub gives it up.
        """
        self._start_timeout = start_timeout
        # Just under the Hub's own limit, so that the failure has our words.
        self._limit = start_timeout - min(3.0, 0.05 * start_timeout)
        self._deadline = 0.0
        self._task: asyncio.Task[None] | None = None
        #: What became of the hooks that have ended.
        self.hooks: tuple[Hook, ...] = ()
        self._messages: list[str] = []

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and is not over."""
        return self._task is not None

    @property
    def wait_seconds(self) -> float:
        """How long the mediator may wait until the server listens."""
        return min(0.85 * self._limit, LONGEST_WAIT)

    def find_time_left(self) -> float:
        """Return the seconds until it is given up: not more than 0 if it is not under way."""
        return self._deadline - asyncio.get_running_loop().time()

    async def carry_out(self, work: Awaitable[None]) -> None:
        """Have the work of the start done, within its time.

        Returns as well if :meth:`give_up` ended it.

        :raises MediatorError: if the work raises it, or takes too long.
        """
        self._deadline = asyncio.get_running_loop().time() + self._limit
        self._changed = asyncio.Event()
        task = self._task = asyncio.ensure_future(work)
        try:
            # A little longer than the call's own limit, which has the better words.
            await asyncio.wait({task}, timeout=0.3 * self._limit + 0.7 * self._start_timeout)
            if not task.done():
                raise MediatorError(
                    "start_timeout", f"The server was not up in {self._limit:.0f} s."
                )
            if not task.cancelled():
                task.result()
        finally:
            # Also when the Hub cancels us: the pipes are closed and sudo is ended with the task.
            await self.give_up()
            self._task = None
            self._wake_watchers()

    async def give_up(self) -> None:
        """Cancel the work if it is under way, and wait a little until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=GRACE)

    # --- What becomes known of it ---

    def take_hook(self, told: Mapping[str, Any]) -> Hook:
        """Take what an event or a reply tells of a hook, and tell all watchers."""
        hook = Hook.read(told)
        self.announce(hook.describe())
        if hook.is_over:
            self.hooks += (hook,)
        return hook

    def announce(self, message: str) -> None:
        """Tell all watchers while it is under way; the message is one line of text."""
        if self.is_under_way:
            self._messages.append(message)
            self._wake_watchers()

    async def follow(self) -> AsyncIterator[str]:
        """Yield every message, those of before too, until the start is over."""
        shown = 0
        while self.is_under_way or shown < len(self._messages):
            if shown == len(self._messages):
                await self._changed.wait()
            for message in self._messages[shown:]:
                shown += 1
                yield message

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def make_failure(self, reply: Mapping[str, Any], memory: int | None) -> HTTPError:
        """Make the exception for a reply that is not ``ok``.

        :param memory: bytes that the server might use, None if there was no limit.
        """
        code = reply.get("code") or "spawn_failed"
        last_words = reply.get("stderr") or ""
        if code == "hook_failed" and self.hooks:
            last_words = self.hooks[-1].output
        explanation = Ending.read(reply).explain(memory) if code == "exited_early" else None
        return make_failure(code, explanation or get_error(reply), last_words)
