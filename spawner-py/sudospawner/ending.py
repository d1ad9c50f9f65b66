"""How a server ended, where somebody knows: a status for the Hub, a sentence for its user."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .printable import escape_control_characters

_OUT_OF_MEMORY = "oom-kill"
_REMEDY = (
    "Everything that runs in the server counts: shut down notebooks that are not needed, or load "
    "less data at once."
)


@dataclass(frozen=True)
class Ending:
    """What the mediator's reply to ``status`` tells of a server that has ended.

    :param exit: its exit status, if it exited.
    :param signal: the signal that killed it, if one did.
    :param result: systemd's word for it, where that says more (``oom-kill``, ``timeout``).
    """

    exit: int | None = None
    signal: int | None = None
    result: str = ""

    @classmethod
    def read(cls, reply: Mapping[str, Any]) -> Ending:
        """Read a reply."""
        return cls(reply.get("exit"), reply.get("signal"), reply.get("result") or "")

    @property
    def status(self) -> int:
        """What ``poll`` returns: the exit status, a negative signal, 0 if nothing is known."""
        return -self.signal if self.signal else self.exit or 0

    def describe(self) -> str:
        """Say in a few words, control characters written out, how it ended."""
        words = "with an unknown status"
        if self.signal:
            words = f"by signal {self.signal}"
        elif self.exit is not None:
            words = f"with status {self.exit}"
        return words + (f" ({escape_control_characters(self.result)})" if self.result else "")

    def explain(self, memory: int | None) -> str | None:
        """Say to the user who ended the server, and what to do; None if it ended by itself.

        :param memory: bytes that the server might use, None if there was no limit.
        """
        limit = f" ({format_bytes(memory)})" if memory else ""
        if self.result == _OUT_OF_MEMORY:
            return f"The server was killed, since it used more memory than it may{limit}. {_REMEDY}"
        if self.result:
            return f"The server was ended: {escape_control_characters(self.result)}."
        # Where a kernel that is killed is not its server's end, systemd does not tell who sent it.
        if self.signal == signal.SIGKILL and memory:
            return (
                "The server was killed (signal 9), as the operating system does with one that "
                f"uses more memory than it may{limit}. {_REMEDY}"
            )
        return None


def format_bytes(count: int) -> str:
    """Write a number of bytes in the largest unit, a power of 1024, that makes it more than 1."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"
