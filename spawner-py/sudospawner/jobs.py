"""What Slurm says of jobs: one question for all servers of this Hub, at most once in an interval.

It is asked as the Hub's own account, without sudo, through ``sudospawner jobs``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Callable
from weakref import WeakSet

from .errors import MediatorError
from .identity import Liveness
from .reply import get_error
from .subcommand import run_subcommand

# Slurm's programs give up after 10 to 20 seconds if the controller does not answer.
_TIME_LIMIT = 60.0
# Seconds between two warnings that it does not.
_WARNING_INTERVAL = 60.0
_LENGTH = 256
# The states of a job that has not ended, in Slurm's words; and that of one which is ending.
_ALIVE = """
    PENDING CONFIGURING RUNNING SUSPENDED STOPPED RESIZING SIGNALING STAGE_OUT REQUEUED REQUEUE_FED
    REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT
"""
_ENDING = "COMPLETING"


@dataclass(frozen=True)
class JobReport:
    """What Slurm says of one job.

    :param uid: the account whose job it is.
    :param state: Slurm's word for its state.
    :param started: which job of this id it is.
    :param host: the node that it runs on.
    :param address: the node's address; only if it was asked for.
    """

    uid: int | None
    state: str
    started: str
    host: str
    address: str

    @classmethod
    def read(cls, told: dict[str, Any]) -> JobReport:
        """Read what ``sudospawner jobs`` prints of a job."""
        uid = told.get("uid")
        words = (_text(told.get(name)) for name in ("state", "started", "host", "address"))
        return cls(uid if type(uid) is int else None, *words)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, and is not ending."""
        return self.state in _ALIVE.split()


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _LENGTH else ""


async def ask_slurm(program: str, jobs: list[str], *options: str) -> dict[str, JobReport]:
    """Return what Slurm says of these jobs; those that it does not know or show are absent.

    :param program: the mediator's path.
    :param options: ``--address`` for the addresses of nodes, too.
    :raises MediatorError: if Slurm does not answer.
    """
    request = "".join(f"{job}\n" for job in jobs)
    reply = await run_subcommand(program, "jobs", *options, time_limit=_TIME_LIMIT, request=request)
    told = reply.get("jobs")
    if reply.get("ok") is not True or not isinstance(told, dict):
        raise MediatorError("slurm_unavailable", get_error(reply))
    return {job: JobReport.read(told[job]) for job in jobs if isinstance(told.get(job), dict)}


@dataclass(frozen=True, eq=False)
class WatchedJob:
    """A job that is asked about with all others.

    :param job: its id.
    :param started: which job of this id it is.
    :param is_new: whether the mediator has just started it. It then counts as alive until all jobs
        are asked about the next time; else it is asked about at once.
    """

    job: str
    started: str
    is_new: bool


class Queue:
    """All jobs of a Hub's, and Slurm's last answer about them."""

    def __init__(self, program: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Know of no job.

        :param program: the mediator's path.
        :param clock: returns the time in seconds.
        """
        self._program = program
        self._clock = clock
        self._watched: WeakSet[WatchedJob] = WeakSet()
        # The last question: when, about which jobs, and the answer; None if there was none.
        self._asked_at = float("-inf")
        self._asked: frozenset[str] = frozenset()
        self._answer: dict[str, JobReport] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._warned_at = float("-inf")

    def __len__(self) -> int:
        """Return how many jobs are watched."""
        return len(self._watched)

    def add(self, watched: WatchedJob) -> None:
        """Ask about this job as well from now on, as long as the object exists."""
        self._watched.add(watched)

    def remove(self, watched: WatchedJob) -> None:
        """Do not ask about this job any longer."""
        self._watched.discard(watched)

    def expire(self) -> None:
        """Have Slurm asked anew by who looks next."""
        self._asked_at = float("-inf")

    async def look(
        self, watched: WatchedJob, interval: float, warn: Callable[[str], None]
    ) -> Liveness:
        """Return whether a job is alive: HIDDEN if Slurm does not know it, or does not show it.

        If Slurm does not answer, it counts as alive. Whoever looks meanwhile shares the question.

        :param interval: how many seconds an answer counts.
        :param warn: logs a sentence, if Slurm does not answer.
        """
        for _ in range(2):  # A question that has begun may be without this job.
            if self._is_up_to_date(watched, interval):
                break
            self._asking = self._asking or asyncio.ensure_future(self._ask(warn))
            await asyncio.shield(self._asking)
        if self._answer is None or watched.job not in self._asked:
            return Liveness.ALIVE
        report = self._answer.get(watched.job)
        if report is None:
            return Liveness.HIDDEN
        is_same = report.started == watched.started
        return Liveness.ALIVE if is_same and report.is_alive else Liveness.GONE

    def is_ending(self, watched: WatchedJob) -> bool:
        """Whether Slurm's last answer was that the job's processes are being ended."""
        report = (self._answer or {}).get(watched.job)
        return report is not None and report.state == _ENDING

    def _is_up_to_date(self, watched: WatchedJob, interval: float) -> bool:
        is_recent = self._clock() - self._asked_at < interval
        return is_recent and (watched.is_new or watched.job in self._asked)

    async def _ask(self, warn: Callable[[str], None]) -> None:
        try:
            # When a Hub has started, all look at the same time: they are here by then.
            await asyncio.sleep(0)
            asked, asked_at = frozenset(each.job for each in self._watched), self._clock()
            answer = None
            try:
                answer = await ask_slurm(self._program, sorted(asked))
            except MediatorError as error:
                self._warn(error.sentence, warn)
                asked_at = self._clock()  # It took its time: the next one is as far away as ever.
            self._asked, self._asked_at, self._answer = asked, asked_at, answer
        finally:
            self._asking = None

    def _warn(self, reason: str, warn: Callable[[str], None]) -> None:
        if self._clock() - self._warned_at >= _WARNING_INTERVAL:
            self._warned_at = self._clock()
            warn(
                f"whether jobs are alive is not known, and {len(self)} servers count as alive "
                f"until Slurm answers: {reason}"
            )


_queues: dict[str, Queue] = {}


def find_queue(program: str) -> Queue:
    """Return the queue of this Hub's jobs that this mediator is asked about.

    :param program: the mediator's path.
    """
    return _queues.setdefault(program, Queue(program))


def has_jobs(program: str) -> bool:
    """Whether a server of this Hub's runs in a job."""
    return len(_queues.get(program, ())) > 0
