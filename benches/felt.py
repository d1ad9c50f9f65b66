"""The row that users feel: from POST until ready, against what the server itself takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from contenders import TARGET
from hubs import time_start_and_stop
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.machine import Machine
from progress import report
from table import Reference, Row, compare

ROUNDS = 9
GOAL = 1.15
STAMPS = f"/home/{TARGET}/.stamps"
# Each Python of the Hub's environment begins with this. The server's own time begins with its
# process and ends when it listens. Both are read from the clock of /proc.
STAMPING = f"""\
import os, socket, time
def stamp(self, *words, listen=socket.socket.listen):
    listen(self, *words)
    port = os.environ.get("JUPYTERHUB_SERVICE_URL", "").rpartition(":")[2].partition("/")[0]
    if self.family == socket.AF_INET and str(self.getsockname()[1]) == port:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        with open("/proc/self/stat") as stat:
            ticks = stat.read().rpartition(")")[2].split()[19]
        with open("{STAMPS}", "w") as file:
            file.write(f"{{int(ticks) / os.sysconf('SC_CLK_TCK')}} {{now}}")
socket.socket.listen = stamp
"""


def measure_felt(machine: Machine) -> Iterator[Row]:
    """Time starts of a JupyterLab through a Hub, and what each of them was doing meanwhile."""
    hub6 = cache_named("hub6")
    find = [hub6.bin / "python3", "-c", "import site; print(site.getsitepackages()[0])"]
    place = f"{machine.run(find).stdout.strip()}/stamping"
    machine.write(f"{place}.py", STAMPING)
    machine.write(f"{place}.pth", "import stamping\n")
    times: dict[str, list[float]] = {"own": [], "ours": []}
    before, after = [], []
    with Hub(machine, hub6, spawner="sudospawner.SudoSpawner") as hub:
        # The first round is to warm up.
        for number in range(ROUNDS + 1):
            asked = time.clock_gettime(time.CLOCK_BOOTTIME)
            ready, _ = time_start_and_stop(hub)
            began, listened = map(float, machine.read(STAMPS).split())
            if number:
                times["own"].append(listened - began)
                times["ours"].append(ready)
                before.append(began - asked)
                after.append(asked + ready - listened)
    machine.run(["rm", f"{place}.py", f"{place}.pth"])
    parts = (before, times["own"], after)
    shown = " + ".join(f"{statistics.median(part):.3f}" for part in parts)
    report(f"until its process begins + until it listens + until the Hub is ready: {shown} s")
    yield compare("Hub: POST server until ready", Reference("server alone", "own"), times, GOAL)
