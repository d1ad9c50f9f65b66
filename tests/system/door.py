"""`SocketMediator`: a mediator that is called through the door, without sudo."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from machine.installation import REPOSITORY
from system.mediator import Answer, RootMediator
from system.units import UnitMediator

SOCKET = "/run/sudospawner.socket"
UNITS = Path("/etc/systemd/system")
SOCKET_UNIT, SERVICE = "sudospawner.socket", "sudospawner.service"
CALL = Path(__file__).with_name("socket_call.py")
PROTOCOL = REPOSITORY / "docs/protocol.md"
# Seconds: long enough for the calls of a test to come to the same door.
IDLE = 5


def read_statuses() -> dict[str, int]:
    """The exit status of a call that fails with each code. Nobody sees the one of a door's call."""
    rows = re.findall(r"^\| `(\w+)` \| ([01]) \|", PROTOCOL.read_text(), re.MULTILINE)
    return {code: int(status) for code, status in rows}


class Door:
    """The socket and its service in a machine, as they are installed, for one mediator."""

    def __init__(self, mediator: RootMediator) -> None:
        self.machine = mediator.machine
        self._mediator = mediator

    def install(self, *, group: str = "rhea", more: str = "", service: str = "") -> None:
        """Install and start the socket; `more` and `service` are further lines of each unit."""
        for name, old, new, lines in [
            (SOCKET_UNIT, "SocketGroup=root", f"SocketGroup={group}\n{more}", ""),
            (SERVICE, "/usr/bin/", f"{self._mediator.folder}/", service),
        ]:
            text = (REPOSITORY / "systemd" / name).read_text()
            assert old in text
            self.machine.write(UNITS / name, text.replace(old, new) + lines)
        idle = f"{self._mediator.folder}/sudospawner-door --idle={IDLE}"
        drop_in = f"[Service]\nExecStart=\nExecStart={idle}\n"
        self.machine.write(UNITS / f"{SERVICE}.d/idle.conf", drop_in)
        self.machine.run(["systemctl", "daemon-reload"])
        self.machine.run(["systemctl", "restart", SOCKET_UNIT])

    def show(self, *names: str, unit: str = SERVICE) -> dict[str, str]:
        """Properties of the service, or of the socket."""
        shown = self.machine.run(["systemctl", "show", "--property", ",".join(names), unit]).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    @property
    def pid(self) -> str:
        """The door's pid; "0" if there is none."""
        return self.show("MainPID")["MainPID"]

    def remove(self) -> None:
        """Take both units away again."""
        for unit in (SOCKET_UNIT, SERVICE):
            self.machine.run(["systemctl", "stop", unit], check=False)
            self.machine.run(["systemctl", "reset-failed", unit], check=False)
        self.machine.run(["rm", "-rf", *(UNITS / f"{SERVICE}{end}" for end in ("", ".d"))])
        self.machine.run(["rm", "-f", UNITS / SOCKET_UNIT])
        self.machine.run(["systemctl", "daemon-reload"])


class BehindSocket(RootMediator):
    """A mediator that is called through the socket, with no rule of sudo."""

    @property
    def door(self) -> Door:
        """Its door."""
        return Door(self)

    def permit(self, runas: str = "root", more: str = "") -> None:
        """Let rhea connect."""
        self.machine.write(self.folder / CALL.name, CALL.read_text(), mode=0o755)
        self.door.install()

    def forbid(self) -> None:
        """Take the socket away again."""
        self.door.remove()

    def list_words(self, target: str) -> list[str | Path]:
        """A program that makes the call, as a class in the Hub does."""
        return [self.folder / CALL.name, target]

    def call(self, request: dict[str, Any] | str, **how: Any) -> Answer:
        """Make a call. Its exit status is the one that the protocol gives the code."""
        answer = super().call(request, **how)
        code = answer.reply.get("code")
        return answer._replace(status=0 if code is None else read_statuses()[code])


class SocketMediator(BehindSocket, UnitMediator):
    """The same, whose servers live in units."""


WAYS: dict[str, type[UnitMediator]] = {"sudo": UnitMediator, "socket": SocketMediator}
"""The ways to call root mode."""
in_each_way = pytest.mark.parametrize("mediator", WAYS, indirect=True)
"""Marks what has to hold through each of them: the fixture gets a key of `WAYS`."""


def describe_request(request: dict[str, Any], target: str) -> bytes:
    """What a caller sends: the first line, and the request behind it."""
    return f"{request['action']} {target}\n{json.dumps(request)}".encode()
