"""The command line that calls the mediator through sudo, and how to describe it to people."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass


def _find_caller() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"#{os.getuid()}"


# Looked up as the Hub starts: later, the account database may not answer, and the Hub would wait.
CALLER = _find_caller()


def _spell(name: str) -> str:
    """Return a name as it stands in sudoers."""
    return name if re.fullmatch(r"#\d+|[a-z0-9_][a-z0-9_.-]*", name) else f'"{name}"'


@dataclass(frozen=True)
class Command:
    """A call of the mediator.

    :param argv: the whole command line, including sudo.
    :param program: the mediator's path, as it must be in sudoers.
    :param target: the account that owns the server.
    :param runas: the account that sudo switches to: the target, or root in root mode.
    """

    argv: tuple[str, ...]
    program: str
    target: str
    runas: str

    @property
    def place(self) -> str:
        """What is called, for the log."""
        return str(list(self.argv))

    @property
    def uses_sudo(self) -> bool:
        """Whether the call goes through sudo."""
        return self.argv[0] != self.program

    @property
    def caller(self) -> str:
        """The name of the account that the Hub runs as."""
        return CALLER

    @property
    def rule(self) -> str:
        """The sudoers rule that permits this call."""
        return f"{_spell(self.caller)} ALL=({_spell(self.runas)}) NOPASSWD: {self.program}"

    @property
    def advice(self) -> str:
        """A hint about that rule."""
        if self.runas == self.target:
            return (
                "to permit a group of targets, write %group in the parentheses; if there is such a "
                "rule, check that the account database knows its members: "
                f"id {shlex.quote(self.target)}"
            )
        return "without arguments: /etc/sudospawner/policy.toml decides for whom it acts"

    @property
    def trial(self) -> str:
        """A command line that tests the configuration by hand."""
        target = shlex.quote(self.target)
        if self.runas == self.target:
            return f"sudo -nH -u {target} {self.program} --help"
        return f"sudo -nH {self.program} --user={target} --help"


@dataclass(frozen=True)
class SocketCall:
    """A call through a socket, without sudo.

    :param path: the socket's path.
    :param action: the request's action.
    :param target: the account that owns the server.
    """

    path: str
    action: str
    target: str

    @property
    def place(self) -> str:
        """What is called, for the log."""
        return self.path

    @property
    def first_line(self) -> bytes:
        """What root reads of the call."""
        return f"{self.action} {self.target}\n".encode()

    @property
    def caller(self) -> str:
        """The name of the account that the Hub runs as."""
        return CALLER

    @property
    def trial(self) -> str:
        """A command line of root's that shows what became of the call."""
        return "systemctl status sudospawner.service; journalctl -t sudospawner -n 20"


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
    """Return the command that sends one request to the mediator.

    :param action: the request's action.
    :param target: the account that owns the server.
    :param program: the mediator's path.
    :param mode: ``user`` or ``root``: sudo switches to the target or to root.
    :param sudo_args: further arguments for sudo; None to call the mediator without sudo.
    :param log_level: the mediator's log level; empty for its default.
    :param server_name: the server's name; empty for the default server.
    """
    runas, argv = target, ["sudo", "-u", target]
    if mode == "root":
        runas, argv = "root", ["sudo"]
    argv = [] if sudo_args is None else [*argv, *sudo_args]
    argv.append(program)
    if mode == "root":
        # Root does not read the request. These options tell it what it needs to carry out a stop,
        # even if the process that reads the request dies.
        argv += [f"--user={target}", f"--action={action}"]
        if server_name:
            argv.append(f"--server-name={server_name}")
    if log_level:
        argv.append(f"--logging={log_level}")
    return Command(tuple(argv), program, target, runas)
