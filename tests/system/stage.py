"""`Stage`: a Hub in the machine that calls a mediator, and strangers, at a test's command."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from system.mediator import Mediator

SCRIPTS = [Path(__file__).with_name(name) for name in ("stagehand.py", "players.py")]
PLACE = Path("/opt/stage")
HOOK = "#!/bin/sh\nsetsid sleep 7781 >/dev/null 2>&1 &\n"
ACCOUNTS = ("zoe", "wash", "mal")


class Stage:
    """The stage of one mediator. Use `stage_for`."""

    def __init__(self, mediator: Mediator, *, units: bool, hooked: bool) -> None:
        self.mediator = mediator
        self.units = units
        """Whether servers live in units."""
        self.hooked = hooked
        """Whether there is `HOOK`."""
        self.is_clear = True
        """Whether nothing is there but Hub and strangers."""
        self.has_failed = False
        """Whether a sequence has failed on it."""
        machine = mediator.machine
        self.uids = {name: machine.look_up_account(name).uid for name in ACCOUNTS}
        self.ports = itertools.cycle(range(10_000, 30_000))
        """A port for each server."""
        script = PLACE / SCRIPTS[0].name
        self._process = machine.start(
            ["/usr/bin/python3", "-I", script, mediator.caller, *ACCOUNTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End everything on it."""
        self._process.communicate(timeout=300)

    def do(self, command: str, **words: Any) -> Any:
        """Give a command of `stagehand.COMMANDS`, and return its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"do": command, **words}) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]


@contextmanager
def stage_for(mediator: Mediator, *, units: bool, hooked: bool) -> Iterator[Stage]:
    """A stage of which nothing is left."""
    for script in SCRIPTS:
        mediator.machine.write(PLACE / script.name, script.read_text())
    stage = Stage(mediator, units=units, hooked=hooked)
    try:
        yield stage
    finally:
        stage.close()
        # What servers note of their children.
        notes = [f"/home/{name}/multiplied" for name in ACCOUNTS]
        mediator.machine.run(["rm", "-rf", PLACE, *notes])
