"""Spawns of servers in jobs that a test looks at, or does something to, before they have ended."""

from __future__ import annotations

import json
import subprocess
from typing import Any, NamedTuple

from system.mediator import Answer
from system.slurm_servers import JobMediator


class Begun(NamedTuple):
    """A spawn whose job is in the queue, and whose reply is not there yet."""

    call: subprocess.Popen[str]
    event: dict[str, Any]
    """The first thing that was told of the job."""

    @property
    def job(self) -> int:
        """The number of the job."""
        return int(self.event["job"])

    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self.call.poll() is not None

    def finish(self) -> Answer:
        """Wait for the reply."""
        assert self.call.stdout is not None and self.call.stderr is not None
        lines = [json.loads(line) for line in self.call.stdout.read().splitlines()]
        status = self.call.wait()
        self.call.stdout.close()
        self.call.stderr.close()
        return Answer(lines[-1] if lines else {}, lines[:-1], status, "")

    def give_up(self) -> None:
        """Close all pipes, as a Hub does that waits no longer."""
        assert self.call.stdout is not None and self.call.stderr is not None
        self.call.stdout.close()
        self.call.stderr.close()


def start(
    jobs: JobMediator, *args: str, seconds: float = 240, **fields: Any
) -> subprocess.Popen[str]:
    """Start a spawn of the server with these arguments."""
    target = fields.pop("target", "zoe")
    what = {"action": "spawn", "args": list(args), "env": {}, "wait": {"seconds": seconds}}
    return jobs.start({**what, "events": True, **fields}, target=target)


def begin(jobs: JobMediator, *args: str, **fields: Any) -> Begun:
    """The same, until its job is in the queue."""
    call = start(jobs, *args, **fields)
    assert call.stdout is not None
    event = json.loads(call.stdout.readline())
    assert event.get("event") == "job", event
    return Begun(call, event)


def write_comment(jobs: JobMediator, job: int, comment: str | bytes, user: str = "zoe") -> bool:
    """Have an account write the comment of a job; whether Slurm has taken it."""
    text = comment.encode() if isinstance(comment, str) else comment
    # Command lines of the host's may have any bytes, and so may a shell's variable.
    line = f'text="$(cat; echo .)"; scontrol update JobId={job} Comment="${{text%.}}"'
    return jobs.machine.run(["sh", "-c", line], user=user, input=text, check=False).returncode == 0
