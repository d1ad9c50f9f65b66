"""The command that calls the mediator, through sudo, and what to say of it to people."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A call of the mediator.

    :param argv: the whole command, sudo included.
    :param program: the path of the mediator, as sudoers has to name it.
    :param target: the account whose server it is about.
    :param runas: the account that sudo becomes: the target, or root in root mode.
    """

    argv: tuple[str, ...]
    program: str
    target: str
    runas: str

    @property
    def uses_sudo(self) -> bool:
        """Whether the mediator is reached through sudo."""
        return self.argv[0] != self.program

    @property
    def caller(self) -> str:
        """The name of the account that the Hub runs as."""
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return f"#{os.getuid()}"

    @property
    def rule(self) -> str:
        """The line in sudoers that allows this call."""
        return f"{self.caller} ALL=({self.runas}) NOPASSWD: {self.program}"

    @property
    def advice(self) -> str:
        """What to know of that line."""
        if self.runas == self.target:
            return "a group of targets is written as %group in the parentheses"
        return "without arguments: for whom it acts, /etc/sudospawner/policy.toml decides"

    @property
    def trial(self) -> str:
        """The command with which to try the configuration by hand."""
        if self.runas == self.target:
            return f"sudo -nH -u {self.target} {self.program} --help"
        return f"sudo -nH {self.program} --user={self.target} --help"


def make_command(
    action: str,
    target: str,
    *,
    program: str,
    mode: str,
    sudo_args: Sequence[str] | None,
    log_level: str,
    server_name: str,
) -> Command:
    """Return the command that hands one request to the mediator.

    :param action: what the request asks for.
    :param target: the account whose server it is about.
    :param program: the path of the mediator.
    :param mode: ``user`` or ``root``: who sudo is to become.
    :param sudo_args: arguments for sudo itself, beside the account; None leaves sudo out.
    :param log_level: how much the mediator logs; empty for its own default.
    :param server_name: which of the user's servers it is about; empty for the default one.
    """
    runas, argv = target, ["sudo", "-u", target]
    if mode == "root":
        runas, argv = "root", ["sudo"]
    argv = [] if sudo_args is None else [*argv, *sudo_args]
    argv.append(program)
    if mode == "root":
        # Root reads no request: what it needs for a stop, whatever becomes of the process that
        # reads it, is said here too.
        argv += [f"--user={target}", f"--action={action}"]
        if server_name:
            argv.append(f"--server-name={server_name}")
    if log_level:
        argv.append(f"--logging={log_level}")
    return Command(tuple(argv), program, target, runas)
