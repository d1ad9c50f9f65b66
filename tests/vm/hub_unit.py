"""The Hub's calls as its unit makes them: SELinux decides by where a process comes from."""

from __future__ import annotations

from pathlib import Path

from system.mediator import Mediator, RootMediator
from system.units import UnitMediator

# A server holds the Hub's log open, which must not be the connection to the machine.
LOGGED = 'exec "$@" 2>>/var/lib/rhea/log'
UNIT = (
    *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=User=rhea"),
    *("--property=KillMode=process", "--", "/bin/sh", "-c", LOGGED, "hub"),
)


class InUnit(Mediator):
    """A mediator that is called in a unit of rhea's, as a Hub that systemd started."""

    caller = "root"

    def list_words(self, target: str) -> list[str | Path]:
        """How the Hub calls it for this account."""
        return [*UNIT, *super().list_words(target)]


class UserHub(InUnit):
    """User mode."""


class RootHub(InUnit, RootMediator):
    """Root mode, with servers beside the Hub."""


class UnitHub(InUnit, UnitMediator):
    """Root mode, with servers in units."""
