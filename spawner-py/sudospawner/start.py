"""One start of a server: its time limit, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Callable

from .descriptors import explained_shortage
from .ending import Ending
from .errors import MediatorError
from .failures import make_failure
from .hooks import Hook
from .mediator import GRACE, LONGEST_WAIT
from .progress import Progress
from .reply import HOOKS_LEFT_OUT, describe_hooks_left_out, get_error


class Start:
    """One start of a server. It is under way while :meth:`carry_out` runs."""

    def __init__(
        self,
        start_timeout: float,
        progress: Progress,
        *,
        has_hooks: bool,
        tell: Callable[[int, str], None],
    ) -> None:
        """Prepare a start.

        :param start_timeout: seconds after which the Hub gives up.
        :param progress: what users see of it.
        :param has_hooks: whether root runs hooks. If not, reports of hooks are ignored, since they
            come from a process of the user.
        :param tell: logs a sentence; the first argument is a logging level.
        """
        self._start_timeout = start_timeout
        self._progress = progress
        self._has_hooks = has_hooks
        self._tell = tell
        # Just below the Hub's own limit, so that the failure has our message.
        self._limit = start_timeout - min(3.0, 0.05 * start_timeout)
        self._deadline = 0.0
        self._task: asyncio.Task[None] | None = None
        # The results of the hooks that have ended.
        self._hooks: list[Hook] = []

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and has not ended."""
        return self._task is not None

    @property
    def wait_seconds(self) -> float:
        """How many seconds the mediator may wait until the server listens.

        What it needs to end a server that waits for its home is not spent.
        """
        left = self.find_time_left() - min(4.0, 0.3 * self._limit)
        return max(0.0, min(0.85 * self._limit, left, LONGEST_WAIT))

    def find_time_left(self) -> float:
        """Return how many seconds a call may take: until the deadline, else the start timeout."""
        left = self._deadline - asyncio.get_running_loop().time()
        return left if left > 0 else self._start_timeout

    async def carry_out(self, work: Awaitable[None]) -> None:
        """Run the work of the start within its time limit.

        Also returns if :meth:`give_up` cancels the work.

        :raises MediatorError: if the work raises it, or takes too long.
        """
        self._deadline = asyncio.get_running_loop().time() + self._limit
        self._progress.begin(self._start_timeout)
        task = self._task = asyncio.ensure_future(work)
        try:
            # A little longer than the call's own limit, which gives a better message.
            await asyncio.wait({task}, timeout=0.3 * self._limit + 0.7 * self._start_timeout)
            if not task.done():
                raise MediatorError(
                    "start_timeout", f"The server was not up in {self._limit:.0f} s."
                )
            if not task.cancelled():
                with explained_shortage():
                    task.result()
        finally:
            # Also if the Hub cancels us: ending the task closes the pipes and ends sudo.
            await self.give_up()
            self._task = None
            self._progress.end()

    async def give_up(self) -> None:
        """Cancel the work if it is under way, and wait up to GRACE seconds for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=GRACE)

    # --- What comes of it ---

    def forget_hooks(self) -> None:
        """Forget the results of hooks, because the hooks run again."""
        self._hooks = []

    def take_event(self, event: Mapping[str, Any]) -> None:
        """Process an event that precedes the mediator's reply."""
        if event["event"] == "hook":
            self._take_hook(event)
        elif event["event"] == HOOKS_LEFT_OUT and self._has_hooks:
            self._tell(logging.WARNING, describe_hooks_left_out())

    def announce(self, message: str) -> None:
        """Show a message to the user, one line of text."""
        self._progress.announce(message)

    def announce_server(self) -> None:
        """Say that the server has begun; its lines are shown from now on."""
        self._progress.announce_server()

    def take_reply(
        self, reply: Mapping[str, Any], memory: int | None, *, required: str, what: str
    ) -> None:
        """Process the mediator's reply to ``spawn``.

        :param memory: the server's memory limit in bytes, or None.
        :param required: the field that says which server has started.
        :param what: what that is, for people.
        :raises SpawnException: (before JupyterHub 6 HTTPError) if no server has started.
        """
        # The hooks without an event.
        for told in (reply.get("hooks") or [])[len(self._hooks) :]:
            self._take_hook(told)
        if not reply.get("ok"):
            code = reply.get("code") or "spawn_failed"
            last_words = reply.get("stderr") or ""
            if code == "hook_failed" and self._hooks:
                last_words = self._hooks[-1].output
            explanation = Ending.read(reply).explain(memory) if code == "exited_early" else None
            raise make_failure(code, explanation or get_error(reply), last_words)
        if not reply.get(required):
            raise make_failure("no_reply", f"The mediator's reply has no {what}.")

    def succeed(self) -> None:
        """Remember how long this start has taken."""
        self._progress.succeed()

    def _take_hook(self, told: Mapping[str, Any]) -> None:
        if not self._has_hooks:
            return
        hook = Hook.read(told)
        self._progress.announce(hook.describe())
        if hook.is_over:
            self._hooks.append(hook)
            self._tell(logging.INFO if hook.succeeded else logging.WARNING, hook.describe())
