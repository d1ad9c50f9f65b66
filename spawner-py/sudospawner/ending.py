"""How a server ended, if known: a status for the Hub and a sentence for the user."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .printable import escape_control_characters

# systemd's word and Slurm's.
_OUT_OF_MEMORY = ("oom-kill", "OUT_OF_MEMORY")
_REMEDY = (
    "Everything that runs in the server counts: shut down notebooks that you do not need, or load "
    "less data at once."
)
# Slurm's words for how a job ended, where they say more than a status.
_ENDINGS_OF_JOBS = {
    "TIMEOUT": "The server was ended, since the time of its job was over. Start it again; if there "
    "is a profile with more time, choose that.",
    "DEADLINE": "The server was ended, since its job could not go on until its deadline.",
    "NODE_FAIL": "The node of the cluster that the server ran on has failed. Start the server "
    "again; the cluster gives it another node.",
    "BOOT_FAIL": "The node of the cluster that the server was to run on did not boot. Start the "
    "server again; if this happens again, tell the administrators of the cluster.",
    "PREEMPTED": "The server was ended, since the cluster gave its place to a job that goes first. "
    "Start it again; it may have to wait in the queue.",
    "CANCELLED": "The job of the server was cancelled, by its user or by an administrator of the "
    "cluster.",
    "REVOKED": "The cluster has withdrawn the job of the server. Start the server again.",
}


@dataclass(frozen=True)
class Ending:
    """What the mediator's reply to ``status`` says about a server that has ended.

    :param exit: its exit status, if it exited.
    :param signal: the signal that killed it, if one did.
    :param result: systemd's result or Slurm's state, if that says more (``oom-kill``,
        ``timeout``; ``TIMEOUT``, ``NODE_FAIL``).
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
        """What ``poll`` returns: the exit status, the negated signal, or 0 if unknown."""
        return -self.signal if self.signal else self.exit or 0

    def describe(self) -> str:
        """Return a short phrase that says how it ended, with control characters escaped."""
        words = "with an unknown status"
        if self.signal:
            words = f"by signal {self.signal}"
        elif self.exit is not None:
            words = f"with status {self.exit}"
        return words + (f" ({escape_control_characters(self.result)})" if self.result else "")

    def explain(self, memory: int | None) -> str | None:
        """Return who ended the server and what to do, for the user; None if it ended by itself.

        :param memory: the server's memory limit in bytes, or None.
        """
        limit = f" ({format_bytes(memory)})" if memory else ""
        if self.result in _OUT_OF_MEMORY:
            return f"The server was killed, since it used more memory than it may{limit}. {_REMEDY}"
        if self.result in _ENDINGS_OF_JOBS:
            return _ENDINGS_OF_JOBS[self.result]
        if self.result:
            return f"The server was ended: {escape_control_characters(self.result)}."
        # With OOMPolicy=continue, where a server outlives a killed notebook kernel, systemd does
        # not say who sent the signal.
        if self.signal == signal.SIGKILL and memory:
            return (
                "The server was killed (signal 9), as the operating system does with one that "
                f"uses more memory than it may{limit}. {_REMEDY}"
            )
        return None


def format_bytes(count: int) -> str:
    """Format a number of bytes in the largest unit, up to TiB, in which it is at least 1."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"
