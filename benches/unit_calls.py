"""Times servers in units against systemd's own programs. Runs in the test machine, as root.

    python3 unit_calls.py spawn|stop|hold PLAN

PLAN is JSON: `folder`, with the FIFOs `stamps` and `lease`; `ours`, the words that call the
mediator for `user`; `server`, the executable beside it; `rounds`. Prints one JSON object with
durations in seconds. `hold` runs `rounds` servers at once and prints the processes that stay
beside them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from calls import Call, Lease, Mediator
from census import take_census

UNIT = "comparison.service"
RUN = ["/usr/bin/systemd-run", "--quiet", "--property=Type=exec", f"--unit={UNIT}"]
STOP = ["/usr/bin/systemctl", "stop", UNIT]
PORT = 21_000


def run(command: list[str]) -> Call:
    """Run a command that ignores its stdin, to its end."""
    call = Call(command, {})
    call.finish()
    call.read_log()
    return call


def spawn(plan: dict[str, Any]) -> dict[str, Any]:
    """Time from the call to the `first` instruction of the same server."""
    folder = Path(plan["folder"])
    mediator = Mediator(plan["ours"], True, folder)
    times: dict[str, list[float]] = {"ours": [], "systemd-run": []}
    # The first round is to warm up.
    for number in range(plan["rounds"] + 1):
        for name in [*times] if number % 2 else [*times][::-1]:
            with Lease(folder) as lease:
                if name == "ours":
                    call = mediator.spawn(number)
                    reply = json.loads(call.finish())
                    if "unit" not in reply:
                        raise RuntimeError(f"no server: {reply}")
                else:
                    args = [str(number), f"{folder}/stamps", str(PORT + number), f"{folder}/lease"]
                    call = run([*RUN, f"--uid={plan['user']}", plan["server"], *args])
                duration = lease.read_stamp() - call.began
                if name != "ours":
                    # It takes the lease before it listens.
                    wait_for_listener(PORT + number)
            # The lease has ended, and so the server ends.
            wait_for_end(UNIT if name != "ours" else f"jupyter-{plan['user']}.service")
            if number:
                times[name].append(duration)
    return {"first": times}


def wait_for_end(unit: str) -> None:
    """Wait until a unit is gone."""
    show = ["systemctl", "show", "--property=ActiveState", "--value", unit]
    while subprocess.run(show, capture_output=True, check=True).stdout.strip() != b"inactive":
        time.sleep(0.02)


def wait_for_listener(port: int) -> None:
    """Wait up to a minute until something listens on a port of the loopback address."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")


def stop(plan: dict[str, Any]) -> dict[str, Any]:
    """Time the call that ends a server, until the server and its whole unit are gone."""
    times: dict[str, list[float]] = {"ours": [], "systemctl": []}
    env = {"PATH": "/usr/bin:/bin", "HOME": f"/home/{plan['user']}"}
    for number in range(plan["rounds"]):
        for name in [*times] if number % 2 else [*times][::-1]:
            port = PORT + 2 * number + (name == "ours")
            if name == "ours":
                request: dict[str, Any] = {"action": "spawn", "args": [str(port)], "env": env}
                request["wait"] = {"port": port, "seconds": 120}
                call = Call(plan["ours"], request)
                reply = json.loads(call.finish())
                end = {"action": "stop", "pid": reply["pid"], "unit": reply["unit"]}
                call = Call(plan["ours"], {**end, "interrupt_seconds": 0})
                if json.loads(call.finish())["alive"]:
                    raise RuntimeError("the server is alive")
                call.read_log()
            else:
                variables = [f"--setenv={name}={value}" for name, value in env.items()]
                run([*RUN, f"--uid={plan['user']}", *variables, plan["server"], str(port)])
                wait_for_listener(port)
                call = run(STOP)
            times[name].append(call.ended - call.began)
    return {"stop": times}


def hold(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the processes, by pid, that running servers add beside themselves."""
    folder = Path(plan["folder"])
    mediator = Mediator(plan["ours"], True, folder)
    before = take_census()
    with Lease(folder):
        spawned = [mediator.spawn(n, server_name=f"s{n}") for n in range(plan["rounds"])]
        known = {json.loads(call.finish())["pid"] for call in spawned} | set(before)
        for call in spawned:
            # The log ends with the call's root process, which outlives the reply.
            call.read_log()
        beside = {pid: one for pid, one in take_census().items() if pid not in known}
    for number in range(plan["rounds"]):
        wait_for_end(f"jupyter-{plan['user']}-s{number}.service")
    return {"beside": beside}


if __name__ == "__main__":
    os.chdir("/")
    part, text = sys.argv[1:]
    print(json.dumps({"spawn": spawn, "stop": stop, "hold": hold}[part](json.loads(text))))
