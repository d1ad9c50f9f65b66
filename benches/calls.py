"""Times calls through sudo. Runs inside the test machine, as the Hub's account.

    python3 calls.py kill|spawn|hook|burst|hold|entrypoint PLAN

PLAN is JSON; see `main`. `entrypoint` needs root. Prints one JSON object with durations in seconds;
`hold` prints one JSON object for each step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# A pid that no process has: Linux pids are below 2^22, and they wrap around far below that.
NO_PROCESS = 4_194_303
FIRST_PORT = 20_000


class Call:
    """One run of a command, started at once with `request` on its stdin.

    The three standard streams are pipes, as in a call by the Hub. `began`, `told` (something),
    `replied` (all) and `ended` are CLOCK_MONOTONIC times in seconds.
    """

    def __init__(self, command: list[str], request: dict[str, Any]) -> None:
        stdin, requests = os.pipe()
        self._replies, stdout = os.pipe()
        self._log, stderr = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, end, n) for n, end in enumerate((stdin, stdout, stderr))]
        self.command = command
        self.told = self.replied = self.ended = 0.0
        self.began = time.monotonic()
        self._pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        for end in (stdin, stdout, stderr):
            os.close(end)
        # A command that does not read the request may have ended already.
        with suppress(BrokenPipeError):
            os.write(requests, json.dumps(request).encode())
        os.close(requests)

    def finish(self) -> str:
        """Wait for the end and return stdout; `RuntimeError` if the status is not 0."""
        text, status = self.wait()
        if status != 0:
            raise RuntimeError(f"{self.command}: status {status}, {text!r}, {self.read_log()}")
        return text

    def wait(self) -> tuple[str, int]:
        """Wait for the end and return stdout and the raw exit status."""
        text = b""
        while part := os.read(self._replies, 65536):
            self.replied = time.monotonic()
            self.told = self.told or self.replied
            text += part
        _, status = os.waitpid(self._pid, 0)
        self.ended = time.monotonic()
        os.close(self._replies)
        return text.decode(), status

    def read_log(self) -> str:
        """Read stderr to its end, when the server and its companions are gone."""
        log = b""
        while part := os.read(self._log, 65536):
            log += part
        os.close(self._log)
        return log.decode(errors="replace")


class Mediator:
    """A mediator as the Hub calls it. `waits`: whether it supports the field `wait`."""

    def __init__(self, command: list[str], waits: bool, folder: Path) -> None:
        self._command = [*command, "--logging=INFO"]
        self._waits = waits
        self._folder = folder

    def kill(self, pid: int) -> Call:
        """Send a process signal 0."""
        return Call(self._command, {"action": "kill", "pid": pid, "signal": 0})

    def spawn(self, tag: int, **fields: Any) -> Call:
        """Spawn a server that listens on its own port and stamps its start with `tag`.

        `fields` are further fields of the request.
        """
        port = FIRST_PORT + tag
        args = [str(tag), str(self._folder / "stamps"), str(port), str(self._folder / "lease")]
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "JUPYTERHUB_API_TOKEN": "0" * 32}
        request: dict[str, Any] = {"action": "spawn", "args": args, "env": env, **fields}
        if self._waits:
            request["wait"] = {"port": port, "seconds": 120}
        return Call(self._command, request)


class Lease:
    """A context that keeps servers alive; at its end the servers of all `calls` have ended."""

    def __init__(self, folder: Path) -> None:
        self._lease = folder / "lease"
        self._stamps = os.open(folder / "stamps", os.O_RDWR)
        self.calls: list[Call] = []

    def __enter__(self) -> Lease:
        self._descriptor = os.open(self._lease, os.O_RDWR)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        os.close(self._stamps)
        for call in self.calls:
            call.read_log()

    def take_server(self, call: Call) -> dict[str, Any]:
        """Wait for the reply to a spawn and return it; `RuntimeError` if there is no server."""
        text = call.finish()
        reply = json.loads(text[text.index("{") : text.rindex("}") + 1])
        if not reply.get("ok"):
            raise RuntimeError(f"{call.command}: {reply}")
        self.calls.append(call)
        return reply

    def read_stamp(self) -> float:
        """Return when a server started, as CLOCK_MONOTONIC seconds; it has replied already."""
        _, nanoseconds = os.read(self._stamps, 128).split()
        return int(nanoseconds) / 1e9


class Measurement:
    """What all parts share: the limit, the mediators, and how often to call each."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._folder = Path(plan["folder"])
        self._limit: list[str] = plan["limit"]
        self._rounds: int = plan["rounds"]
        # Upstream is slow and far from the limit, so it is called rarely.
        self._seldom: int = plan["seldom"]
        self._count: int = plan["count"]
        self._mediators = {
            name: Mediator(one["command"], one["waits"], self._folder)
            for name, one in plan["mediators"].items()
        }

    def _order(self, number: int) -> list[str]:
        """Return who is called in a round; limit and ours alternate in going first."""
        pair = ["limit", "ours"] if number % 2 else ["ours", "limit"]
        others = [name for name in self._mediators if name != "ours"]
        return pair + (others if number % self._seldom == 0 else [])

    def _make_times(self, *what: str) -> dict[str, dict[str, list[float]]]:
        """Return empty lists of durations for each quantity and each contender."""
        return {one: {name: [] for name in ("limit", *self._mediators)} for one in what}

    def _run_command(self, command: list[str]) -> Call:
        """Run a command that ignores its stdin, to its end."""
        call = Call(command, {"action": "kill", "pid": NO_PROCESS, "signal": 0})
        call.finish()
        call.read_log()
        return call

    def _time_limit(self) -> float:
        call = self._run_command(self._limit)
        return call.ended - call.began

    def _time_kill(self, name: str, pid: int, alive: bool) -> float:
        if name == "limit":
            return self._time_limit()
        call = self._mediators[name].kill(pid)
        reply = json.loads(call.finish())
        log = call.read_log()
        if reply != {"ok": True, "alive": alive}:
            raise RuntimeError(f"{name}: kill 0 of {pid}: {reply} {log}")
        return call.ended - call.began

    def kill(self) -> dict[str, Any]:
        """Time kill with signal 0: for no process (`absent`) and for a server (`alive`)."""
        times = self._make_times("absent", "alive")
        with Lease(self._folder) as lease:
            server = lease.take_server(self._mediators["ours"].spawn(0))["pid"]
            for what, pid in (("absent", NO_PROCESS), ("alive", server)):
                self._time_kill("ours", pid, what == "alive")  # to warm up
                for number in range(self._rounds):
                    for name in self._order(number):
                        duration = self._time_kill(name, pid, what == "alive")
                        times[what][name].append(duration)
        return times

    def _time_spawn(self, name: str, tag: int) -> tuple[float, float]:
        if name == "limit":
            duration = self._time_limit()
            return duration, duration
        with Lease(self._folder) as lease:
            call = self._mediators[name].spawn(tag)
            lease.take_server(call)
            return lease.read_stamp() - call.began, call.replied - call.began

    def spawn(self) -> dict[str, Any]:
        """Time from the call of sudo to the server's `first` instruction, and to the `reply`."""
        times = self._make_times("first", "reply")
        self._time_spawn("ours", 0)  # to warm up
        for number in range(self._rounds):
            for name in self._order(number):
                first, reply = self._time_spawn(name, number)
                times["first"][name].append(first)
                times["reply"][name].append(reply)
        return times

    def hook(self) -> dict[str, Any]:
        """Time from the call of sudo to the first instruction, `without` and `with` a hook."""
        times: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(self._rounds):
            for what in [*times] if number % 2 else [*times][::-1]:
                self._run_command(self._plan["hook"][what])
                times[what].append(self._time_spawn("ours", number)[0])
        return {"first": times}

    def entrypoint(self) -> dict[str, Any]:
        """Time from the call of an entrypoint to the first instruction of its command."""
        entrypoints: dict[str, list[str]] = self._plan["entrypoints"]
        times: dict[str, list[float]] = {name: [] for name in entrypoints}
        with Lease(self._folder) as lease:
            # The first round is to warm up.
            for number in range(self._rounds + 1):
                for name in [*times] if number % 2 else [*times][::-1]:
                    command = [*entrypoints[name], str(number), str(self._folder / "stamps")]
                    began = self._run_command(command).began
                    duration = lease.read_stamp() - began
                    if number:
                        times[name].append(duration)
        return {"first": times}

    def _start_many(self, name: str, lease: Lease) -> tuple[float, list[int]]:
        """Start servers at the same time; return the seconds until all replied, and their pids."""
        calls = [self._mediators[name].spawn(tag) for tag in range(self._count)]
        servers = [lease.take_server(call)["pid"] for call in calls]
        return max(call.replied for call in calls) - calls[0].began, servers

    def _run_limit_many_times(self) -> float:
        calls = [Call(self._limit, {}) for _ in range(self._count)]
        for call in calls:
            call.finish()
            call.read_log()
        return max(call.ended for call in calls) - calls[0].began

    def burst(self) -> dict[str, Any]:
        """Time many spawns at once, until the last has replied."""
        times = self._make_times("burst")
        for number in range(self._rounds):
            for name in self._order(number):
                if name == "limit":
                    times["burst"][name].append(self._run_limit_many_times())
                else:
                    with Lease(self._folder) as lease:
                        times["burst"][name].append(self._start_many(name, lease)[0])
        return times

    def hold(self) -> None:
        """For each mediator print the pids of many running servers; a line on stdin ends them."""
        for name in self._mediators:
            print(json.dumps({"self": os.getpid()}), flush=True)
            sys.stdin.readline()
            with Lease(self._folder) as lease:
                servers = self._start_many(name, lease)[1]
                print(json.dumps({"name": name, "servers": servers}), flush=True)
                sys.stdin.readline()


def main(part: str, plan: str) -> None:
    """Run one part. The plan has: `folder`, with the FIFOs `stamps` and `lease`; `limit`, the
    command to compare with; `mediators`, with a `command` and `waits` for each name; `rounds`;
    `seldom`, upstream is called every so many rounds; `count`, the number of servers started
    together; `hook`, the commands that install (`with`) and remove (`without`) a hook;
    `entrypoints`, with the words before a server's tag for each name.
    """
    # Writing to a FIFO or pipe without a reader raises an error.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    measurement = Measurement(json.loads(plan))
    if result := getattr(measurement, part)():
        print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
