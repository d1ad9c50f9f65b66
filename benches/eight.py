"""The rows about 8 o'clock: many users start their servers within a minute, through a real Hub."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

from contenders import path_of
from crowd import make_accounts
from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.machine import Machine
from progress import report
from slurm_polls import MANY_FILES
from table import Row, format_duration

USERS = 500
SECONDS = 60
# The server of `server.c`, beside this mediator, needs next to no time of its own.
CONFIGURATION = f"""
c.SudoSpawner.sudospawner_path = "{path_of("ours")}"
c.JupyterHub.concurrent_spawn_limit = 0
"""


class Health:
    """Asks a Hub every second whether it is healthy, until the end of the context."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.answers: list[float] = []
        self.unanswered = 0

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic()) + 1
            began = time.monotonic()
            try:
                self._hub.open("GET", "/hub/health", timeout=10).close()
            except (HubError, OSError):
                self.unanswered += 1
            else:
                self.answers.append(time.monotonic() - began)


def measure_eight(machine: Machine) -> Iterator[Row]:
    """Start a server for each user, one after the other within the time, as users come."""
    users = make_accounts(machine, USERS)
    report(f"{USERS} accounts are there")
    hub = Hub(
        machine,
        cache_named("hub6"),
        spawner="sudospawner.SudoSpawner",
        configuration=CONFIGURATION,
    )
    machine.write(f"/etc/systemd/system/{hub.unit}.d/files.conf", MANY_FILES)
    times: list[float] = []
    failures: list[str] = []

    def start(user: str) -> None:
        began = time.monotonic()
        try:
            hub.start_server(user)
        except (HubError, OSError) as error:
            failures.append(str(error))
        else:
            times.append(time.monotonic() - began)

    with hub, ThreadPoolExecutor(max_workers=USERS) as pool:
        hub.request("POST", "/hub/api/users", {"usernames": users})
        with Health(hub) as health:
            began = time.monotonic()
            starts = []
            for number, user in enumerate(users):
                time.sleep(max(0.0, began + number * SECONDS / USERS - time.monotonic()))
                starts.append(pool.submit(start, user))
            wait(starts)
            passed = time.monotonic() - began
        report(f"{len(times)} servers ready, {len(failures)} failures, after {passed:.0f} s")
        for failure in failures[:3]:
            report(failure[:2000])
    # The Hub has left its servers running.
    machine.run(["pkill", "--group", "jupyterhub"])
    what = f"8 o'clock, {USERS} users within {SECONDS} s"
    yield Row(
        measured=f"{what}: starts that failed",
        ours=f"{len(failures)}, all done after {format_duration(passed)}",
        goal="0",
        result="**missed**" if failures else "met",
    )
    yield Row(
        measured=f"{what}: slowest start",
        ours=f"{format_duration(max(times))}, median {format_duration(statistics.median(times))}",
    )
    yield Row(
        measured=f"{what}: /hub/health every second",
        ours=f"{health.unanswered} without answer, slowest {format_duration(max(health.answers))}",
        goal="all answered",
        result="**missed**" if health.unanswered else "met",
    )
