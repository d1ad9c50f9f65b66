"""Finds the mediator's reply in stdout, where a sudo configuration may print other things.

In user mode the mediator runs as the user, and the user's other processes can write to its stdout.
So parsing is bounded in time, and each field that the spawner uses is checked: it has a value that
docs/protocol.md allows, or is None or missing.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable

from .printable import escape_control_characters

#: The maximum size of stdout in bytes, events included.
REPLY_LIMIT = 512 * 1024
#: The maximum number of hooks in a reply and in events, and of events about a job; the maximum size
#: of all events of one kind, in characters.
HOOK_LIMIT = 64
JOB_EVENT_LIMIT = 256
EVENT_LIMIT = 64 * 1024
#: The event that replaces all hook events beyond these limits. The mediator does not send it.
HOOKS_LEFT_OUT = "hooks_left_out"

# The cost of one attempt to decode an object, in characters, in addition to those that it reads.
# All attempts of a call together may cost REPLY_LIMIT.
_ATTEMPT = 128
# A text with more brackets than this is not decoded: it would take too long to build the objects.
_BRACKETS = 32 * 1024
_TAIL = 4096
# How long the id of a job can be.
_DIGITS = 20
# How much is told of an error, in characters.
_ERROR = 4096
# The codes of docs/protocol.md. The Hub's metrics keep a series for each code that a start failed
# with, and its log has the code as it is.
_CODES = """
    usage option_refused malformed_request request_too_large request_timeout server_name_too_long
    caller_unknown caller_not_permitted policy_missing policy_untrusted policy_unreadable
    policy_malformed binary_setuid binary_untrusted server_untrusted target_unknown account_timeout
    target_not_permitted limit_not_enforceable limit_exceeds_policy unit_not_permitted
    target_is_root target_mismatch privileges_left hook_failed hooks_busy server_missing
    server_not_executable
    home_missing home_unresponsive server_unresponsive target_unresponsive exec_failed exited_early
    port_taken already_running launcher_unavailable launch_failed system_error kernel_unsupported
    caller_gone profile_unknown profile_not_permitted slurm_unavailable job_refused job_pending
    job_silent job_lost account_not_created accounts_too_many files_not_written hooks_busy
    pam_failed too_many_calls
"""

_Reader = Callable[[Any], Any]


def _integer(lowest: int, highest: int) -> _Reader:
    # isinstance() would accept booleans.
    return lambda value: value if type(value) is int and lowest <= value <= highest else None


def _number(highest: float) -> _Reader:
    # The comparison also rejects NaN.
    return lambda value: value if type(value) in (int, float) and 0 <= value <= highest else None


def _text(limit: int) -> _Reader:
    return lambda value: value if isinstance(value, str) and len(value) <= limit else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _CODES.split() else None


def _digits(value: Any) -> str | None:
    is_digits = isinstance(value, str) and value.isascii() and value.isdigit()
    return value if is_digits and len(value) <= _DIGITS else None


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
    """Return these fields of an object, with None in place of each invalid value."""
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
    "code": _code,
    "error": _text(32 * 1024),
    "stderr": _text(32 * 1024),
    "result": _text(64),
    "pid": _integer(1, 2**31 - 1),
    "started": _text(128),
    "unit": _text(256),
    "job": _digits,
    "host": _text(256),
    "port": _integer(1, 65535),
    "alive": _boolean,
    "listening": _boolean,
    "leftovers_killed": _integer(0, 2**31 - 1),
    "hooks": _objects(_HOOK, HOOK_LIMIT),
    "limits": _object({"memory": _integer(0, 2**63 - 1), "cpus": _number(4096)}),
}
_EVENT = {**_HOOK, "event": _text(16), "pid": _FIELDS["pid"], "started": _FIELDS["started"]}
_JOB_EVENT = {
    "event": _text(16),
    **{name: _FIELDS[name] for name in ("job", "started", "host")},
    **{name: _text(1024) for name in ("state", "reason", "estimated_start")},
}


class ReplyParser:
    """Parses stdout in pieces, reports events as they arrive, and keeps the reply.

    The reply is the last object with a boolean ``ok``. Lectures, messages of PAM modules and the
    like may precede it, follow it, and share its line.
    """

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Create a parser that has read nothing.

        :param on_event: called with each ``hook`` event, and then with one ``started`` event or
            with ``job`` events, as soon as the event's line is complete. If there are too many hook
            events, it is called once with a HOOKS_LEFT_OUT event, and with no further hook events.
            If there are too many about the job, the last ones are left out.
        """
        self.reply: dict[str, Any] | None = None
        self._on_event = on_event
        self._received = bytearray()
        self._position = 0
        self._effort = REPLY_LIMIT
        self._has_started = False
        self._hook_events = self._hook_characters = 0
        self._job_events = self._job_characters = 0

    @property
    def tail(self) -> str:
        """The last 4 KiB of stdout, as text."""
        return self._received[-_TAIL:].decode("utf-8", "replace")

    @property
    def is_exhausted(self) -> bool:
        """Whether a limit is reached, so that the parser no longer looks for a reply."""
        return self._effort <= 0 or len(self._received) > REPLY_LIMIT

    def feed(self, data: bytes) -> None:
        """Parse the next piece; ``reply`` is set as soon as its line is complete."""
        self._received += data
        self._effort -= _ATTEMPT  # Also a byte that comes alone costs the Hub something.
        # Jump from brace to brace: lines without one are skipped.
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
        """Parse the rest when stdout has ended: an unfinished line, or a multi-line object."""
        self._take_line(self._received[self._position :])
        if self.reply is None:
            start, end = self._received.find(b"{"), self._received.rfind(b"}")
            found, _ = self._decode(self._received[start : end + 1].decode("utf-8", "replace"))
            if _is_reply(found):
                self.reply = {**found, **_select(found, _FIELDS)}

    def _take_line(self, line: bytearray) -> None:
        """Process all objects of a line."""
        _, brace, rest = line.decode("utf-8", "replace").partition("{")
        while brace:
            found, length = self._decode(brace + rest)
            self._take_object(found, length)
            _, brace, rest = rest[length - 1 :].partition("{")

    def _decode(self, text: str) -> tuple[dict[str, Any], int]:
        """Return the object at the start of a text, empty if there is none, and its length."""
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
            # Hooks run before the server starts. Later, its own processes can write such lines.
            return
        elif kind == "job":
            self._take_job(_select(found, _JOB_EVENT), length)
        elif self._job_events:
            return  # Hooks run before the job is there.
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

    def _take_job(self, event: dict[str, Any], length: int) -> None:
        self._job_events += 1
        self._job_characters += length
        if self._job_events <= JOB_EVENT_LIMIT and self._job_characters <= EVENT_LIMIT:
            self._on_event(event)

    def _has_room_for_hooks(self) -> bool:
        # Each hook has one event when it starts and one when it has ended.
        has_few = self._hook_events <= 2 * HOOK_LIMIT
        return has_few and self._hook_characters <= EVENT_LIMIT


def _is_reply(found: dict[str, Any]) -> bool:
    return isinstance(found.get("ok"), bool)


def get_error(reply: dict[str, Any]) -> str:
    """Return the error of a reply that is not ``ok``, with control characters escaped.

    A page and several lines of the Hub's log have it, so it is cut.
    """
    error = str(reply.get("error") or "the mediator gave no reason")
    return escape_control_characters(error)[:_ERROR]


def describe_hooks_left_out() -> str:
    """Return one line that says what the event HOOKS_LEFT_OUT means."""
    return (
        f"of its hooks more is told than of {HOOK_LIMIT}, or more than {EVENT_LIMIT} bytes: the "
        "reply may have what is left out here"
    )


def _read_integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("an integer that no field can have")
    return int(digits)


# Python versions without their own limit take minutes to parse a number of a million digits.
_HAS_LIMIT = hasattr(sys, "get_int_max_str_digits")
_DECODER = json.JSONDecoder(parse_int=None if _HAS_LIMIT else _read_integer)
