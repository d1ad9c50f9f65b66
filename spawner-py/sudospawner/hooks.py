"""What the mediator reports about root's hooks, as one line for logs and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .printable import escape_control_characters, last_lines

_RUNNING = "running"
_OK = "ok"


@dataclass(frozen=True)
class Hook:
    """A running hook, or the result of one.

    Nothing here is safe as HTML: names and output come from the mediator, and a hook may print text
    from anywhere.

    :param name: its file name; the folder's path if the whole folder was refused.
    :param status: ``running``, ``ok``, ``failed``, ``timeout`` or ``refused``.
    :param exit: its exit status, if it exited.
    :param signal: the signal that killed it, if one did.
    :param seconds: how long it ran.
    :param output: the end of its output, or why it was not run.
    """

    name: str
    status: str
    exit: int | None
    signal: int | None
    seconds: float
    output: str

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Hook:
        """Read a ``hook`` event, or an element of a reply's ``hooks``."""
        return cls(
            name=told.get("name") or "?",
            status=told.get("status") or "?",
            exit=told.get("exit"),
            signal=told.get("signal"),
            seconds=told.get("seconds") or 0.0,
            output=told.get("output") or "",
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was not run."""
        return self.status != _RUNNING

    @property
    def succeeded(self) -> bool:
        """Whether it exited with status 0."""
        return self.status == _OK

    def describe(self) -> str:
        """Return its state as one line, with control characters escaped."""
        said = last_lines(self.output, count=3, characters=500).replace("\n", " | ")
        line = f"Hook {self.name} {self._find_words()}"
        return escape_control_characters(f"{line}: {said}" if said else line)

    def _find_words(self) -> str:
        if self.status == _RUNNING:
            return "is running"
        if self.status == _OK:
            return f"was done in {self.seconds:.1f} s"
        if self.status == "timeout":
            return f"took too long and was ended after {self.seconds:.1f} s"
        if self.status == "refused":
            return "was not run"
        if self.signal is not None:
            return f"failed, killed by signal {self.signal} after {self.seconds:.1f} s"
        if self.exit is not None:
            return f"failed with exit status {self.exit} after {self.seconds:.1f} s"
        return "failed"
