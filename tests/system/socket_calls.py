"""What a test does with connections to the door, and what of it root writes down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine.machine import Machine
from system.door import SOCKET, SocketMediator, describe_request
from system.mediator import wait_until

WORDS = Path(__file__).with_name("socket_words.py")
PROGRAM = "/opt/socket-words"
KILL = {"action": "kill", "pid": 999999, "signal": 0}
ANSWER = {"ok": True, "alive": False}


@contextmanager
def installed_door(machine: Machine, binary: Path) -> Iterator[SocketMediator]:
    """A mediator behind its door, with the program that does what its words say."""
    machine.write(PROGRAM, WORDS.read_text(), mode=0o755)
    mediator = SocketMediator.install(machine, "/opt/socket-mode/bin", binary)
    yield mediator
    mediator.remove_all()
    machine.run(["rm", "-r", PROGRAM, mediator.folder])


@contextmanager
def unchanged(mediator: SocketMediator) -> Iterator[SocketMediator]:
    """The same, as it was installed, before and after; no server outlives it."""
    yield mediator
    mediator.set_policy()
    mediator.machine.run(["chown", "root:rhea", SOCKET])
    mediator.machine.run(["chmod", "0660", SOCKET])
    assert mediator.end_units() == []


def say(mediator: SocketMediator, *words: str, user: str = "rhea") -> list[dict[str, Any]]:
    """What comes back when an account does with connections what the words say."""
    said = mediator.machine.run([PROGRAM, *words], user=user).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def get_code(told: dict[str, Any]) -> str:
    """The code of a reply, or `ok`."""
    reply = json.loads(told["text"])
    return "ok" if reply["ok"] else reply["code"]


def tell(request: dict[str, Any] = KILL, target: str = "zoe") -> str:
    """A whole call, as a word of the program."""
    return describe_request(request, target).decode()


class Log:
    """Root's lines in the authentication log from now on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._begin = time.time_ns() // 1000

    def read(self) -> list[str]:
        """The lines so far."""
        self._machine.run(["journalctl", "--sync"])
        query = ["journalctl", "SYSLOG_IDENTIFIER=sudospawner", "_UID=0", "--output=json"]
        entries = map(json.loads, self._machine.run(query).stdout.splitlines())
        return [it["MESSAGE"] for it in entries if int(it["__REALTIME_TIMESTAMP"]) >= self._begin]

    def wait_for(self, line: str) -> None:
        """Wait for a line, which is there once."""
        wait_until(lambda: line in self.read(), f"the line {line!r}")
        assert self.read().count(line) == 1


def list_of_root(mediator: SocketMediator) -> list[str]:
    """Root's and nobody's processes that are the door's, or a call's."""
    lines = mediator.list_processes("root") + mediator.list_processes("nobody")
    return [line for line in lines if line.startswith(f"{mediator.path}")]


def expect_the_hubs_answer(mediator: SocketMediator) -> None:
    """A call of the Hub's is answered, also now."""
    assert mediator.call(KILL).reply == ANSWER
