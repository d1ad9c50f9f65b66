"""What a user sees while a server starts: messages, the server's own lines, and a bar that moves.

Everything is text, of bounded size. What comes from the server is marked, so that it cannot look
like a message of the Hub's.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Callable

# The bar's place when a start begins, and the last one before the server is up.
_FIRST, _LAST = 10, 95
# How far the bar moves before that alone is told, and how often it is looked at, in seconds.
_STEP = 5
_INTERVAL = 1.0
# How many of a server's lines are shown, how many at once, how many a second, and how much of each.
_LINES = 100
_LINES_AT_ONCE = 25
_LINES_PER_SECOND = 5
_LENGTH = 200
# How many lines are kept that come before the news that the server has started.
_EARLY = 20
# What sudo and the mediator say, in the same stream, is for administrators.
_NOT_OF_THE_SERVER = re.compile(r"\[[A-Z] sudospawner\] |sudo: ")


class Pace:
    """How long the last starts took."""

    def __init__(self) -> None:
        """Know of no start."""
        self._seconds: deque[float] = deque(maxlen=20)

    def add(self, seconds: float) -> None:
        """Remember a start that succeeded."""
        self._seconds.append(seconds)

    def find_usual(self) -> float | None:
        """Return how many seconds a start usually takes, or None if none has succeeded."""
        return statistics.median(self._seconds) if self._seconds else None


#: The pace of this Hub.
PACE = Pace()


class Progress:
    """The progress of one start, which any number of watchers can follow, also before it begins."""

    def __init__(self, pace: Pace = PACE, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the progress of a start.

        :param pace: how long starts take here.
        :param clock: returns the time in seconds.
        """
        self._pace = pace
        self._clock = clock
        self._usual: float | None = None
        self._expected = 1.0
        self._began = 0.0
        self._is_under_way = False
        self._has_ended = False
        self._changed: asyncio.Event | None = None
        self._messages: list[str] = []
        self._server_has_begun = False
        self._early: deque[str] = deque(maxlen=_EARLY)
        self._lines_left = _LINES
        self._allowance = float(_LINES_AT_ONCE)
        self._allowed_at = 0.0
        self._left_out = 0

    def renew(self) -> Progress:
        """Return the progress of the next start if this one's is over, else itself."""
        return Progress(self._pace, self._clock) if self._has_ended else self

    # --- What happens ---

    def begin(self, start_timeout: float) -> None:
        """Begin.

        :param start_timeout: seconds after which the Hub gives up.
        """
        self._usual = self._pace.find_usual()
        # The first start of a Hub is compared with what it may take.
        self._expected = max(0.1, self._usual or start_timeout / 2)
        self._began = self._allowed_at = self._clock()
        self._is_under_way = True
        self._wake_watchers()

    def announce(self, message: str) -> None:
        """Show a message, one line of text."""
        if self._is_under_way:
            self._messages.append(message)
            self._wake_watchers()

    def announce_server(self) -> None:
        """Say that the server has begun; its lines are shown from now on."""
        self._server_has_begun = True
        self.announce("The server has started, and is loading")
        while self._early:
            self._show(self._early.popleft())

    def take_line(self, line: str) -> None:
        """Show a line of the server's, if it is one and there is room for it.

        :param line: a line of the mediator's stderr, with control characters escaped.
        """
        if not self._is_under_way or _NOT_OF_THE_SERVER.match(line):
            return
        if self._server_has_begun:
            self._show(line)
        else:
            # The news of its start come through another pipe.
            self._early.append(line)

    def succeed(self) -> None:
        """Remember how long this start has taken."""
        self._pace.add(self._clock() - self._began)

    def end(self) -> None:
        """End, whatever came of the start."""
        self._is_under_way, self._has_ended = False, True
        self._early.clear()
        self._wake_watchers()

    def _show(self, line: str) -> None:
        now = self._clock()
        grown = self._allowance + (now - self._allowed_at) * _LINES_PER_SECOND
        self._allowance, self._allowed_at = min(grown, _LINES_AT_ONCE), now
        if self._lines_left == 0:
            return
        if self._allowance < 1:
            self._left_out += 1
            return
        self._allowance -= 1
        self._lines_left -= 1
        if self._left_out:
            self.announce(f"({self._left_out} lines of the server are not shown here)")
            self._left_out = 0
        self.announce("> " + (line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"))
        if self._lines_left == 0:
            self.announce("(More lines of the server are not shown here)")

    def _wake_watchers(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    # --- What is seen ---

    async def follow(self, greeting: str) -> AsyncIterator[dict[str, Any]]:
        """Yield an event for every message, including earlier ones, until the start is over.

        While nothing is said, yield one when the bar has moved. It never moves backwards.

        :param greeting: the first message.
        """
        shown, place = 0, _FIRST
        yield {"progress": place, "message": greeting}
        while not self._has_ended or shown < len(self._messages):
            # Before the messages are looked at, so that none is missed.
            changed = self._changed = self._changed or asyncio.Event()
            for message in self._messages[shown:]:
                shown, place = shown + 1, self._find_place()
                yield {"progress": place, "message": message}
            if self._is_under_way and self._find_place() >= place + _STEP:
                place = self._find_place()
                yield {"progress": place, "message": self._describe_time()}
            if not self._has_ended and shown == len(self._messages):
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), _INTERVAL)

    def _find_place(self) -> int:
        elapsed = self._clock() - self._began
        return min(_LAST, _FIRST + int((_LAST - _FIRST) * elapsed / self._expected))

    def _describe_time(self) -> str:
        so_far = f"Still starting, {_count_seconds(self._clock() - self._began)} so far"
        return f"{so_far} (usually {_count_seconds(self._usual)})" if self._usual else so_far


def _count_seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"
