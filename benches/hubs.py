"""The rows about a real JupyterHub: from POST until ready, and from DELETE until gone."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from contenders import TARGET
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.machine import Machine
from progress import report
from table import Reference, Row, compare

ROUNDS = 9
REFERENCE = Reference("root's Hub", "root")
# Seconds between two requests that ask the Hub whether the server is gone.
LOOK_SECONDS = 0.01


def make_hubs(machine: Machine) -> dict[str, Hub]:
    """Return three Hubs, not started, that differ only in spawner and account."""
    hub6, upstream = cache_named("hub6"), cache_named("upstream")
    root = "jupyterhub.spawner.LocalProcessSpawner"
    return {
        REFERENCE.key: Hub(machine, hub6, spawner=root, user="root", port=8020),
        "ours": Hub(machine, hub6, spawner="sudospawner.SudoSpawner", port=8000),
        "upstream": Hub(machine, upstream, spawner="sudospawner.SudoSpawner", port=8010),
    }


def measure_hubs(machine: Machine) -> Iterator[Row]:
    """Start and stop the same server through each Hub in turn."""
    hubs = make_hubs(machine)
    ready: dict[str, list[float]] = {name: [] for name in hubs}
    gone: dict[str, list[float]] = {name: [] for name in hubs}
    with ExitStack() as running:
        for hub in hubs.values():
            running.enter_context(hub)
        # The first round warms up the page cache and what the Hubs load at their first start.
        for number in range(ROUNDS + 1):
            # Each Hub has each position in a round equally often.
            shift = number % len(hubs)
            names = [*hubs][shift:] + [*hubs][:shift]
            for name in names:
                started, stopped = time_start_and_stop(hubs[name])
                if number:
                    ready[name].append(started)
                    gone[name].append(stopped)
                report(
                    f"round {number} of {ROUNDS}, {name}: "
                    f"ready after {started:.2f} s, gone after {stopped:.2f} s"
                )
    yield compare("Hub: POST server until ready", REFERENCE, ready, 1.10)
    yield compare("Hub: DELETE server until gone", REFERENCE, gone, 1.15)


def time_start_and_stop(hub: Hub) -> tuple[float, float]:
    """Return the seconds from POST until the server is ready, and from DELETE until it is gone.

    It is ready when the Hub says so, and gone when the Hub says so and the process has ended.
    """
    began = time.monotonic()
    hub.start_server(TARGET)
    ready = time.monotonic() - began
    process = os.pidfd_open(find_on_host(hub.machine, hub.find_pid(TARGET)))
    try:
        began = time.monotonic()
        hub.request("DELETE", f"/hub/api/users/{TARGET}/server")
        while hub.find_server(TARGET) is not None:
            time.sleep(LOOK_SECONDS)
        if not select.select([process], [], [], 60)[0]:
            raise RuntimeError("The Hub calls a server stopped whose process lives on.")
        gone = time.monotonic() - began
    finally:
        os.close(process)
    wait_for_silence(hub.machine)
    return ready, gone


def find_on_host(machine: Machine, pid: int) -> int:
    """Return the host's pid of the process that has `pid` in the machine."""
    namespace = Path(f"/proc/{machine.leader}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").readlink() != namespace:
                continue
            status = (process / "status").read_text()
        except OSError:
            continue
        line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
        if int(line.split()[-1]) == pid:
            return int(process.name)
    raise RuntimeError(f"There is no process {pid} in the machine.")


def wait_for_silence(machine: Machine, seconds: float = 60) -> None:
    """Wait until the target has no process left, so that the next start is not slowed."""
    deadline = time.monotonic() + seconds
    while left := machine.run(["ps", "--user", TARGET, "--format", "args="], check=False).stdout:
        if time.monotonic() > deadline:
            raise RuntimeError(f"Processes of {TARGET} are left:\n{left}")
        time.sleep(0.05)
