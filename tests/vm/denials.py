"""What SELinux denies meanwhile, as the audit log has it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from machine.machine import Machine
from system.mediator import wait_until

LOG = "/var/log/audit/audit.log"
# All of a spawn runs in these domains: systemd, what it starts, and a session.
OURS = re.compile(r"avc:  denied .* scontext=\S+:(?:init|initrc|unconfined)_t:")


def mark(machine: Machine) -> str:
    """Write a line to the audit log and wait until it is there; return what it can be told by."""
    word = uuid.uuid4().hex
    machine.run(["auditctl", "-m", word])
    find = ["grep", "--quiet", word, LOG]
    wait_until(lambda: machine.run(find, check=False).returncode == 0, "the audit log", 600)
    return word


@contextmanager
def watch_denials(machine: Machine) -> Iterator[list[str]]:
    """A list that has the denials of this context when it is left."""
    denials: list[str] = []
    before = mark(machine)
    yield denials
    after = mark(machine)
    between = machine.read(LOG).partition(before)[2].partition(after)[0]
    denials += [line for line in between.splitlines() if OURS.search(line)]
