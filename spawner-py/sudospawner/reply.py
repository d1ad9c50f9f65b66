"""Finds the mediator's reply among what else a sudo configuration may print on stdout.

In user mode the mediator is a process of the user's, and others of that account can write to its
stdout. So nothing that comes from there costs the Hub much time, and each field that the class
uses is what docs/protocol.md says, or is not there.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable

from .printable import escape_control_characters

#: stdout may have this many bytes in all, events included.
REPLY_LIMIT = 512 * 1024
#: A reply tells of so many hooks, and events of as many, in so many characters.
HOOK_LIMIT = 64
EVENT_LIMIT = 64 * 1024
#: The event that stands for all hooks that are more than that. The mediator has none of this name.
HOOKS_LEFT_OUT = "hooks_left_out"

# What an attempt to find an object costs, in characters, beside those that are read for it. All
# attempts of a call together may cost REPLY_LIMIT.
_ATTEMPT = 128
# What has more brackets than this is no reply: it would take long to make all that they stand for.
_BRACKETS = 32 * 1024
_TAIL = 4096

_Reader = Callable[[Any], Any]


def _integer(lowest: int, highest: int) -> _Reader:
    # True and false are of a type of their own.
    return lambda value: value if type(value) is int and lowest <= value <= highest else None


def _number(highest: float) -> _Reader:
    # What is no number at all (NaN) is not at least 0 either.
    return lambda value: value if type(value) in (int, float) and 0 <= value <= highest else None


def _text(limit: int) -> _Reader:
    return lambda value: value if isinstance(value, str) and len(value) <= limit else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _object(fields: dict[str, _Reader]) -> _Reader:
    return lambda value: _select(value, fields) if isinstance(value, dict) else None


def _objects(fields: dict[str, _Reader], limit: int) -> _Reader:
    def read(value: Any) -> list[dict[str, Any]] | None:
        if not isinstance(value, list):
            return None
        return [_select(part, fields) for part in value[:limit] if isinstance(part, dict)]

    return read


def _select(found: dict[str, Any], fields: dict[str, _Reader]) -> dict[str, Any]:
    """Return these fields of an object; None is in place of what cannot be their value."""
    return {name: read(found[name]) for name, read in fields.items() if name in found}


_HOOK = {
    "name": _text(4096),
    "status": _text(16),
    "exit": _integer(-(2**31), 2**31 - 1),
    "signal": _integer(0, 127),
    "seconds": _number(1e9),
    "output": _text(32 * 1024),
}
_FIELDS = {
    "exit": _HOOK["exit"],
    "signal": _HOOK["signal"],
    "seconds": _HOOK["seconds"],
    "code": _text(64),
    "error": _text(32 * 1024),
    "stderr": _text(32 * 1024),
    "result": _text(64),
    "pid": _integer(1, 2**31 - 1),
    "started": _text(128),
    "unit": _text(256),
    "alive": _boolean,
    "listening": _boolean,
    "leftovers_killed": _integer(0, 2**31 - 1),
    "hooks": _objects(_HOOK, HOOK_LIMIT),
    "limits": _object({"memory": _integer(0, 2**63 - 1), "cpus": _number(4096)}),
}
_EVENT = {**_HOOK, "event": _text(16), "pid": _FIELDS["pid"], "started": _FIELDS["started"]}


class ReplyParser:
    """Takes stdout in pieces, reports events as they come, and keeps the reply.

    The reply is the last object with a boolean ``ok``. Lectures, messages of PAM modules and the
    like may stand before it, after it and on its own line.
    """

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Start with nothing.

        :param on_event: is given the events ``hook`` and ``started``, each once its line is
            complete: those of hooks before that of the server, and that one once. Where there are
            too many of hooks it is given one with HOOKS_LEFT_OUT, and no more of them.
        """
        self.reply: dict[str, Any] | None = None
        self._on_event = on_event
        self._received = bytearray()
        self._position = 0
        self._effort = REPLY_LIMIT
        self._has_started = False
        self._hook_events = 0
        self._hook_characters = 0

    @property
    def tail(self) -> str:
        """The last 4 KiB that came, as text."""
        return self._received[-_TAIL:].decode("utf-8", "replace")

    @property
    def is_exhausted(self) -> bool:
        """Whether so much has come that no reply is looked for any more."""
        return self._effort <= 0 or len(self._received) > REPLY_LIMIT

    def feed(self, data: bytes) -> None:
        """Take the next piece; ``reply`` is set as soon as the line that holds it is complete."""
        self._received += data
        # From brace to brace: of all lines without one nothing is looked at.
        while not self.is_exhausted:
            start = self._received.find(b"{", self._position)
            if start < 0:
                self._position = len(self._received)
                return
            self._position = start
            end = self._received.find(b"\n", start)
            if end < 0:
                return
            self._take_line(self._received[start:end])
            self._position = end

    def finish(self) -> None:
        """Take what is left when stdout has ended: a line without its end, or a printed object."""
        self._take_line(self._received[self._position :])
        if self.reply is None:
            start, end = self._received.find(b"{"), self._received.rfind(b"}")
            found, _ = self._decode(self._received[start : end + 1].decode("utf-8", "replace"))
            if _is_reply(found):
                self.reply = {**found, **_select(found, _FIELDS)}

    def _take_line(self, line: bytearray) -> None:
        """Take all objects of a line."""
        _, brace, rest = line.decode("utf-8", "replace").partition("{")
        while brace:
            found, length = self._decode(brace + rest)
            self._take_object(found, length)
            _, brace, rest = rest[length - 1 :].partition("{")

    def _decode(self, text: str) -> tuple[dict[str, Any], int]:
        """Return the object that a text begins with, empty if it is none, and its length."""
        self._effort -= _ATTEMPT + len(text)
        if self._effort <= 0 or text.count("{") + text.count("[") > _BRACKETS:
            return {}, len(text)
        try:
            return _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return {}, 1

    def _take_object(self, found: dict[str, Any], length: int) -> None:
        kind = found.get("event")
        if _is_reply(found):
            self.reply = {**found, **_select(found, _FIELDS)}
        elif self.reply is not None or self._has_started:
            # Hooks run before the server. Behind it, its own processes can write such lines.
            return
        elif kind == "started":
            self._has_started = True
            self._on_event(_select(found, _EVENT))
        elif kind == "hook":
            self._take_hook(_select(found, _EVENT), length)

    def _take_hook(self, event: dict[str, Any], length: int) -> None:
        had_room = self._has_room_for_hooks()
        self._hook_events += 1
        self._hook_characters += length
        if self._has_room_for_hooks():
            self._on_event(event)
        elif had_room:
            self._on_event({"event": HOOKS_LEFT_OUT})

    def _has_room_for_hooks(self) -> bool:
        # Each hook is told of when it begins and when it has ended.
        has_few = self._hook_events <= 2 * HOOK_LIMIT
        return has_few and self._hook_characters <= EVENT_LIMIT


def _is_reply(found: dict[str, Any]) -> bool:
    return isinstance(found.get("ok"), bool)


def get_error(reply: dict[str, Any]) -> str:
    """Return the sentence of a reply that is not ``ok``, control characters written out."""
    return escape_control_characters(str(reply.get("error") or "the mediator gave no reason"))


def describe_hooks_left_out() -> str:
    """Say in one line what the event HOOKS_LEFT_OUT means."""
    return (
        f"of its hooks more is told than of {HOOK_LIMIT}, or more than {EVENT_LIMIT} bytes: what "
        "is left out here comes with the reply, if anything does"
    )


def _read_integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("an integer that no field can have")
    return int(digits)


# Before Python had a limit of its own it took minutes for a number of a million digits.
_HAS_LIMIT = hasattr(sys, "get_int_max_str_digits")
_DECODER = json.JSONDecoder(parse_int=None if _HAS_LIMIT else _read_integer)
