"""Reports without end keep no call: what a user could send who took the pipe out of a supervisor.

That is possible where users can read the program's file, which pip leaves so (docs/sudo.md), while
the supervisor is being executed. Here root sends the reports, which needs no luck.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import Mediator, wait_until
from system.units import mediator_in

SUPERVISOR = "sudospawner-supervisor"
FORGED = '{"Warning":"forged"}'


@pytest.fixture(params=["user", "root"])
def mediator(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in each mode in which servers have supervisors."""
    with mediator_in(request.param, machine, hub6.bin / "sudospawner") as mediator:
        yield mediator


@contextmanager
def flooded_call(mediator: Mediator, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """A call that waits so long for a server that never listens, while reports come without end."""
    request = {"action": "spawn", "args": [], "env": {}}
    call = mediator.start({**request, "wait": {"port": 4303, "seconds": seconds}})
    assert call.stdout is not None and call.stderr is not None
    wait_until(
        lambda: [one for one in mediator.list_processes() if one.startswith(SUPERVISOR)],
        "the supervisor",
    )
    pid, command = mediator.machine.run(
        ["pgrep", "--list-full", "--full", f"^{SUPERVISOR}"]
    ).stdout.split(maxsplit=1)
    # Its command line has the number of its end of the pipe.
    pipe = f"/proc/{pid}/fd/{command.split()[3]}"
    flood = mediator.machine.start(f"exec yes '{FORGED}' >{pipe}")
    try:
        while "forged" not in (line := call.stderr.readline()):
            assert line
        yield call
    finally:
        call.stdout.close()
        call.stderr.close()
        mediator.machine.run(["pkill", "-KILL", "-x", "yes"], check=False)
        flood.wait()
        call.wait()


def test_a_flood_of_reports_holds_up_no_reply(mediator: Mediator) -> None:
    with flooded_call(mediator, 5) as call:
        wait_until(lambda: call.poll() is not None, "the reply")
        assert call.stdout is not None
        reply = json.loads(call.stdout.read())
    mediator.kill_processes()
    assert reply["listening"] is False


def test_a_flood_of_reports_hides_no_caller_that_has_gone(mediator: Mediator) -> None:
    with flooded_call(mediator, 600) as call:
        assert call.stdout is not None and call.stderr is not None
        call.stdout.close()
        call.stderr.close()
        wait_until(lambda: mediator.list_processes() == [], "the end of an undelivered server")
