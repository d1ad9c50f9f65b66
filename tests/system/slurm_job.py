"""`Job`: what squeue says of a job, the same in each release of Slurm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# The states of a job that is to run, runs, or is about to end.
ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED")


class Job(NamedTuple):
    """What squeue says of a job, the same in each release of Slurm.

    `host` is where its script runs, or empty. `exit` and `signal` are how the script has ended.
    Times are in seconds since 1970, or 0.
    """

    id: int
    name: str
    state: str
    reason: str
    host: str
    comment: str
    user_id: int
    submitted: int
    starts: int
    ends: int
    exit: int
    signal: int


def read_job(said: Mapping[str, Any]) -> Job:
    """Read what `squeue --json` says of a job; 22.05 has plain numbers and raw wait statuses."""

    def number(name: str) -> int:
        value = said[name]
        return int(value["number"] if isinstance(value, dict) else value or 0)

    state = said["job_state"]
    if isinstance(state, list):
        state = "COMPLETING" if "COMPLETING" in state else state[0]
    ended = said["exit_code"]
    if isinstance(ended, dict):
        exit_status, signal = ended["return_code"]["number"], ended["signal"]["id"]["number"]
    else:
        exit_status, signal = ended >> 8, ended & 0x7F
    return Job(
        id=number("job_id"),
        name=said["name"],
        state=state,
        reason=said["state_reason"],
        host=said["batch_host"],
        comment=said["comment"],
        user_id=number("user_id"),
        submitted=number("submit_time"),
        starts=number("start_time"),
        ends=number("end_time"),
        exit=exit_status,
        signal=signal,
    )
