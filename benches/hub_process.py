"""A Hub's process with many spawners, without the rest of a Hub. Runs in the test machine.

    python3 hub_process.py start|restart PLAN

PLAN is JSON: `program`, the mediator; `mode`; `accounts`, their names; `servers`, how many;
`at_once`, how many are started or stopped at the same time; `folder`, for the states and the log.
It prints one JSON object for each step, and waits for a line before the next one.

`start` starts the servers, polls them, writes their states, and ends without stopping them, as a
Hub does that is restarted. `restart` loads the states, finds the servers again, and stops them all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sudospawner import SudoSpawner

# How many servers are started and stopped one by one while all others run.
ALONE = 9
HUB = SimpleNamespace(public_host="", base_url="/hub/", api_url="http://127.0.0.1:8081/hub/api")


def make_spawner(plan: dict[str, Any], number: int) -> SudoSpawner:
    """Return the spawner of a server, as a Hub makes it: the accounts take turns."""
    count = len(plan["accounts"])
    name = plan["accounts"][number % count]
    user = SimpleNamespace(name=name, url=f"/user/{name}/", settings={})
    return SudoSpawner(
        user=user,
        hub=HUB,
        name=f"s{number // count}",
        api_token=secrets.token_hex(16),
        oauth_client_id=f"jupyterhub-user-{name}",
        sudospawner_path=plan["program"],
        mode=plan["mode"],
        start_timeout=300,
    )


def describe_process() -> dict[str, int]:
    """Return this process's private `memory` in kB and its open `descriptors`."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    memory = sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    return {"memory": memory, "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir())}


def step(**facts: Any) -> None:
    """Print what a step has measured, and wait until the next one is wanted."""
    print(json.dumps({**facts, **describe_process()}), flush=True)
    sys.stdin.readline()


class Crowd:
    """Does something with many spawners, some of them at the same time."""

    def __init__(self, at_once: int) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._failures: list[str] = []

    async def _do_one(self, work: Awaitable[Any]) -> None:
        async with self._turn:
            try:
                await work
            except Exception as error:
                self._failures.append(str(error))

    async def do(self, works: Iterable[Awaitable[Any]]) -> dict[str, Any]:
        """Do all; return the `seconds` until the last is done, and the `failures`."""
        began = time.monotonic()
        await asyncio.gather(*(self._do_one(work) for work in works))
        return {"seconds": time.monotonic() - began, "failures": self._failures}


async def start_server(spawner: SudoSpawner) -> None:
    """Start a server; what is held up here, the others do not wait for."""
    await spawner.start()


async def stop_server(spawner: SudoSpawner) -> None:
    """Stop a server at once, as a Hub does that is shut down."""
    await spawner.stop(now=True)


async def time_alone(plan: dict[str, Any]) -> dict[str, list[float]]:
    """Start and stop servers one by one, beside those that run."""
    times: dict[str, list[float]] = {"start": [], "stop": []}
    for number in range(plan["servers"], plan["servers"] + ALONE):
        spawner = make_spawner(plan, number)
        for what, do in (("start", start_server), ("stop", stop_server)):
            began = time.monotonic()
            await do(spawner)
            times[what].append(time.monotonic() - began)
    return times


async def poll_all(spawners: list[SudoSpawner]) -> dict[str, Any]:
    """Ask each spawner once whether its server runs, one after the other as their timers do."""
    began, cpu = time.monotonic(), time.process_time()
    alive = sum([await spawner.poll() is None for spawner in spawners])
    return {
        "alive": alive,
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
    }


async def start(plan: dict[str, Any]) -> None:
    """Start all servers, poll them, and leave them running."""
    step()
    spawners = [make_spawner(plan, number) for number in range(plan["servers"])]
    crowd = Crowd(plan["at_once"])
    started = await crowd.do(start_server(spawner) for spawner in spawners)
    spawners = [spawner for spawner in spawners if spawner.pid]
    # What servers log at their start is read soon after.
    await asyncio.sleep(1)
    step(started=started, servers=[spawner.pid for spawner in spawners])
    polled = await poll_all(spawners)
    step(polled=polled, alone=await time_alone(plan))
    states = Path(plan["folder"], "states")
    states.write_text(json.dumps([spawner.get_state() for spawner in spawners]))


async def restart(plan: dict[str, Any]) -> None:
    """Find all servers again, and stop them."""
    states = json.loads(Path(plan["folder"], "states").read_text())
    began = time.monotonic()
    spawners = [make_spawner(plan, number) for number in range(len(states))]
    for spawner, state in zip(spawners, states, strict=True):
        spawner.load_state(state)
    loaded = time.monotonic() - began
    found = await poll_all(spawners)
    step(loaded=loaded, found=found)
    crowd = Crowd(plan["at_once"])
    stopped = await crowd.do(stop_server(spawner) for spawner in spawners)
    step(stopped=stopped)


def main(part: str, plan: str) -> None:
    """Run one part; the log goes where a Hub's would."""
    parts: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
        "start": start,
        "restart": restart,
    }
    asked = json.loads(plan)
    log = Path(asked["folder"], "log").open("w")  # noqa: SIM115
    logging.basicConfig(level=logging.INFO, stream=log)
    os.dup2(log.fileno(), sys.stderr.fileno())

    async def run() -> None:
        await parts[part](asked)
        log.flush()
        # Without the end of a program that stops what it has started.
        os._exit(0)

    asyncio.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:])
