"""`Followed`: a mediator whose policy has hooks after a server, in either launcher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine.machine import Machine
from system.mediator import Answer, RootMediator, wait_until
from system.units import MODES, POLICY

LAUNCHERS = ("root", "unit")
"""Of `system.units.MODES`: beside the Hub, and in units."""

AFTER = Path("/etc/sudospawner/afterhooks.d")
HOOKS = f'[hooks]\nafter_dir = "{AFTER}"\n'
DIARY = "/run/diary"
LISTS = "/run/sudospawner/servers"

# What a hook was told, in one line of the diary.
NOTE = f"""\
#!/bin/sh
echo "{{word}} $SUDOSPAWNER_SERVER_NAME exit=$SUDOSPAWNER_EXIT signal=$SUDOSPAWNER_SIGNAL" \\
    "left=$SUDOSPAWNER_SERVERS_LEFT" >>{DIARY}
"""


def note(word: str) -> str:
    """A hook that writes a line to the diary."""
    return NOTE.format(word=word)


class Followed:
    """A mediator with a hook before and one after each server, which write to a diary."""

    def __init__(self, machine: Machine, mediator: RootMediator) -> None:
        self.machine = machine
        self.mediator = mediator
        self.is_unit = mediator.__class__ is MODES["unit"]

    def set_policy(self, more: str = "", hooks: str = "") -> None:
        """Install a policy with hooks after servers; `hooks` are further lines of that section."""
        launcher = POLICY if self.is_unit and "[server]" not in more else ""
        self.mediator.set_policy(f"{launcher}{HOOKS}{hooks}{more}")

    def add_after(self, name: str, program: str, *, owner: str = "root", mode: int = 0o755) -> None:
        """Put a hook into the folder of hooks after a server."""
        self.machine.write(AFTER / name, program, owner=owner, mode=mode)

    def read_diary(self) -> list[str]:
        """The lines that hooks have written."""
        return self.machine.run(f"cat {DIARY} 2>/dev/null", check=False).stdout.splitlines()

    def await_diary(self, lines: int) -> list[str]:
        """The diary, once it has so many lines."""
        wait_until(lambda: len(self.read_diary()) >= lines, f"{lines} lines of the diary")
        return self.read_diary()

    def await_quiet(self) -> None:
        """Wait until nothing of a server is left: no process of root's, no unit, no entry."""
        wait_until(lambda: self.find_remains() == [], f"the end of {self.find_remains()}")

    def find_remains(self) -> list[str]:
        """Our processes, units, entries in the lists of servers."""
        ours = [line for line in self.mediator.list_processes("root") if self._is_ours(line)]
        entries = self.machine.run(f"find {LISTS} -type f 2>/dev/null", check=False).stdout
        units = "systemctl list-units --all --plain --no-legend 'jupyter-*.service'"
        return [*ours, *entries.splitlines(), *self.machine.run(units).stdout.splitlines()]

    def _is_ours(self, line: str) -> bool:
        return str(self.mediator.path) in line or line.startswith("sudospawner-")

    def end(self, spawned: Answer) -> None:
        """Stop a server as the Hub does."""
        stop = {"action": "stop", "pid": spawned.reply["pid"], "interrupt_seconds": 0}
        assert self.mediator.call(stop).reply["alive"] is False


def install_followed(mode: str, machine: Machine, binary: Path) -> Followed:
    """A mediator in this mode with a hook before and one after."""
    mediator = MODES[mode](machine, f"/opt/followed-{mode}/bin")
    assert isinstance(mediator, RootMediator)
    mediator.install_binary(binary)
    mediator.put_server()
    mediator.permit()
    followed = Followed(machine, mediator)
    followed.set_policy()
    mediator.add_hook("10-note", note("before"))
    followed.add_after("10-note", note("after"))
    return followed


@contextmanager
def followed_in(mode: str, machine: Machine, binary: Path) -> Iterator[Followed]:
    """The same; nothing of it stays."""
    followed = install_followed(mode, machine, binary)
    try:
        yield followed
        followed.await_quiet()
    finally:
        followed.mediator.kill_processes()
        units = "'jupyter-*.service'"
        machine.run(f"systemctl stop {units}; systemctl reset-failed {units}", check=False)
        machine.run(["rm", "-rf", RootMediator.POLICY.parent, DIARY])
        followed.mediator.forbid()
