"""Finds the mediator's reply among what else a sudo configuration may print on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Callable

#: stdout may have this many bytes in all, events included.
REPLY_LIMIT = 1024 * 1024

# Objects are looked for at so many opening braces of one line: a line of braces costs no time.
_BRACES_PER_LINE = 32
_DECODER = json.JSONDecoder()


class ReplyParser:
    """Takes stdout in pieces, reports events as they come, and keeps the reply.

    The reply is the last object with a boolean ``ok``. Lectures, messages of PAM modules and the
    like may stand before it, after it and on its own line.
    """

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Start with nothing.

        :param on_event: is given every object with the key ``event`` once its line is complete.
        """
        self.reply: dict[str, Any] | None = None
        self.size = 0
        self._on_event = on_event
        self._received = bytearray()
        self._line_start = 0

    @property
    def text(self) -> str:
        """All that came, as text."""
        return self._received.decode("utf-8", "replace")

    def feed(self, data: bytes) -> None:
        """Take the next piece; ``reply`` is set as soon as the line that holds it is complete."""
        self.size += len(data)
        self._received += data
        while True:
            end = self._received.find(b"\n", self._line_start)
            if end < 0:
                return
            line = bytes(self._received[self._line_start : end])
            self._line_start = end + 1
            self._take(line.decode("utf-8", "replace"))

    def finish(self) -> None:
        """Take what is left when stdout has ended: a line without its end, or a printed object."""
        self._take(bytes(self._received[self._line_start :]).decode("utf-8", "replace"))
        self._line_start = len(self._received)
        if self.reply is None:
            text = self.text
            self._take_object(_load(text[text.find("{") : text.rfind("}") + 1]))

    def _take(self, line: str) -> None:
        for found in _find_objects(line):
            self._take_object(found)

    def _take_object(self, found: object) -> None:
        if not isinstance(found, dict):
            return
        if isinstance(found.get("ok"), bool):
            self.reply = found
        elif isinstance(found.get("event"), str):
            self._on_event(found)


def read_integer(value: object) -> int | None:
    """Return a value of a reply if it is an integer; true and false are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _find_objects(line: str) -> Iterator[object]:
    position = 0
    for _ in range(_BRACES_PER_LINE):
        position = line.find("{", position)
        if position < 0:
            return
        try:
            found, position = _DECODER.raw_decode(line, position)
        except (ValueError, RecursionError):
            position += 1
        else:
            yield found


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
