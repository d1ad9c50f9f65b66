"""`UnitMediator`: a mediator whose servers live in units; and a mediator in each of the modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine.machine import Machine
from system.mediator import Mediator, RootMediator

POLICY = '[server]\nlauncher = "systemd"\n'
UNIT = "jupyter-zoe.service"


class UnitMediator(RootMediator):
    """A mediator in root mode whose servers live in units."""

    def set_policy(self, more: str = "") -> None:
        """Install a policy with the systemd launcher; `more` are further lines of it."""
        super().set_policy((POLICY if "[server]" not in more else "") + more)

    def show(self, *names: str, unit: str = UNIT) -> dict[str, str]:
        """Properties of a unit."""
        words = ["systemctl", "show", "--property", ",".join(names), unit]
        lines = self.machine.run(words).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def list_units(self) -> list[str]:
        """The units of all servers, failed ones too."""
        words = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "jupyter-*.service"]
        lines = self.machine.run(words).stdout.splitlines()
        return [line.split()[0] for line in lines]

    def end_units(self) -> list[str]:
        """End every server; return the units that were there."""
        left = self.list_units()
        for unit in left:
            self.machine.run(["systemctl", "stop", unit], check=False)
            self.machine.run(["systemctl", "reset-failed", unit], check=False)
        return left


MODES: dict[str, type[Mediator]] = {
    "user": Mediator,
    "root": RootMediator,
    "unit": UnitMediator,
}


@contextmanager
def mediator_in(mode: str, machine: Machine, binary: Path) -> Iterator[Mediator]:
    """A mediator in this mode with its server, rules and policy; nothing of it stays."""
    mediator = MODES[mode](machine, f"/opt/{mode}-mode/bin")
    mediator.install_binary(binary)
    mediator.put_server()
    mediator.permit()
    if isinstance(mediator, RootMediator):
        mediator.set_policy()
    try:
        yield mediator
    finally:
        left = mediator.end_units() if isinstance(mediator, UnitMediator) else []
        mediator.kill_processes()
        machine.run(["rm", "-rf", RootMediator.POLICY.parent])
        mediator.forbid()
    assert left == []
