"""A server in a job of Slurm's, on a node: it is known by its job."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner

from .identity import Liveness
from .jobs import WatchedJob, find_queue

# An answer counts for this part of the poll interval: the Hub's polls do not come punctually.
_PART = 0.8
_POLL_INTERVAL = 30.0


class JobServer:
    """Finds out what is known about the job."""

    #: Signals end a job only through Slurm, as ``stop`` does.
    ends_by_signals = False
    #: There is a job to watch.
    is_there = True

    def __init__(
        self, spawner: LocalProcessSpawner, told: Mapping[str, Any], *, is_new: bool, is_ours: bool
    ) -> None:
        """Watch a job.

        :param spawner: has the mediator's path, the poll interval and the log.
        :param told: an event, a reply or a state, with ``job``, ``started`` and, if they are known,
            ``host`` and ``limits``.
        :param is_new: whether the mediator has just started it.
        :param is_ours: whether it is known to be this server's job. If not, it can be stopped, but
            a restarted Hub does not look for it.
        """
        self._spawner = spawner
        self._is_ours = is_ours
        self._host = told.get("host") or ""
        self._limits = dict(told.get("limits") or {})
        self._queue = find_queue(spawner.sudospawner_path)
        self._watched = WatchedJob(told["job"], told.get("started") or "", is_new)
        self._queue.add(self._watched)
        self._vouched_until = 0.0

    @property
    def job(self) -> str:
        """The job's id."""
        return self._watched.job

    async def look(self) -> Liveness:
        """Return whether it is alive; asks Slurm about all jobs, at most once an interval."""
        if time.monotonic() < self._vouched_until:
            return Liveness.ALIVE
        return await self._queue.look(self._watched, self._interval, self._spawner.log.warning)

    @property
    def _interval(self) -> float:
        interval = self._spawner.poll_interval
        return max(1.0, _PART * (interval if interval > 0 else _POLL_INTERVAL))

    def look_anew(self) -> None:
        """Have Slurm asked by the next look."""
        self._vouched_until = 0.0
        self._queue.expire()

    def prepare_question(self) -> str:
        """Return what the mediator is about to be asked."""
        return f"is job {self.job} alive?"

    def take_answer(self, reply: Mapping[str, Any]) -> None:
        """Remember that the mediator takes it for alive, though Slurm does not show it to us."""
        self._vouched_until = time.monotonic() + self._interval

    @property
    def has_record(self) -> bool:
        """Whether the mediator can tell how it ended: Slurm knows, for a while."""
        return True

    @property
    def is_ending(self) -> bool:
        """Whether it is ending still: how, Slurm tells only when nothing of it is left."""
        return self._queue.is_ending(self._watched)

    @property
    def memory(self) -> int | None:
        """Its memory limit in bytes, if it is known."""
        return self._limits.get("memory")

    def identify(self) -> dict[str, Any]:
        """Return the fields of a request that identify it."""
        fields = {"job": self._watched.job, "started": self._watched.started}
        return {name: value for name, value in fields.items() if value}

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted Hub needs to know about it."""
        if not self._is_ours:
            return {}
        state = {**self.identify(), "host": self._host, "limits": self._limits}
        return {name: value for name, value in state.items() if value}

    def describe_survivor(self) -> str:
        """Return one line about it if it could not be stopped, and what to do."""
        return (
            f"its server could not be stopped and may be alive still, in job {self.job}; the Hub "
            f"forgets it. Check as root what that is (scontrol show job {self.job}), and end it "
            f"(scancel {self.job})"
        )

    def close(self) -> None:
        """Stop watching."""
        self._queue.remove(self._watched)
