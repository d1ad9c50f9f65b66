"""What becomes known of a start while it lasts, for those who watch the Hub's progress page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class StartNews:
    """Messages of one start, which any number of watchers follow from its beginning to its end."""

    def __init__(self) -> None:
        """Begin without news; needs the running event loop."""
        self._messages: list[str] = []
        self._over = False
        self._changed = asyncio.Event()

    def announce(self, message: str) -> None:
        """Tell all watchers; the message is one line without control characters."""
        self._messages.append(message)
        self._wake_watchers()

    def end(self) -> None:
        """Tell all watchers that the start is over, however it went."""
        self._over = True
        self._wake_watchers()

    async def follow(self) -> AsyncIterator[str]:
        """Yield every message, those of before too, until the start is over."""
        shown = 0
        while True:
            changed = self._changed
            for message in self._messages[shown:]:
                shown += 1
                yield message
            if self._over and shown == len(self._messages):
                return
            await changed.wait()

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
