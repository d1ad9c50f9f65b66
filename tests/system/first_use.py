"""`FirstUse`: a mediator whose policy has accounts made, and what the machine knows of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine.installation import REPOSITORY
from system.mediator import Answer, RootMediator

EXAMPLE = (REPOSITORY / "examples/accounts/create-account").read_text()
PROGRAM = Path("/etc/sudospawner/create-account")
PLACES = "/run/sudospawner/accounts"
RAN = "/run/names-that-the-program-was-run-for"
FILES = "passwd shadow group gshadow subuid subgid"
NOTE = f'#!/bin/sh\necho "$SUDOSPAWNER_USER" >>{RAN}\n'
"""The beginning of a program that notes for whom it was run."""


class FirstUse:
    """Root mode with `[accounts] create`, and a program in its place."""

    def __init__(self, mediator: RootMediator) -> None:
        """Use this mediator; `kept` comes first."""
        self.mediator = mediator
        self.machine = mediator.machine

    @contextmanager
    def kept(self) -> Iterator[FirstUse]:
        """In this context accounts come and go; then they are those from before."""
        save = f"for file in {FILES}; do cp -a /etc/$file /etc/$file.before; done"
        self.machine.run(f"rm -rf /run/sudospawner {RAN} && {save}")
        self.set_policy()
        self.put_program(EXAMPLE)
        try:
            yield self
        finally:
            for name in self.list_new():
                # A test may have made another root.
                if self.machine.look_up_account(name).uid >= 1000:
                    self.mediator.kill_processes(name)
                self.machine.run(["rm", "-rf", f"/home/{name}", f"/var/mail/{name}"])
            restore = f"for file in {FILES}; do mv /etc/$file.before /etc/$file; done"
            self.machine.run(f"{restore}; rm -rf /run/sudospawner {RAN}")

    def set_policy(self, keys: str = "", more: str = "") -> None:
        """Install a policy with the program; `keys` are further keys of `[accounts]`."""
        self.mediator.set_policy(f'[accounts]\ncreate = "{PROGRAM}"\n{keys}\n{more}')

    def put_program(self, text: str, *, owner: str = "root", mode: int = 0o755) -> None:
        """Put the program into its place."""
        self.machine.write(PROGRAM, text, owner=owner, mode=mode)

    def spawn(self, name: str, *args: str, **fields: Any) -> Answer:
        """Call as the class does: the command line has the action."""
        request = {"action": "spawn", "args": list(args), "env": {}, **fields}
        return self.mediator.call(request, target=name, options=["--action=spawn"])

    def stop(self, name: str, spawned: Answer) -> None:
        """End a server that was started."""
        named = {key: spawned.reply[key] for key in ("pid", "unit") if key in spawned.reply}
        stop = {"action": "stop", "interrupt_seconds": 0, **named}
        assert self.mediator.call(stop, target=name).reply["alive"] is False

    def list_new(self) -> list[str]:
        """The accounts that were not there before."""
        names = "cut -d: -f1 /etc/passwd | sort >/run/now; cut -d: -f1 /etc/passwd.before | sort"
        return self.machine.run(f"{names} | comm -13 - /run/now").stdout.splitlines()

    def list_runs(self) -> list[str]:
        """The names for which a program with `NOTE` was run."""
        return self.machine.run(["cat", RAN], check=False).stdout.splitlines()

    def list_records(self, word: str) -> list[str]:
        """Root's lines in the authentication log that have this word."""
        self.machine.run(["journalctl", "--sync"])
        query = ["journalctl", "--identifier=sudospawner", "_UID=0", "--output=cat"]
        lines = self.machine.run(query).stdout.splitlines()
        return [line for line in lines if word in line.split()]
