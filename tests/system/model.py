"""What is to be there after some calls: a list of servers, and what strangers have got.

It knows of each server whose it is, whether it runs, and how it ended. What calls are to answer
follows from that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STARTED = re.compile(r"[0-9a-f-]{36}:[0-9]+")


class End(NamedTuple):
    """How a process ended: the exit status, or the signal."""

    exit: int | None
    signal: int | None


class Kind(NamedTuple):
    """What a server is like: its first words for server.py, its children, and what it ignores."""

    words: tuple[str, ...]
    children: int
    ignores: tuple[int, ...]


KINDS = {
    "plain": Kind((), 0, ()),
    "parent": Kind(("multiply", "2"), 2, ()),
    "stubborn": Kind(("stubborn",), 0, (2, 15)),
}
# How a signal ends a server, of whatever kind unless it ignores it.
ENDS = {
    **{number: End(None, number) for number in (2, 9, 15)},
    **{10: End(3, None), 12: End(0, None)},
}
WORDS = ("end-at", "10", "3", "end-at", "12", "0")
"""The words for server.py that make it so."""
CLEAN = {End(0, None), End(None, 2), End(None, 15)}
"""What systemd takes for a success: it forgets the unit."""


@dataclass(eq=False)
class Server:
    """A server of which the Hub has been told."""

    user: str
    name: str
    kind: Kind
    pid: int
    started: str
    runs: bool = True
    is_supervised: bool = True
    end: End | None = None
    """How it ended, if it did so by itself, until the Hub stops it or starts the next one."""

    @property
    def unit(self) -> str:
        """Its unit, if servers live in units."""
        return name_unit(self.user, self.name)

    @property
    def ticks(self) -> int:
        """When its process began."""
        return int(self.started.partition(":")[2])

    def is_for(self, user: str, fits: bool) -> bool:
        """Whether it is there for a user; `fits`: it is this very process that is asked for."""
        return self.runs and user == self.user and fits

    def receive(self, number: int) -> bool:
        """It gets a signal; whether that ends it."""
        if number not in ENDS or number in self.kind.ignores:
            return False
        self.runs, self.end = False, ENDS[number]
        return True

    def stop(self) -> None:
        """It has been ended, and nobody will ask how."""
        self.runs, self.end = False, None


def name_unit(user: str, name: str) -> str:
    """The unit of a user's server of this name."""
    return f"jupyter-{user}-{name}.service" if name else f"jupyter-{user}.service"


def list_tellings(end: End, *, units: bool) -> list[End]:
    """What the Hub may be told of an end: of a success, systemd may have forgotten which."""
    return [end, End(0, None)] if units and end in CLEAN else [end]


@dataclass
class Model:
    """Everything."""

    uids: dict[str, int]
    units: bool
    """Whether servers live in units. Otherwise each has its supervisor."""
    hooked: bool
    """Whether each server has a daemon of a hook's; beside the Hub, with a keeper."""
    signals: dict[str, list[int]]
    """What each account's stranger has got."""
    servers: list[Server] = field(default_factory=list)

    def find_in_unit(self, user: str, name: str) -> list[Server]:
        """The server that has the unit, or had it last, if any."""
        here = [server for server in self.servers if (server.user, server.name) == (user, name)]
        return here[-1:] if self.units else []

    def spawn(self, user: str, name: str) -> None:
        """A server is being started; a unit has only one."""
        for earlier in self.find_in_unit(user, name):
            earlier.stop()

    def compare(self, seen: dict[str, Any]) -> list[str]:
        """What differs from what `stagehand.look` has seen, in sentences."""
        found = [f"this call has not ended: {process}" for process in seen["calls"]]
        for user in self.uids:
            found += self._compare_processes(user, seen["processes"][user])
        daemons = len([one for one in self.servers if self.hooked and one.runs])
        hooks = {"keepers": 0 if self.units else daemons, "daemons": daemons}
        if hooks != (there := {name: seen[name] for name in hooks}):
            found.append(f"of hooks there have to be {hooks}, and are {there}")
        units = {
            server.unit: ["active", server.pid] if server.runs else ["failed", 0]
            for server in self.servers
            if self.units and (server.runs or server.end not in {None, *CLEAN})
        }
        if units != seen["units"]:
            found.append(f"the units have to be {units}, and are {seen['units']}")
        return found

    def _compare_processes(self, user: str, seen: list[dict[str, Any]]) -> Iterator[str]:
        theirs = {process["pid"]: process for process in seen}
        count = 0
        for server in self.servers:
            if server.user != user or not server.runs:
                continue
            supervisors = 0 if self.units or not server.is_supervised else 1
            count += 1 + server.kind.children + supervisors
            process = theirs.get(server.pid, {"ticks": 0})
            if process["ticks"] != server.ticks:
                yield f"{server} does not run"
                continue
            parent = theirs.get(process["parent"], {"line": [""]})
            if parent["line"][:1].count("sudospawner-supervisor") != supervisors:
                yield f"{server} has the wrong parent: {parent}"
        if len(seen) != count or any(one["uids"] != [self.uids[user]] * 3 for one in seen):
            yield f"{user} has to have {count} processes, and has {seen}"


def check_form(action: str, reply: dict[str, Any], *, units: bool, hooked: bool) -> None:
    """A reply has exactly the keys that docs/protocol.md gives it, with values of their types."""
    form: dict[str, Any] = {"ok": bool}
    how_it_ended = {"exit": int | None, "signal": int | None}
    if not reply["ok"]:
        form |= {"code": str, "error": str}
        if reply["code"] == "exited_early":
            form |= {**how_it_ended, "stderr": str, **({"hooks": list} if hooked else {})}
    elif action == "spawn":
        form |= {"pid": int, "started": str, "listening": bool, "hooks": list, "dropped_env": list}
        form |= {"unit": str, "limits": dict} if units else {}
    else:
        form["alive"] = bool
        if action == "stop":
            form |= {"leftovers_killed": int, "seconds": float}
        elif action == "status" and reply["alive"]:
            form |= {"uid": int, "uptime": float, "memory": int, "cpu_seconds": float}
            form["processes"] = int
        elif action == "status" and units and "exit" in reply:
            form |= how_it_ended
    assert set(reply) == set(form), reply
    for key, kind in form.items():
        assert isinstance(reply[key], kind), (key, reply)
