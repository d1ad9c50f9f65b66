"""Times calls through the socket. Runs inside the test machine.

    python3 socket_calls.py kill|burst PLAN     as the Hub's account
    python3 socket_calls.py spawn PLAN          as root, which calls as the Hub's account

PLAN is JSON: `folder`, with the FIFOs `stamps` and `lease`; `user`, the target; `hub`, uid and
gid of the Hub's account; `limit`, the command to compare with; `server`; `rounds`; `count`. Prints
one JSON object with durations in seconds.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from calls import Call, Lease
from unit_calls import PORT, RUN, UNIT, run, wait_for_end, wait_for_listener

SOCKET = "/run/sudospawner.socket"


class SocketCall:
    """One call, begun at once: `began` and `ended` are CLOCK_MONOTONIC times in seconds."""

    def __init__(self, target: str, request: dict[str, Any], hub: list[int] | None = None) -> None:
        text = f"{request['action']} {target}\n{json.dumps(request)}".encode()
        self.ended = 0.0
        # The kernel remembers who connects.
        if hub:
            os.setegid(hub[1])
            os.seteuid(hub[0])
        self.began = time.monotonic()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(SOCKET)
        self._connection.sendall(text)
        self._connection.shutdown(socket.SHUT_WR)
        if hub:
            os.seteuid(0)
            os.setegid(0)

    def finish(self) -> dict[str, Any]:
        """Wait for the end and return the reply; `RuntimeError` if it is not ok."""
        text = b""
        while part := self._connection.recv(65536):
            text += part
        self.ended = time.monotonic()
        self._connection.close()
        reply: dict[str, Any] = json.loads(text)
        if not reply["ok"]:
            raise RuntimeError(f"the call failed: {reply}")
        return reply


def kill(plan: dict[str, Any]) -> dict[str, Any]:
    """Time signal 0 to a running server, against a run of the limit."""
    times: dict[str, list[float]] = {"limit": [], "ours": []}
    folder = Path(plan["folder"])
    with Lease(folder):
        request = {"action": "kill", "signal": 0, "pid": start(plan, 0)["pid"]}
        SocketCall(plan["user"], request).finish()  # to warm up
        for number in range(plan["rounds"]):
            for name in [*times] if number % 2 else [*times][::-1]:
                if name == "ours":
                    ours = SocketCall(plan["user"], request)
                    if not ours.finish()["alive"]:
                        raise RuntimeError("the server is not alive")
                    times[name].append(ours.ended - ours.began)
                else:
                    limit = run(plan["limit"])
                    times[name].append(limit.ended - limit.began)
    wait_for_end(f"jupyter-{plan['user']}.service")
    return {"alive": times}


def start(plan: dict[str, Any], tag: int, hub: list[int] | None = None) -> dict[str, Any]:
    """Spawn a server that listens, and return the reply with the time at which the call began."""
    folder = plan["folder"]
    args = [str(tag), f"{folder}/stamps", str(PORT + tag), f"{folder}/lease"]
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "JUPYTERHUB_API_TOKEN": "0" * 32}
    wait = {"port": PORT + tag, "seconds": 120}
    request = {"action": "spawn", "args": args, "env": env, "wait": wait}
    call = SocketCall(plan["user"], request, hub)
    return {**call.finish(), "began": call.began}


def burst(plan: dict[str, Any]) -> dict[str, Any]:
    """Time many calls at once, until the last has its reply."""
    times: dict[str, list[float]] = {"limit": [], "ours": []}
    request = {"action": "kill", "signal": 0, "pid": 4_194_303}
    for number in range(plan["rounds"]):
        for name in [*times] if number % 2 else [*times][::-1]:
            if name == "ours":
                ours = [SocketCall(plan["user"], request) for _ in range(plan["count"])]
                for one in ours:
                    one.finish()
                times[name].append(max(one.ended for one in ours) - ours[0].began)
            else:
                limit = [Call(plan["limit"], {}) for _ in range(plan["count"])]
                for one in limit:
                    one.finish()
                    one.read_log()
                times[name].append(max(one.ended for one in limit) - limit[0].began)
    return {"burst": times}


def spawn(plan: dict[str, Any]) -> dict[str, Any]:
    """Time from the call to the `first` instruction of the same server."""
    folder = Path(plan["folder"])
    times: dict[str, list[float]] = {"ours": [], "systemd-run": []}
    # The first round is to warm up.
    for number in range(plan["rounds"] + 1):
        for name in [*times] if number % 2 else [*times][::-1]:
            with Lease(folder) as lease:
                if name == "ours":
                    began = start(plan, number, plan["hub"])["began"]
                else:
                    args = [str(number), f"{folder}/stamps", str(PORT + number), f"{folder}/lease"]
                    began = run([*RUN, f"--uid={plan['user']}", plan["server"], *args]).began
                duration = lease.read_stamp() - began
                if name != "ours":
                    # It takes the lease before it listens.
                    wait_for_listener(PORT + number)
            # The lease has ended, and so the server ends.
            wait_for_end(UNIT if name != "ours" else f"jupyter-{plan['user']}.service")
            if number:
                times[name].append(duration)
    return {"first": times}


if __name__ == "__main__":
    os.chdir("/")
    part, text = sys.argv[1:]
    print(json.dumps({"kill": kill, "burst": burst, "spawn": spawn}[part](json.loads(text))))
